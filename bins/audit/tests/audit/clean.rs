//! Whatever happens to `csv-runner`, and while it runs: every record is accounted for.

use std::ffi::OsStr;

use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::job::{ModelService, Target};
use tally_harness::model::RationedModel;
use tally_harness::process::Signal;

use crate::support::{LONG, Sample, audit, audited};

const KEYS: [&str; 5] = ["read", "written", "superseded", "skipped", "dead_lettered"];

/// The counts in `of`.
fn counts(of: &Value) -> [i64; 5] {
    KEYS.map(|key| of[key].as_i64().unwrap_or_else(|| panic!("no {key} in {of}")))
}

fn is_clean(report: &Value) -> bool {
    report["violations"] == json!([]) && report["violation_counts"] == json!({})
}

/// A file with bad rows, read twice.
fn after_two_passes(target: &Target) {
    let (sample, model) = (Sample::new(2_000, 0.1), ModelService::start());
    let flags = ["--batch-size=150"];
    let first = counts(&sample.ingested(target, &model, &flags));
    let report = audited(target, 0, &[]);
    assert!(is_clean(&report), "{report}");
    assert_eq!(counts(&report["total"]), first);
    assert_eq!(first[..2], [2_000, 1_800], "{first:?}");

    let again = counts(&sample.ingested(target, &model, &["--batch-size=150", "--again"]));
    let report = audited(target, 0, &["--source".as_ref(), sample.path().as_os_str()]);
    assert!(is_clean(&report), "{report}");
    let both: Vec<i64> = first.iter().zip(again).map(|(one, other)| one + other).collect();
    assert_eq!(counts(&report["total"])[..], both);
    assert_eq!(counts(&report["flows"][0])[..], both);
    assert_eq!(counts(&report["partitions"][0])[..], both);
    assert_eq!(report["flows"][0]["rows"], json!(1_800), "the second pass wrote the same again");
    assert_eq!(report["total"]["batches"], json!(28));
    assert_eq!(report["dead_letters"], json!({ "open": 400 }));
    let partition = &report["partitions"][0];
    assert_eq!((&partition["passes"], &partition["next"]), (&json!(2), &json!(2_000)));
    assert_eq!(partition["label"], json!(sample.path()));
    assert_eq!(report["files"][0]["rows"], json!(2_000));

    let output = audit(target, &["--source".as_ref(), sample.path().as_os_str()]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output}");
    let said = ["        4000         3600            0            0          400  everything"];
    for line in said.into_iter().chain(["transactions: 1800 rows", "dead letters: 400 open"]) {
        assert!(output.stdout.contains(line), "{line}: {output}");
    }
    assert!(output.stdout.ends_with("every record is accounted for\n"), "{output}");
}

#[test]
fn after_two_passes_sqlite() {
    after_two_passes(&Target::sqlite());
}

#[tokio::test]
async fn after_two_passes_postgres() {
    after_two_passes(&Target::postgres().await);
}

/// Killed in the middle of the file, and started again.
async fn after_a_kill(target: Target) {
    let (sample, model) = (Sample::new(20_000, 0.05), RationedModel::start().await);
    model.allow(100);
    let flags = ["--batch-size=100", "--lease=200ms"];
    let process = sample.ingest(&target, &model.url(), &flags);
    eventually(LONG, async || {
        target.has_tables().await && target.number("select count(*) from batches").await > 3
    })
    .await;
    process.kill9();
    assert_eq!(process.wait(LONG).signal, Some(Signal::SIGKILL));
    target.until_left().await;

    let source: [&OsStr; 2] = ["--source".as_ref(), &sample.path().into_os_string()];
    let report = audited(&target, 0, &[]);
    assert!(is_clean(&report), "{report}");
    let read = report["total"]["read"].as_i64().unwrap();
    assert!((300..20_000).contains(&read), "{report}");
    assert_eq!(report["partitions"][0]["next"], json!(read));
    let report = audited(&target, 65, &source);
    let says = format!("has 20000 rows, and {read} were read so far");
    assert!(report["violations"][0]["message"].as_str().unwrap().contains(&says), "{report}");

    sample.ingested(&target, &ModelService::start(), &flags);
    let report = audited(&target, 0, &source);
    assert!(is_clean(&report), "{report}");
    assert_eq!(counts(&report["total"]), [20_000, 19_000, 0, 0, 1_000]);
}

#[tokio::test]
async fn after_a_kill_sqlite() {
    after_a_kill(Target::sqlite()).await;
}

#[tokio::test]
async fn after_a_kill_postgres() {
    after_a_kill(Target::postgres().await).await;
}

/// Again and again while a file is taken in: what is half-way is never a violation.
async fn while_it_runs(target: Target) {
    let (sample, model) = (Sample::new(30_000, 0.05), RationedModel::start().await);
    model.allow(300);
    let process = sample.ingest(&target, &model.url(), &["--batch-size=50"]);
    eventually(LONG, async || target.has_tables().await).await;
    let (mut partial, mut audits) = (0, 0);
    loop {
        let has_ended = process.output_so_far().code.is_some();
        let report = audited(&target, 0, &[]);
        assert!(is_clean(&report), "{report}");
        let [read, written, .., dead_lettered] = counts(&report["total"]);
        let rows = report["flows"][0]["rows"].as_i64().unwrap_or(0);
        let letters = report["dead_letters"]["open"].as_i64().unwrap_or(0);
        assert_eq!((rows, letters), (written, dead_lettered), "one moment: {report}");
        partial += i32::from((1..30_000).contains(&read));
        audits += 1;
        if partial == 2 {
            model.release();
        }
        if has_ended {
            assert_eq!(read, 30_000);
            break;
        }
    }
    assert_eq!(process.wait(LONG).code, Some(0));
    assert!(partial >= 2, "of {audits} audits only {partial} saw the file half-way");
}

#[tokio::test]
async fn while_it_runs_sqlite() {
    while_it_runs(Target::sqlite()).await;
}

#[tokio::test]
async fn while_it_runs_postgres() {
    while_it_runs(Target::postgres().await).await;
}
