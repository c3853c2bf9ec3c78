//! The ledger against the files that were read.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::{Value, json};
use tally_harness::job::{Job, ModelService, Target};

use crate::support::{LONG, Sample, audit, audited};

fn source(path: &Path) -> [&OsStr; 2] {
    ["--source".as_ref(), path.as_os_str()]
}

/// The only violation is of this kind and says this.
#[track_caller]
fn assert_only(report: &Value, kind: &str, text: &str) {
    assert_eq!(report["violation_counts"], json!({ kind: 1 }), "{report}");
    let message = report["violations"][0]["message"].as_str().unwrap();
    assert!(message.contains(text), "{text}: {message}");
}

async fn compare(target: Target) {
    let (sample, model) = (Sample::new(500, 0.1), ModelService::start());
    let (path, changed) = (sample.path(), sample.changed());
    sample.ingested(&target, &model, &[]);
    let report = audited(&target, 0, &source(&path));
    assert_eq!(report["files"][0]["rows"], json!(500));
    assert_eq!(report["files"][0]["path"], json!(path));

    // A row or a dead letter that is gone is missed by the record that it was made of.
    for table in ["transactions", "dead_letters"] {
        let position =
            target.number(&format!("select min(position) from {table} where position > 100")).await;
        target.execute(&format!("create table saved_{table} as select * from {table}")).await;
        target.execute(&format!("delete from {table} where position = {position}")).await;
        let report = audited(&target, 65, &source(&path));
        let missing = format!("the record at {position} was read and has neither");
        let found = report["violations"].as_array().unwrap().iter();
        let found = found.filter(|violation| violation["kind"] == "record_missing");
        let messages: Vec<_> =
            found.map(|violation| violation["message"].as_str().unwrap()).collect();
        assert!(messages.len() == 1 && messages[0].contains(&missing), "{report:#}");
        let restore =
            format!("delete from {table}; insert into {table} select * from saved_{table}");
        target.execute(&restore).await;
    }
    audited(&target, 0, &source(&path));

    // Both at once: the other is another file, whatever it is called.
    let both: [&OsStr; 3] = ["--source".as_ref(), path.as_os_str(), changed.as_os_str()];
    let report = audited(&target, 65, &both);
    let fingerprint = report["files"][1]["fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.len(), 64);
    let says =
        format!("{} (file/{fingerprint}), which has 500 rows, was never read", changed.display());
    assert_only(&report, "source_unknown", &says);

    // A ledger that agrees with itself and not with the file.
    target
        .execute(
            "update batches set last = 498, read = 499, written = written - 1;
            update positions set next = 499;
            delete from transactions where position = (select max(position) from transactions)",
        )
        .await;
    assert_eq!(audited(&target, 0, &[])["violations"], json!([]));
    let report = audited(&target, 65, &source(&path));
    assert_only(
        &report,
        "source_count",
        &format!("{} has 500 rows, and 499 were read", path.display()),
    );

    target.execute("update positions set ended_at = null").await;
    let report = audited(&target, 65, &source(&path));
    assert_only(&report, "source_unfinished", "has 500 rows, and 499 were read so far");
}

#[tokio::test]
async fn files_are_counted_again_sqlite() {
    compare(Target::sqlite()).await;
}

#[tokio::test]
async fn files_are_counted_again_postgres() {
    compare(Target::postgres().await).await;
}

/// Blank rows, surplus fields, amounts of an undecided file: the audit sees them as the run did.
#[tokio::test]
async fn rows_are_read_as_they_were() {
    let (target, model) = (Target::sqlite(), ModelService::start());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let row = |id: u32, amount: &str, end: &str| {
        format!("{id};x;{amount};2024-01-15 08:30:00;;payment;debit{end}\n")
    };
    let rows = [
        "id;description;amount;timestamp;merchant;operation_type;side\n".to_owned(),
        ";;;;;;\n".repeat(100),
        row(1, "-1,5", ";"),
        row(2, "-1.5", ""),
        ";;;;;;\n".repeat(100),
        row(3, "-3,000", ""),
        row(4, "-3", ";;"),
        ";;;;;;\n".to_owned(),
    ];
    std::fs::write(&path, rows.concat()).unwrap();
    let job = Job::new(&target.url()).model(model.url()).file(&path);
    let output = job.spawn().wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
    let report = audited(&target, 0, &source(&path));
    assert_eq!(report["files"][0]["rows"], json!(4));
    let found = target.query("select position, amount from transactions order by position").await;
    let row =
        |position: &str, amount: &str| vec![Some(position.to_owned()), Some(amount.to_owned())];
    assert_eq!(found, [row("0", "-1.50"), row("1", "-1.50")]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read() {
    let target = Target::sqlite();
    let (sample, model) = (Sample::new(5, 0.0), ModelService::start());
    sample.ingested(&target, &model, &[]);
    let missing = sample.path().with_file_name("missing.csv");
    let output = audit(&target, &source(&missing));
    assert_eq!(output.code, Some(66), "{output}");
    assert!(output.stderr.contains("missing.csv"), "{output}");
    assert_eq!(output.stdout, "");
}

/// A second pass that came to nothing yet does not hide what the first one has read.
#[tokio::test]
async fn each_record_is_looked_for_by_the_pass_that_read_it() {
    let target = Target::sqlite();
    let (sample, model) = (Sample::new(50, 0.0), ModelService::start());
    sample.ingested(&target, &model, &[]);
    let again = Job::new(&target.url()).model("http://127.0.0.1:9").file(sample.path());
    let output = again.flags(["--again", "--max-outage=1s"]).spawn().wait(LONG);
    assert_eq!(output.code, Some(69), "{output}");
    assert_eq!(target.number("select count(*) from positions where ended_at is null").await, 1);
    audited(&target, 0, &source(&sample.path()));
    target.execute("delete from transactions where position = 7").await;
    let report = audited(&target, 65, &source(&sample.path()));
    assert_only(&report, "record_missing", "pass 1: the record at 7 was read");
}

/// A pass that was rejected is a finished one: its rows and dead letters are accounted for.
async fn rejected(target: Target) {
    let (sample, model) = (Sample::new(500, 0.1), ModelService::start());
    let job = Job::new(&target.url()).model(model.url()).file(sample.path());
    let output = job.env("TALLY_BUDGET__RATIO", "0.05").spawn().wait(LONG);
    assert_eq!(output.code, Some(65), "{output}");
    let rejected = "select count(*) from positions where rejected_at is not null";
    assert_eq!(target.number(rejected).await, 1);
    let report = audited(&target, 0, &source(&sample.path()));
    assert_eq!(report["files"][0]["rows"], json!(500));
}

#[tokio::test]
async fn a_rejected_file_is_accounted_for_on_sqlite() {
    rejected(Target::sqlite()).await;
}

#[tokio::test]
async fn a_rejected_file_is_accounted_for_on_postgres() {
    rejected(Target::postgres().await).await;
}
