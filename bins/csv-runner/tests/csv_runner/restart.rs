//! Runs that are stopped and go on, files that are read again, files that have changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::outcome::{assert_went_on, outcome};
use fastrand::Rng;
use serde_json::Value;
use tally_harness::http::ScriptedServer;
use tally_harness::job::{Job, LONG, ModelService, Target, ended_with};
use tally_harness::ledger::{Ledger, committed, until_it_commits};
use tally_harness::model::{RationedModel, answer};
use tally_harness::process::{Process, Signal};
use tally_harness::sample::{Sample, assert_same_rows, rows};
use tokio::sync::watch;
use tokio::time::timeout;

fn job(target: &Target, model: &str, sample: &Sample) -> Job {
    Job::new(&target.url())
        .model(model)
        .file(sample.path())
        .flags(["--batch-size=100", "--summary=json"])
}

/// The statistics that the position ends with, and what each batch's quality report says.
async fn statistics(target: &Target) -> (Value, Vec<(i64, Value)>) {
    let stats = target.query("select stats from positions").await.remove(0).remove(0).unwrap();
    let Ledger(entries) = Ledger::read(target).await;
    let reports = entries.into_iter().map(|entry| (entry.first, entry.quality)).collect();
    (serde_json::from_str(&stats).unwrap(), reports)
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn statistics_do_not_depend_on_restarts_sqlite() {
        compare_statistics(&Target::sqlite(), &Target::sqlite()).await;
    }

    #[tokio::test]
    async fn statistics_do_not_depend_on_restarts_postgres() {
        compare_statistics(&Target::postgres().await, &Target::postgres().await).await;
    }

    #[tokio::test]
    async fn a_pass_that_was_killed_is_gone_on_with_before_another_begins_sqlite() {
        kill_the_second_pass(&Target::sqlite()).await;
    }

    #[tokio::test]
    async fn a_pass_that_was_killed_is_gone_on_with_before_another_begins_postgres() {
        kill_the_second_pass(&Target::postgres().await).await;
    }
}

/// One run, and one that is stopped five times, every other time without warning.
async fn compare_statistics(whole: &Target, stopped: &Target) {
    let seed = std::env::var("CRASH_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let (sample, model) = (Sample::spoiled(20_000, 0.05), RationedModel::start().await);
    let model_url = model.url();
    model.release();
    ended_with(&job(whole, &model_url, &sample).spawn(), 0);

    for stop in 0..5 {
        model.allow(30);
        let process = job(stopped, &model_url, &sample).flag("--lease=1s").spawn();
        until_it_commits(&process, stopped).await;
        // The stop comes at any moment of the work, whatever its state.
        tokio::time::sleep(Duration::from_micros(random.u64(0..60_000))).await;
        if stop % 2 == 0 {
            process.signal(Signal::SIGTERM);
            process.wait_for_line("asked to stop", LONG);
            model.release();
            ended_with(&process, 143);
        } else {
            process.kill9();
            assert_eq!(process.wait(LONG).signal, Some(Signal::SIGKILL));
        }
    }
    model.release();
    ended_with(&job(stopped, &model_url, &sample).spawn(), 0);

    assert_eq!(stopped.number("select epoch from positions").await, 6, "a stop came after the end");
    let (stats, reports) = statistics(stopped).await;
    let outliers: i64 =
        reports.iter().map(|(_, report)| report["outlier"]["count"].as_i64().unwrap()).sum();
    assert!(
        outliers > 0 && stats["flow"]["amount"]["count"] == sample.expected_rows().len(),
        "{outliers} outliers, {stats}"
    );
    assert_eq!((stats, reports), statistics(whole).await);
    sample.check_taken(stopped, 1).await;
}

/// Asked for again with `--again`, because that is what people type again.
async fn kill_the_second_pass(target: &Target) {
    let (sample, model) = (Sample::new(10_000), RationedModel::start().await);
    let again = || job(target, &model.url(), &sample).flags(["--again", "--lease=1s"]).spawn();
    model.release();
    ended_with(&again(), 0);
    model.allow(50);
    let killed = again();
    until_it_commits(&killed, target).await;
    killed.kill9();
    assert_eq!(killed.wait(LONG).signal, Some(Signal::SIGKILL));

    model.release();
    assert_went_on(&ended_with(&again(), 0), &sample);
    sample.check_taken(target, 2).await;
}

/// A model whose answers wait until `true` is sent.
async fn held_model() -> (ScriptedServer, watch::Sender<bool>) {
    let (release, held) = watch::channel(false);
    let model = ScriptedServer::start(move |request| answer(request).held(held.clone())).await;
    (model, release)
}

/// As many batches as may be at the model at once are there.
async fn until_four_asked(model: &ScriptedServer, process: &Process) {
    let are_there = timeout(LONG, model.until_requests(4)).await.is_ok();
    assert!(are_there, "{}", process.output_so_far());
}

/// Stopped while batches are at the model: they are committed, and nothing else is read; nobody has to wait for the
/// lease, which would live for a minute.
async fn stop_under_load(target: Target, signal: Signal, code: i32) {
    let (sample, (model, release)) = (Sample::spoiled(5_000, 0.05), held_model().await);
    let run = || {
        job(&target, &model.url(), &sample)
            .flag("--lease=1m")
            .env("TALLY_ML__ANSWER_TIMEOUT", "1m")
            .spawn()
    };
    let process = run();
    until_four_asked(&model, &process).await;
    process.signal(signal);
    process.wait_for_line("asked to stop", LONG);
    assert_eq!(committed(&target).await, 0);
    release.send_replace(true);
    let output = ended_with(&process, code);

    let asked = i64::try_from(model.requests().len()).unwrap();
    let stands_at = 100 * asked;
    assert!(stands_at < sample.rows() / 2, "it read on: {asked} batches");
    assert_eq!(committed(&target).await, stands_at, "what was read is committed: {output}");
    assert_eq!(outcome(&output), ("failed".to_owned(), stands_at, None));
    assert_eq!(
        target
            .number("select count(*) from positions where owner is null and lease_until is null")
            .await,
        1
    );

    let output = ended_with(&run(), 0);
    assert!(!output.stderr.contains("is owned by"), "{output}");
    assert_eq!(outcome(&output), ("done".to_owned(), sample.rows() - stands_at, Some(stands_at)));
    sample.check_taken(&target, 1).await;
}

#[tokio::test]
async fn sigterm_drains_sqlite() {
    stop_under_load(Target::sqlite(), Signal::SIGTERM, 143).await;
}

#[tokio::test]
async fn sigterm_drains_postgres() {
    stop_under_load(Target::postgres().await, Signal::SIGTERM, 143).await;
}

#[tokio::test]
async fn ctrl_c_drains_sqlite() {
    stop_under_load(Target::sqlite(), Signal::SIGINT, 130).await;
}

#[tokio::test]
async fn ctrl_c_drains_postgres() {
    stop_under_load(Target::postgres().await, Signal::SIGINT, 130).await;
}

/// The model never answers: draining would take as long as the deadline.
async fn drain_in_vain(drain: &str) -> (Target, Process, impl Sized) {
    let (target, sample, (model, held)) =
        (Target::sqlite(), Sample::new(5_000), held_model().await);
    let process = job(&target, &model.url(), &sample)
        .flag("--lease=1m")
        .env("TALLY_DRAIN", drain)
        .env("TALLY_ML__ANSWER_TIMEOUT", "1m")
        .spawn();
    until_four_asked(&model, &process).await;
    process.signal(Signal::SIGTERM);
    process.wait_for_line("asked to stop", LONG);
    (target, process, (model, held))
}

/// Far below the ten minutes that draining may take.
#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let (target, process, _held_model) = drain_in_vain("10m").await;
    process.signal(Signal::SIGINT);
    ended_with(&process, 130);
    assert_eq!(committed(&target).await, 0);
}

/// The lease is given back then too.
#[tokio::test]
async fn draining_ends_at_its_deadline() {
    let (target, process, _held_model) = drain_in_vain("300ms").await;
    let output = ended_with(&process, 143);
    assert!(output.stderr.contains("could not be committed in time"), "{output}");
    assert_eq!(
        target.number("select count(*) from positions where owner is null and next = 0").await,
        1
    );
}

/// A finished file is not read again unless that is asked for; then the ledger holds both passes.
async fn read_again(target: Target) {
    let (sample, model) = (Sample::spoiled(2_000, 0.05), ModelService::start());
    let run = || job(&target, model.url(), &sample);
    ended_with(&run().spawn(), 0);
    let (then, zone) =
        ("2020-02-03 04:05:06", if matches!(target, Target::Postgres(_)) { "+00" } else { "" });
    target.execute(&format!("update positions set ended_at = '{then}{zone}'")).await;

    let output = ended_with(&run().spawn(), 0);
    let said = format!("was finished at {then} UTC with 2000 rows");
    assert!(output.stderr.contains(&said), "{said}: {output}");
    assert_eq!(outcome(&output), ("already_done".to_owned(), 0, None));
    sample.check_taken(&target, 1).await;

    let output = ended_with(&run().flag("--again").spawn(), 0);
    assert_eq!(outcome(&output), ("done".to_owned(), sample.rows(), None));
    sample.check_taken(&target, 2).await;
    let output = ended_with(&run().spawn(), 0);
    assert!(
        output.stderr.contains(" with 2000 rows") && !output.stderr.contains(&said),
        "the last pass: {output}"
    );
}

#[tokio::test]
async fn again_begins_a_second_pass_sqlite() {
    read_again(Target::sqlite()).await;
}

#[tokio::test]
async fn again_begins_a_second_pass_postgres() {
    read_again(Target::postgres().await).await;
}

/// One byte appended or another: a file of its own, read from its first row. The same bytes elsewhere: the same file.
async fn read_changed(target: Target) {
    let (sample, model) = (Sample::new(1_000), ModelService::start());
    let run =
        |path| Job::new(&target.url()).model(model.url()).file(path).flag("--summary=json").spawn();
    ended_with(&run(sample.path()), 0);

    let output = ended_with(&run(changed_copy(&sample.path(), |_| ())), 0);
    assert_eq!(outcome(&output), ("already_done".to_owned(), 0, None));
    let appended = changed_copy(&sample.path(), |bytes| bytes.push(b'\n'));
    assert_eq!(outcome(&ended_with(&run(appended), 0)), ("done".to_owned(), 1_000, None));
    let cents = |bytes: &mut Vec<u8>| {
        let comma = bytes.iter().rposition(|&byte| byte == b',').unwrap();
        bytes[comma + 1] = if bytes[comma + 1] == b'9' { b'8' } else { b'9' };
    };
    let other = changed_copy(&sample.path(), cents);
    assert_eq!(outcome(&ended_with(&run(other), 0)), ("done".to_owned(), 1_000, None));

    let passes = Ledger::read(&target).await.check_whole(&target).await;
    assert_eq!(passes.len(), 3, "{passes:?}");
    assert!(
        passes.iter().all(|pass| pass.ended && pass.number == 1 && pass.written == 1_000),
        "{passes:?}"
    );
    let (found, mut expected) = (rows(&target).await, sample.expected_rows());
    let last = &mut expected[999];
    assert_ne!(found[999], *last);
    last[2].clone_from(&found[999][2]);
    assert_same_rows(&found, &expected);
}

#[tokio::test]
async fn a_changed_file_is_a_new_file_sqlite() {
    read_changed(Target::sqlite()).await;
}

#[tokio::test]
async fn a_changed_file_is_a_new_file_postgres() {
    read_changed(Target::postgres().await).await;
}

/// Appends a byte to a copy of a file, or changes one, and so on.
fn changed_copy(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    let copy = path.with_file_name("changed.csv");
    std::fs::write(&copy, bytes).unwrap();
    copy
}
