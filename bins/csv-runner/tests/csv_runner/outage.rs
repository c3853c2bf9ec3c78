//! A model or a database that is unavailable: nothing becomes a dead letter, the position is kept, and the run goes on by
//! itself or gives up with 69.

use std::time::Duration;

use serde_json::json;
use tally_adapter_sqlite::diesel::connection::SimpleConnection;
use tally_harness::eventually;
use tally_harness::http::ScriptedServer;
use tally_harness::job::{Job, ModelService, Target};
use tally_harness::process::{Process, Signal};
use tokio::sync::watch;

use crate::support::assert_untouched;
use crate::support::model::{PhasedModel, answer};
use crate::support::{
    Folder, NO_MODEL, SOON, address, assert_accounted, get, ready, run, said, summary, table,
};

/// What ended the run is its exit code, whatever file could not be read before.
#[tokio::test]
async fn an_outage_outweighs_a_file_that_is_missing() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("rows.csv", table(1..=3));
    let missing = folder.path().join("missing.csv");
    let output = run(&target, NO_MODEL, &[&missing, &path], &["--max-outage", "300ms"]);
    assert_eq!(output.code, Some(69), "{output}");
}

#[tokio::test]
async fn a_model_that_cannot_be_reached() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("good.csv", table(1..=10));
    let output = run(&target, NO_MODEL, &[&path], &["--max-outage", "1s"]);
    assert_eq!(output.code, Some(69), "{output}");
    let away = "model at http://127.0.0.1:9: connection refused";
    let lines = [
        format!("WARN unavailable, retrying: {away}"),
        format!("ERROR model stayed unavailable for 1 s: {away}"),
    ];
    assert_eq!(said(&output), lines);
    assert_eq!(summary(&output)["read"], 0);
    assert_untouched(&target).await;

    let output = run(&target, ModelService::start().url(), &[path], &[]);
    assert_eq!((output.code, &summary(&output)["written"]), (Some(0), &json!(10)), "{output}");
}

fn start(target: &Target, model: &str, folder: &Folder, rows: u32) -> Process {
    let path = folder.write("good.csv", table(1..=rows));
    let job = Job::new(&target.url()).model(model).file(path);
    job.flags(["--batch-size", "10", "--summary", "json"]).spawn()
}

/// It ends well after one outage, which this line began: every row is written and none is a dead letter.
async fn assert_completes(process: &Process, target: &Target, rows: i64, unavailable: &str) {
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(said(&output), [format!("WARN {unavailable}"), "INFO available again".to_owned()]);
    let summary = summary(&output);
    assert_eq!((&summary["written"], &summary["dead_lettered"]), (&json!(rows), &json!(0)));
    assert_accounted(target, &summary).await;
    assert_eq!(target.number("select count(*) from transactions where category <> ''").await, rows);
}

#[tokio::test]
async fn a_model_away_for_a_while_in_the_middle() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), PhasedModel::start().await);
    let first = model.hold();
    let process = start(&target, &model.url(), &folder, 200);
    let address = address(&process);
    model.until_came(4).await;
    let works =
        json!({"ready": true, "in_progress": true, "last_error": null, "last_run_ts": null});
    assert_eq!(ready(&address), (200, works));

    model.down();
    first.send_replace(true);
    // It changes after what `/ready` answers.
    let is_closed = "ingest_gate_open{dependency=\"model\"} 0\n";
    eventually(SOON, async || get(&address, "/metrics").1.contains(is_closed)).await;
    let away = format!("model at {}: answered 503", model.url());
    let error = format!("model: {away}");
    let (status, body) = ready(&address);
    let keys = ["ready", "in_progress", "last_error"].map(|key| &body[key]);
    assert_eq!((status, keys), (503, [&json!(false), &json!(true), &json!(error)]));
    let metrics = get(&address, "/metrics").1;
    assert!(metrics.contains("ingest_gate_open{dependency=\"database\"} 1\n"), "{metrics}");
    assert!(
        metrics.contains("ingest_errors_total{source=\"model\",stage=\"enrich\"}"),
        "{metrics}"
    );
    // What was answered before is committed meanwhile.
    eventually(SOON, async || target.number("select count(*) from transactions").await == 40).await;

    // One probe at a time, and the gate stays closed until it is answered.
    let probe = model.hold();
    model.until_came(1).await;
    assert_eq!(ready(&address).0, 503);
    let after = model.hold();
    probe.send_replace(true);
    model.until_came(4).await;
    let (status, body) = ready(&address);
    assert_eq!((status, &body["last_error"]), (200, &json!(error)));
    assert!(body["last_run_ts"].is_number(), "{body}");
    after.send_replace(true);
    model.up();

    let away = format!("unavailable, retrying: {away}");
    assert_completes(&process, &target, 200, &away).await;
}

#[tokio::test]
async fn no_more_batches_are_at_the_model_than_are_set() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("good.csv", table(1..=200));
    let model =
        ScriptedServer::start(|request| answer(request).delay(Duration::from_millis(30))).await;
    let job = Job::new(&target.url()).model(&model.url()).file(path).flags(["--batch-size", "10"]);
    let output = job.env("TALLY_ML__CONCURRENCY", "3").spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!((model.requests().len(), model.most_in_flight()), (20, 3));
}

#[tokio::test]
async fn a_model_that_drips_slower_than_its_timeout() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let (slow, is_slow) = watch::channel(true);
    let model = ScriptedServer::start(move |request| {
        let reply = answer(request);
        if *is_slow.borrow() { reply.drip(Duration::from_millis(50)) } else { reply }
    })
    .await;
    let path = folder.write("good.csv", table(1..=20));
    let job = Job::new(&target.url()).model(&model.url()).file(path).flags(["--summary", "json"]);
    let process = job.env("TALLY_ML__ANSWER_TIMEOUT", "200ms").spawn();
    let away = format!(
        "unavailable, retrying: model at {}: no answer within 200ms to a request of 20 records: the next has 10 (ml.request_size); if the model needs longer, raise \
             ml.answer_timeout",
        model.url()
    );
    process.wait_for_line(&away, SOON);
    slow.send_replace(false);
    assert_completes(&process, &target, 20, &away).await;
}

#[tokio::test]
async fn an_sqlite_file_that_another_process_holds() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    // Somebody who writes for longer than a lease.
    let path = folder.write("good.csv", table(1..=20));
    let Target::Sqlite(file) = &target else { unreachable!() };
    let mut other = file.connection();
    other.batch_execute("create table theirs (x); begin exclusive").unwrap();
    let job = Job::new(&target.url()).model(model.url()).file(path).flags([
        "--lease",
        "300ms",
        "--summary",
        "json",
    ]);
    let process = job.spawn();
    let away =
        format!("unavailable, retrying: database {}: database is locked", file.path().display());
    process.wait_for_line(&away, SOON);
    let (status, body) = ready(&address(&process));
    assert_eq!((status, &body["in_progress"]), (503, &json!(false)), "it does not work yet");
    other.batch_execute("rollback").unwrap();
    assert_completes(&process, &target, 20, &away).await;
}

#[tokio::test]
async fn a_signal_ends_a_run_that_waits_for_the_model() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("good.csv", table(1..=10));
    let job = Job::new(&target.url()).model(NO_MODEL).file(path).flags(["--summary", "json"]);
    let process = job.env("TALLY_DRAIN", "200ms").spawn();
    process.wait_for_line("unavailable, retrying", SOON);
    process.signal(Signal::SIGTERM);
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(143), "{output}");
    let lines = [
        "WARN unavailable, retrying: model at http://127.0.0.1:9: connection refused",
        "INFO asked to stop: finishing what is in flight; a second signal stops at once",
        "WARN what was in flight could not be committed in time; uncommitted records will be read again",
    ];
    assert_eq!(said(&output), lines);
    assert_eq!(summary(&output)["read"], 0);
    assert_untouched(&target).await;
}

#[tokio::test]
async fn a_signal_ends_a_run_that_waits_for_the_database() {
    let folder = Folder::new();
    let path = folder.write("good.csv", table(1..=10));
    let job = Job::new("postgres://me@127.0.0.1:9/x").model(NO_MODEL).file(path);
    let process = job.flags(["--max-outage", "never"]).spawn();
    process.wait_for_line("unavailable, retrying", SOON);
    process.signal(Signal::SIGINT);
    let output = process.wait(SOON);
    assert_eq!((output.code, output.stdout.as_str()), (Some(130), ""), "{output}");
}

mod serial {
    use tally_harness::postgres::OwnPostgres;

    use super::*;

    #[tokio::test]
    async fn a_model_that_is_frozen_and_thawed() {
        let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
        model.process().signal(Signal::SIGSTOP);
        let path = folder.write("good.csv", table(1..=20));
        let job =
            Job::new(&target.url()).model(model.url()).file(path).flags(["--summary", "json"]);
        let process = job.env("TALLY_ML__ANSWER_TIMEOUT", "200ms").spawn();
        let away = format!(
            "unavailable, retrying: model at {}: no answer within 200ms to a request of 20 records: the next has 10 (ml.request_size); if the model needs longer, raise \
             ml.answer_timeout",
            model.url()
        );
        process.wait_for_line(&away, SOON);
        model.process().signal(Signal::SIGCONT);
        assert_completes(&process, &target, 20, &away).await;
    }

    #[tokio::test]
    async fn a_postgres_that_is_stopped_and_started_in_the_middle() {
        let (folder, model) = (Folder::new(), PhasedModel::start().await);
        let postgres = OwnPostgres::start().await;
        let count = async || {
            let rows = postgres
                .query_text("select count(*), count(distinct position) from transactions")
                .await;
            rows[0].iter().flatten().map(|number| number.parse().unwrap()).collect::<Vec<u32>>()
        };
        let path = folder.write("good.csv", table(1..=200));
        let first = model.hold();
        let job = Job::new(&postgres.url()).model(&model.url()).file(path);
        let process = job.flags(["--batch-size", "10", "--summary", "json"]).spawn();
        let address = address(&process);
        model.until_came(4).await;
        let rest = model.hold();
        first.send_replace(true);
        eventually(SOON, async || count().await == [40, 40]).await;

        postgres.stop().await;
        model.up();
        rest.send_replace(true);
        process.wait_for_line("unavailable, retrying: postgres", SOON);
        let (status, body) = ready(&address);
        assert_eq!((status, &body["in_progress"]), (503, &json!(true)));
        assert!(body["last_error"].as_str().unwrap().starts_with("database: postgres"), "{body}");
        postgres.start_again().await;
        process.wait_for_line("available again", SOON);

        let output = process.wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
        let summary = summary(&output);
        assert_eq!((&summary["written"], &summary["dead_lettered"]), (&json!(200), &json!(0)));
        assert_eq!(count().await, [200, 200]);
        let ledger = postgres
            .query_text("select sum(read), sum(written), count(distinct first) from batches")
            .await;
        assert_eq!(ledger, [["200", "200", "20"].map(|number| Some(number.to_owned()))]);
    }
}
