//! What the summary says of a run.

use serde_json::Value;
use tally_harness::process::Output;
use tally_harness::sample::Sample;

/// The summary that `--summary json` prints.
#[track_caller]
pub fn summary(output: &Output) -> Value {
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("no summary, {error}: {output}"))
}

/// What the file's entry in the summary says: its state, the rows read, and where it went on.
#[track_caller]
pub fn outcome(output: &Output) -> (String, i64, Option<i64>) {
    let file = &summary(output)["files"][0];
    (
        file["state"].as_str().unwrap().to_owned(),
        file["read"].as_i64().unwrap(),
        file["resumed_at"].as_i64(),
    )
}

/// It went on in the middle of the file and took it to its end. Where exactly is not known from outside: a server may
/// carry out a COMMIT after the process that sent it was killed.
#[track_caller]
pub fn assert_went_on(output: &Output, sample: &Sample) {
    let (state, read, resumed_at) = outcome(output);
    let resumed_at = resumed_at.unwrap_or_else(|| panic!("from the first row: {output}"));
    assert_eq!((&*state, read), ("done", sample.rows() - resumed_at), "{output}");
}
