//! A database of an earlier version, written by its program: brought up to date, and gone on with where it stood.

use std::path::Path;

use tally_harness::job::{Job, LONG, ModelService, Target, ended_with};
use tally_harness::process::{Launch, binary};

use crate::support::summary;

/// The file, and each store after 300 of its 600 rows, as csv-runner of 2026-11-28 (80dbd37) left them.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/before-logs");

#[tokio::test]
async fn a_database_without_logs_goes_on_where_it_stood_sqlite() {
    goes_on(Target::sqlite(), "sqlite.sql").await;
}

#[tokio::test]
async fn a_database_without_logs_goes_on_where_it_stood_postgres() {
    goes_on(Target::postgres().await, "postgres.sql").await;
}

async fn goes_on(target: Target, dump: &str) {
    let folder = Path::new(FOLDER);
    target.execute(&std::fs::read_to_string(folder.join(dump)).unwrap()).await;
    assert_eq!(target.number("select next from positions").await, 300);

    let model = ModelService::start();
    let run = || {
        let job = Job::new(&target.url()).model(model.url()).file(folder.join("rows.csv"));
        summary(&ended_with(&job.flags(["--summary", "json"]).spawn(), 0))
    };
    let summary = run();
    let file = &summary["files"][0];
    assert_eq!((&file["state"], &file["resumed_at"]), (&"done".into(), &300.into()), "{summary}");
    assert_eq!((&summary["read"], &file["read"]), (&300.into(), &300.into()), "{summary}");
    let sums = target.number("select sum(written + superseded + dead_lettered) from batches").await;
    assert_eq!((target.number("select sum(read) from batches").await, sums), (600, 600));
    assert_eq!(target.number("select log from positions").await, 1);
    assert_eq!(run()["files"][0]["state"], "already_done");

    let audit = Launch::new(binary("audit"))
        .args(["--database-url", &target.url(), "--source"])
        .args([folder.join("rows.csv")])
        .spawn();
    let output = audit.wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
}
