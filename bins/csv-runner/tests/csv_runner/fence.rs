//! Several runs at once, and runs that are frozen and come back: who owns a file writes, nobody else.

use std::time::Duration;

use crate::support::outcome::outcome;
use tally_harness::eventually;
use tally_harness::job::{Job, LONG, ModelService, Target, ended_with};
use tally_harness::ledger::{Ledger, committed, until_it_commits};
use tally_harness::process::{Process, Signal};
use tally_harness::proxy::{Mode, Proxy};
use tally_harness::sample::{Sample, assert_same_rows, rows};

const LEASE: Duration = Duration::from_secs(2);
/// The lease where nobody is to give up waiting, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

mod serial {
    use super::*;

    #[tokio::test]
    async fn a_frozen_owner_is_succeeded_and_refused_sqlite() {
        freeze_and_succeed(Target::sqlite(), Moment::Any).await;
    }

    #[tokio::test]
    async fn a_frozen_owner_is_succeeded_and_refused_postgres() {
        freeze_and_succeed(Target::postgres().await, Moment::Any).await;
    }

    /// Only Postgres lets go of what a frozen process has locked. In SQLite the lock is the process's own: nobody
    /// writes to the file until it goes on or dies.
    #[tokio::test]
    async fn an_owner_frozen_between_rows_and_commit_is_succeeded_and_refused() {
        freeze_and_succeed(Target::postgres().await, Moment::BeforeCommit).await;
    }
}

/// When an owner is frozen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Any,
    BeforeCommit,
}

/// The successor's model answers only after the frozen one came back. So the position still stands where the batch
/// of the frozen one begins: nothing but the epoch keeps it from writing.
async fn freeze_and_succeed(target: Target, moment: Moment) {
    let (sample, model) = (Sample::new(20_000), ModelService::start());
    let (now, later) = (line_to(&model).await, line_to(&model).await);
    later.set_mode(Mode::Blackhole).await;

    let frozen = job(&target, &sample, &now).spawn();
    until_it_commits(&frozen, &target).await;
    match moment {
        Moment::Any => freeze_outside_of_sqlite_transactions(&target, &frozen).await,
        Moment::BeforeCommit => target.freeze_before_commit(&frozen).await,
    }

    let successor = job(&target, &sample, &later).spawn();
    eventually(LONG, async || target.number("select epoch from positions").await == 2).await;
    // Now, because the server may have carried out a COMMIT that was sent before.
    let stands_at = committed(&target).await;
    frozen.signal(Signal::SIGCONT);
    let output = ended_with(&frozen, 75);
    assert!(
        output.stderr.contains("taken over") || output.stderr.contains("no longer ours"),
        "{output}"
    );
    assert_eq!(committed(&target).await, stands_at, "a late commit");

    later.set_mode(Mode::Pass).await;
    let output = ended_with(&successor, 0);
    assert_eq!(outcome(&output), ("done".to_owned(), sample.rows() - stands_at, Some(stands_at)));
    sample.check_taken(&target, 1).await;
}

/// At any moment but those when it holds the lock of an SQLite file, see above.
async fn freeze_outside_of_sqlite_transactions(target: &Target, process: &Process) {
    eventually(LONG, async || {
        process.freeze().await;
        let Target::Sqlite(file) = target else { return true };
        let is_free = !file.is_locked();
        if !is_free {
            process.signal(Signal::SIGCONT);
        }
        is_free
    })
    .await;
}

/// Two at the same moment on a short file: one takes it, the other waits and finds it finished.
async fn two_on_a_short_file(target: Target) {
    let (sample, model) = (Sample::new(2_000), ModelService::start());
    let line = line_to(&model).await;
    let both = [(); 2].map(|()| job_for(PATIENCE, &target, &sample, &line).spawn());
    let mut outcomes = both.map(|process| outcome(&ended_with(&process, 0)));
    outcomes.sort();
    let [waited, worked] = outcomes;
    assert_eq!(waited, ("already_done".to_owned(), 0, None));
    assert_eq!(worked, ("done".to_owned(), sample.rows(), None));
    sample.check_taken(&target, 1).await;
}

#[tokio::test]
async fn two_at_once_on_a_short_file_sqlite() {
    two_on_a_short_file(Target::sqlite()).await;
}

#[tokio::test]
async fn two_at_once_on_a_short_file_postgres() {
    two_on_a_short_file(Target::postgres().await).await;
}

/// Two at the same moment on a file that takes longer than two leases: who waits gives up and says who is at it.
async fn two_on_a_long_file(target: Target) {
    let (sample, model) = (Sample::new(2_000), ModelService::start());
    let line = line_to(&model).await;
    line.set_mode(Mode::Blackhole).await;
    let [one, other] = [(); 2].map(|()| job(&target, &sample, &line).spawn());
    let has_ended = |process: &Process| process.output_so_far().code.is_some();
    eventually(LONG, async || has_ended(&one) || has_ended(&other)).await;
    let (owner, gave_up) = if has_ended(&one) { (other, one) } else { (one, other) };

    let output = ended_with(&gave_up, 75);
    let (pid, path) = (owner.id(), sample.path());
    let said: Vec<&str> =
        output.stderr.lines().filter(|line| line.contains(" is owned by csv-runner@")).collect();
    let [waits, gives_up] = said[..] else {
        panic!("not once at first and once in the end: {output}")
    };
    for line in [waits, gives_up] {
        assert!(
            line.contains(path.to_str().unwrap()) && line.contains(&format!(":{pid}:")),
            "not {pid}: {line}"
        );
    }
    assert!(waits.contains("waiting") && gives_up.contains("alive"), "{output}");
    assert_eq!(output.stdout, "", "a summary of a run that never began");

    line.set_mode(Mode::Pass).await;
    let output = ended_with(&owner, 0);
    assert_eq!(outcome(&output), ("done".to_owned(), sample.rows(), None));
    sample.check_taken(&target, 1).await;
}

#[tokio::test]
async fn two_at_once_on_a_long_file_sqlite() {
    two_on_a_long_file(Target::sqlite()).await;
}

#[tokio::test]
async fn two_at_once_on_a_long_file_postgres() {
    two_on_a_long_file(Target::postgres().await).await;
}

/// Six first runs on an empty database: each finds or makes the tables, none takes what the others do for an outage,
/// and its own file is taken. Postgres can hold them all where they are about to make the tables.
async fn six_on_an_empty_database(target: Target) {
    let (sample, model) = (Sample::new(3_000), ModelService::start());
    let run =
        |part| Job::new(&target.url()).model(model.url()).file(part).flag("--summary=json").spawn();
    let run_all = || sample.split(6).into_iter().map(run).collect::<Vec<Process>>();
    let runs = match &target {
        Target::Sqlite(_) => run_all(),
        Target::Postgres(database) => {
            let door = database.connect().await;
            door.batch_execute("begin; lock table pg_class in share mode").await.unwrap();
            let runs = run_all();
            let waiting = "select count(*) from pg_stat_activity \
                where datname = current_database() and wait_event_type = 'Lock'";
            eventually(LONG, async || target.number(waiting).await == 6).await;
            door.batch_execute("rollback").await.unwrap();
            runs
        }
    };
    for run in &runs {
        let output = ended_with(run, 0);
        assert_eq!(outcome(&output), ("done".to_owned(), 500, None));
        assert!(!output.stderr.contains("unavailable"), "{output}");
    }
    assert_same_rows(&rows(&target).await, &sample.expected_rows());
    let passes = Ledger::read(&target).await.check_whole(&target).await;
    assert_eq!(passes.len(), 6);
    assert!(passes.iter().all(|pass| pass.ended && pass.written == 500), "{passes:?}");
}

#[tokio::test]
async fn six_at_once_on_an_empty_database_sqlite() {
    // Several times, because nothing makes them meet.
    for _ in 0..8 {
        six_on_an_empty_database(Target::sqlite()).await;
    }
}

#[tokio::test]
async fn six_at_once_on_an_empty_database_postgres() {
    six_on_an_empty_database(Target::postgres().await).await;
}

/// A line to the model that can be blocked.
async fn line_to(model: &ModelService) -> Proxy {
    let addr = model.url().strip_prefix("http://").unwrap();
    Proxy::start(addr.parse().unwrap()).await
}

fn job(target: &Target, sample: &Sample, model: &Proxy) -> Job {
    job_for(LEASE, target, sample, model)
}

fn job_for(lease: Duration, target: &Target, sample: &Sample, model: &Proxy) -> Job {
    let lease = format!("--lease={lease:?}");
    Job::new(&target.url())
        .model(&format!("http://{}", model.addr()))
        .file(sample.path())
        .flags(["--batch-size=100", "--summary=json", &lease])
        .env("TALLY_ML__ANSWER_TIMEOUT", "1m")
}
