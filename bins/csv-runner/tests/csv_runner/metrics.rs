//! What `/metrics` says of a run.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tally_harness::eventually;
use tally_harness::http::ScriptedServer;
use tally_harness::job::{Job, Target};
use tally_harness::process::Signal;
use tally_ports::metric;
use tally_sample::{Options, generate};
use tokio::sync::watch;

use crate::support::model::{answer, ids};
use crate::support::{Folder, SOON, address, get, keys, ready, row, summary, table};

/// The samples of `/metrics`, by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

/// Names that a run touches in which nothing goes wrong.
const TOUCHED: [&str; 15] = [
    metric::BATCHES,
    metric::ROWS,
    metric::ROWS_WRITTEN,
    metric::ROWS_SUPERSEDED,
    metric::ROWS_SKIPPED,
    metric::DEAD_LETTERS,
    metric::STAGE_DURATION,
    metric::INFLIGHT,
    metric::LAST_SUCCESS,
    metric::LAST_BATCH_SIZE,
    metric::CSV_CHUNKS,
    metric::CSV_ROWS_READ,
    metric::GATE_OPEN,
    metric::QUALITY_RATE,
    metric::OWNED_PARTITIONS,
];

/// The last of a batch's numbers that changes before it is at the model.
const VALIDATED: &str = "ingest_stage_duration_seconds_count{stage=\"validate\"}";

#[tokio::test]
async fn metrics_say_what_the_summary_says() {
    // 302 rows of which the last two have one id, then ten that are held at the model until the run is stopped.
    let mut content = Vec::new();
    generate(&Options { rows: 300, spoil_share: 0.1, ..Options::default() }, &mut content).unwrap();
    content.extend(row(400).repeat(2).bytes());
    let (folder, target) = (Folder::new(), Target::sqlite());
    let first = folder.write("first.csv", content);
    let second = folder.write("second.csv", table(1_000..1_010));
    let (release, released) = watch::channel(false);
    let model = ScriptedServer::start(move |request| {
        let is_held = ids(request)[0].as_u128() >= 1_000;
        if is_held { answer(request).held(released.clone()) } else { answer(request) }
    })
    .await;
    let job = Job::new(&target.url()).model(&model.url()).file(first).file(second);
    let job = job.flags(["--batch-size", "100", "--summary", "json"]).env("TALLY_DRAIN", "100ms");
    let process = job.spawn();
    let address = address(&process);

    let seen = || samples(&get(&address, "/metrics").1);
    let is_held = |seen: &BTreeMap<String, f64>| seen.get(VALIDATED) == Some(&5.0);
    eventually(SOON, async || is_held(&seen())).await;
    let (text, seen) = (get(&address, "/metrics").1, seen());
    assert_eq!(get(&address, "/health"), (200, "ok".to_owned()));
    assert_eq!(get(&address, "/nowhere").0, 404);
    let (status, body) = ready(&address);
    assert_eq!(
        (status, keys(&body)),
        (200, vec!["in_progress", "last_error", "last_run_ts", "ready"])
    );
    process.signal(Signal::SIGTERM);
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(143), "{output}");
    drop(release);

    let summary = summary(&output);
    let ended: Vec<_> =
        summary["files"].as_array().unwrap().iter().map(|file| &file["state"]).collect();
    assert_eq!(ended, ["done", "failed"]);
    let count = |key: &str| summary[key].as_f64().unwrap();
    let of_flow = [
        (metric::BATCHES, 4.0),
        (metric::CSV_ROWS_READ, 312.0),
        (metric::ROWS, count("read")),
        (metric::ROWS_WRITTEN, count("written")),
        (metric::ROWS_SUPERSEDED, count("superseded")),
        (metric::ROWS_SKIPPED, 0.0),
    ];
    let of_flow = of_flow.map(|(name, value)| (format!("{name}{{flow=\"transactions\"}}"), value));
    let mut expected: BTreeMap<String, f64> = [
        (metric::INFLIGHT, 1.0),
        (metric::LAST_BATCH_SIZE, 2.0),
        (metric::CSV_CHUNKS, 5.0),
        (metric::OWNED_PARTITIONS, 1.0),
        ("ingest_gate_open{dependency=\"model\"}", 1.0),
        ("ingest_gate_open{dependency=\"database\"}", 1.0),
        // Of all valid rows of the first file, which is no longer than the window.
        ("ingest_quality_rate{rule=\"repeated_id\"}", 1.0 / 272.0),
        ("ingest_quality_rate{rule=\"outlier\"}", 0.0),
        ("ingest_stage_duration_seconds_count{stage=\"read\"}", 5.0),
        (VALIDATED, 5.0),
        ("ingest_stage_duration_seconds_count{stage=\"enrich\"}", 4.0),
        ("ingest_stage_duration_seconds_count{stage=\"commit\"}", 4.0),
        ("ingest_stage_duration_seconds_bucket{stage=\"commit\",le=\"+Inf\"}", 4.0),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    expected.extend(of_flow);
    assert_eq!((count("read"), count("superseded"), count("dead_lettered")), (302.0, 1.0, 30.0));
    for (code, count) in summary["dead_letters"].as_object().unwrap() {
        let stage =
            if ["fields", "encoding"].contains(&code.as_str()) { "decode" } else { "validate" };
        let name = format!(
            "{}{{flow=\"transactions\",stage=\"{stage}\",code=\"{code}\"}}",
            metric::DEAD_LETTERS
        );
        expected.insert(name, count.as_f64().unwrap());
    }
    for (name, value) in &expected {
        assert_eq!(seen.get(name), Some(value), "{name} in\n{text}");
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let last = Duration::from_secs_f64(seen[metric::LAST_SUCCESS]);
    assert!(now.checked_sub(last).is_some_and(|ago| ago < SOON), "{last:?}");
    for name in TOUCHED {
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help in\n{text}");
    }
}
