//! Killed, or cut off from the database, at the worst moments: every row once, and the ledger whole.

use std::time::Duration;

use crate::support::outcome::{assert_went_on, outcome, summary};
use fastrand::Rng;
use tally_harness::eventually;
use tally_harness::job::{Job, LONG, ModelService, Target, ended_with};
use tally_harness::ledger::{committed, until_it_commits};
use tally_harness::model::RationedModel;
use tally_harness::postgres::TestDatabase;
use tally_harness::process::Signal;
use tally_harness::proxy::Proxy;
use tally_harness::sample::Sample;
use tokio::time::timeout;

/// Short, so that a run after a kill need not wait; small batches, so that many kills fit into a run.
const SETTINGS: [&str; 3] = ["--batch-size=200", "--lease=200ms", "--summary=json"];

mod repeated {
    use super::*;

    #[tokio::test]
    async fn twenty_kills_in_one_file_sqlite() {
        kill_at_random(&Target::sqlite(), &Sample::new(50_000), 20).await;
    }

    #[tokio::test]
    async fn twenty_kills_in_one_file_postgres() {
        kill_at_random(&Target::postgres().await, &Sample::new(50_000), 20).await;
    }
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn kills_in_a_file_with_bad_rows_sqlite() {
        kill_at_random(&Target::sqlite(), &Sample::spoiled(20_000, 0.1), 4).await;
    }

    #[tokio::test]
    async fn kills_in_a_file_with_bad_rows_postgres() {
        kill_at_random(&Target::postgres().await, &Sample::spoiled(20_000, 0.1), 4).await;
    }

    /// The database shows the moment: every batch is committed and the end is not, because a trigger holds it.
    #[tokio::test]
    async fn killed_between_the_last_commit_and_the_end() {
        let database = TestDatabase::create().await;
        let target = Target::Postgres(database);
        let (sample, model) = (Sample::new(1_000), ModelService::start());
        let job = || Job::new(&target.url()).model(model.url()).file(sample.path()).flags(SETTINGS);
        make_tables(&target, &model).await;
        target
            .execute(
                "create function fail_end() returns trigger language plpgsql as \
                 $$ begin raise exception using errcode = '53300'; end $$; \
                 create trigger fail_end before update of ended_at on positions for each row execute function fail_end()",
            )
            .await;
        let process = job().spawn();
        // The end is an outage that is tried again and again.
        process.wait_for_line("unavailable, retrying", LONG);
        process.kill9();
        assert_eq!(process.wait(LONG).signal, Some(Signal::SIGKILL));
        assert_eq!(committed(&target).await, sample.rows());

        target.execute("drop trigger fail_end on positions").await;
        let output = ended_with(&job().spawn(), 0);
        assert_eq!(outcome(&output), ("done".to_owned(), 0, Some(sample.rows())));
        sample.check_taken(&target, 1).await;
    }
}

/// Each kill comes a random time after its run has committed something.
async fn kill_at_random(target: &Target, sample: &Sample, kills: i64) {
    let seed = std::env::var("CRASH_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let model = RationedModel::start().await;
    let job = || Job::new(&target.url()).model(&model.url()).file(sample.path()).flags(SETTINGS);

    for kill in 1..=kills {
        model.allow(10);
        let process = job().spawn();
        until_it_commits(&process, target).await;
        // The kill comes at any moment of the work, whatever its state.
        tokio::time::sleep(Duration::from_micros(random.u64(0..60_000))).await;
        process.kill9();
        let output = process.wait(LONG);
        assert_eq!(output.signal, Some(Signal::SIGKILL), "kill {kill} came too late: {output}");
        let at_work = target
            .number("select count(*) from positions where ended_at is null and next > 0")
            .await;
        assert_eq!(at_work, 1, "kill {kill} came after the end");
    }
    model.release();
    assert_went_on(&ended_with(&job().spawn(), 0), sample);
    sample.check_taken(target, 1).await;
    let claims = target.number("select epoch from positions").await;
    assert_eq!(claims, kills + 1, "each run claimed the file once");
}

/// A file without rows, so that a test finds the tables before there is anything in them.
async fn make_tables(target: &Target, model: &ModelService) {
    let empty = Sample::new(0);
    ended_with(&Job::new(&target.url()).model(model.url()).file(empty.path()).spawn(), 0);
    target.execute("delete from positions").await;
}

/// Nobody waits longer than the lease for whoever was killed while the clock was a day ahead.
async fn killed_a_day_ahead(target: Target) {
    let (sample, model) = (Sample::new(20_000), ModelService::start());
    let flags = ["--batch-size=200", "--lease=2s", "--summary=json"];
    let job = || Job::new(&target.url()).model(model.url()).file(sample.path()).flags(flags);
    let process = job().spawn();
    until_it_commits(&process, &target).await;
    process.kill9();
    assert_eq!(process.wait(LONG).signal, Some(Signal::SIGKILL));
    let owned = "select count(*) from positions where owner is not null and ended_at is null";
    assert_eq!(target.number(owned).await, 1, "it came to its end");
    target.turn_clock_back_a_day().await;

    let next = job().spawn();
    let line = next.wait_for_line("is owned by", LONG);
    let (_, lives) = line.split_once("its lease lives for another ").unwrap();
    let seconds: f64 = lives.split_once(" s").unwrap().0.parse().unwrap();
    assert!((1.0..=2.0).contains(&seconds), "{line}");
    assert_went_on(&ended_with(&next, 0), &sample);
    sample.check_taken(&target, 1).await;
}

#[tokio::test]
async fn killed_while_the_clock_was_a_day_ahead_sqlite() {
    killed_a_day_ahead(Target::sqlite()).await;
}

#[tokio::test]
async fn killed_while_the_clock_was_a_day_ahead_postgres() {
    killed_a_day_ahead(Target::postgres().await).await;
}

/// Every other time the server has committed and the answer is lost, or it never hears of the COMMIT.
#[tokio::test]
async fn commits_that_are_cut_off_are_found_or_made() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let url = database.url_through(proxy.addr());
    let target = Target::Postgres(database);
    let (sample, model) = (Sample::spoiled(20_000, 0.1), ModelService::start());
    let process = Job::new(&url)
        .model(model.url())
        .file(sample.path())
        .flags(["--batch-size=200", "--summary=json"])
        .spawn();
    until_it_commits(&process, &target).await;

    for cut in 1..=6 {
        let before = committed(&target).await;
        if cut % 2 == 0 {
            proxy.cut_on_commit_request(2);
        } else {
            proxy.cut_on_commit_answer(2);
        }
        let is_cut = timeout(LONG, proxy.until_fired(cut)).await.is_ok();
        assert!(is_cut, "no more commits: {}", process.output_so_far());
        eventually(LONG, async || committed(&target).await > before).await;
    }
    let output = ended_with(&process, 0);

    assert_eq!(proxy.fired(), 6);
    assert_eq!(output.stderr.matches("available again").count(), 6, "{output}");
    assert_eq!(outcome(&output), ("done".to_owned(), sample.rows(), None));
    let counted = summary(&output);
    let valid = sample.expected_rows().len();
    assert_eq!(
        (counted["read"].as_i64(), counted["written"].as_u64()),
        (Some(sample.rows()), Some(valid as u64))
    );
    sample.check_taken(&target, 1).await;
}
