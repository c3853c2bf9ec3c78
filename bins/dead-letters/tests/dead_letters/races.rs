//! Replays at once, cut off, and beside whatever else writes.

use crate::support;

use crate::support::{Desk, SOON, launch, objects, on_both_stores, replayed, row};
use serde_json::{Value, json};
use tally_adapter_sqlite::diesel::connection::SimpleConnection;
use tally_harness::job::Target;
use tally_harness::process::{Process, Signal};
use tally_harness::proxy::Proxy;

on_both_stores! {
    two_replays_at_once_change_nothing_twice
    a_killed_replay_is_gone_on_with
    a_signal_ends_a_replay_in_order
    a_replay_beside_a_running_job_never_wins_over_a_later_record
    an_act_beside_a_replay_changes_each_once
}

/// So many open dead letters, and one row.
async fn fail(desk: &Desk, count: u64) {
    desk.model.omit();
    let rows: String = (1..=count).map(|id| row(id, "bad")).collect();
    desk.ingest("a.csv", &(row(1_000_000, "good") + &rows));
    assert_eq!(
        desk.target.number("select count(*) from dead_letters where state = 'open'").await,
        count.cast_signed()
    );
    desk.model.answer();
}

/// Each is replayed by one of them.
async fn two_replays_at_once_change_nothing_twice(desk: Desk) {
    fail(&desk, 200).await;
    let arguments = ["replay", "--all", "--output", "json", "--batch-size", "20"];
    let both: [Process; 2] = [(); 2].map(|()| desk.launch(&arguments).spawn());
    let mut sums = [0, 0];
    for process in &both {
        let output = process.wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
        let (_, counts) = replayed(objects(&output.stdout));
        sums[0] += counts["replayed"].as_i64().unwrap_or(0);
        sums[1] += counts["not_open"].as_i64().unwrap_or(0);
    }
    assert_eq!(sums[0], 200, "{sums:?}");
    consistent(&desk, 200).await;
    assert_eq!(
        desk.target.number("select count(*) from dead_letters where state = 'replayed'").await,
        200
    );
}

/// Wherever it is killed: what is marked is written, what is written is marked, and the act has counted it.
async fn a_killed_replay_is_gone_on_with(desk: Desk) {
    fail(&desk, 400).await;
    for _ in 0..3 {
        let process = desk.launch(&["replay", "--all", "--rate", "200/s"]).spawn();
        process.wait_for_lines("  replayed", 10, SOON);
        process.kill9();
        process.wait(SOON);
        desk.target.until_left().await;
        consistent(&desk, 400).await;
    }
    let left = desk.target.number("select count(*) from dead_letters where state = 'open'").await;
    assert!((1..=370).contains(&left), "{left}");
    let (_, counts) = desk.replay(&["--all"]);
    assert_eq!(counts, json!({"replayed": left}));
    consistent(&desk, 400).await;
}

/// What is in hand is finished; the act is complete.
async fn a_signal_ends_a_replay_in_order(desk: Desk) {
    fail(&desk, 200).await;
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let process = desk.launch(&["replay", "--all", "--rate", "50/s"]).spawn();
        process.wait_for_lines("  replayed", 5, SOON);
        process.signal(signal);
        let output = process.wait(SOON);
        assert_eq!(output.code, Some(code), "{output}");
        assert!(output.stdout.ends_with(" replayed\n"), "{output}");
        consistent(&desk, 200).await;
    }
    let left = desk.target.number("select count(*) from dead_letters where state = 'open'").await;
    assert!(left > 0);
}

/// Each record is a row or an open dead letter, never both, and the acts have counted exactly the rows.
async fn consistent(desk: &Desk, letters: i64) {
    let replayed =
        desk.target.number("select count(*) from dead_letters where state = 'replayed'").await;
    let written = desk
        .target
        .number(
            "select count(*) from transactions t join dead_letters d on d.position = t.position \
            where d.state = 'replayed'",
        )
        .await;
    let rows = desk.target.number("select count(*) from transactions").await;
    assert_eq!((written, rows), (replayed, replayed + 1));
    assert_eq!(desk.target.number("select count(*) from dead_letters").await, letters);
    let counted: i64 = desk
        .acts("replay")
        .await
        .iter()
        .map(|result| result.get("replayed").and_then(Value::as_i64).unwrap_or(0))
        .sum();
    assert_eq!(counted, replayed);
}

/// 1,000 keys: a bad version of each, later on two good ones in one batch; replays go on all the while.
async fn a_replay_beside_a_running_job_never_wins_over_a_later_record(desk: Desk) {
    const KEYS: u64 = 1_000;
    const AHEAD: u64 = 25;
    // Without it the model would not answer for one record of the first request: an outage.
    let (mut rows, mut lines) = (row(1_000_000, "good"), 1);
    let mut expected = Vec::new();
    for id in 0..KEYS + AHEAD {
        if id < KEYS {
            rows += &row(id, "bad");
            lines += 1;
        }
        if id >= AHEAD {
            rows += &row(id - AHEAD, "second");
            rows += &row(id - AHEAD, "last");
            lines += 2;
            expected.push(format!("last {}", lines - 1));
        }
    }
    expected.push("good 0".to_owned());
    desk.model.omit();
    desk.model.slow(20); // so that replays see what later batches will overwrite
    desk.model.hold_after(50); // so that the first one does, however late it comes
    let job = desk.job("a.csv", &rows).flags(["--batch-size", "30"]);
    let job = job.env("TALLY_ML__CONCURRENCY", "1").spawn();
    let model = support::Model::start().await;
    let mut told = std::collections::BTreeMap::new();
    loop {
        let is_over = job.output_so_far().code.is_some();
        if desk.target.has_tables().await {
            let replay =
                launch(&desk.target.url(), &model.url(), &["replay", "--all", "--output", "json"]);
            let output = replay.spawn().wait(SOON);
            assert_eq!(output.code, Some(0), "{output}");
            for (_, outcome) in replayed(objects(&output.stdout)).0 {
                *told.entry(outcome).or_insert(0) += 1;
            }
        }
        if told.contains_key("replayed") {
            desk.model.release();
        }
        if is_over {
            break;
        }
    }
    let output = job.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let texts = "select description, position from transactions order by id";
    assert_eq!(desk.texts(texts).await, expected);
    let states =
        desk.texts("select state, count(*) from dead_letters group by state order by state").await;
    assert_eq!(told.values().sum::<u64>(), KEYS, "{told:?} {states:?}");
    assert!(told["replayed"] > 0 && told["outdated"] > 0, "before and after: {told:?}");
    let open = desk.target.number("select count(*) from dead_letters where state = 'open'").await;
    assert_eq!(open, 0, "{told:?} {states:?}");
    assert_eq!(desk.target.number("select count(*) from dead_letters").await, KEYS.cast_signed());
}

/// Discarded or replayed, not both.
async fn an_act_beside_a_replay_changes_each_once(desk: Desk) {
    fail(&desk, 150).await;
    // Slow, so that it has most of them still to do when the other process has started.
    let replay = desk.launch(&["replay", "--all", "--rate", "30/s"]).spawn();
    replay.wait_for_lines("  replayed", 3, SOON);
    desk.done(&["discard", "--all", "--reason", "enough"]);
    let output = replay.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    consistent(&desk, 150).await;
    let discarded =
        desk.target.number("select count(*) from dead_letters where state = 'discarded'").await;
    assert_eq!(desk.acts("discard").await, [json!({"discarded": discarded})]);
    assert_eq!(
        desk.target.number("select count(*) from dead_letters where state = 'open'").await,
        0
    );
    assert!(discarded > 0);
}

/// The connection is cut when a COMMIT is sent, or answered: it is counted once either way.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_counted_once() {
    let desk = Desk::new(Target::postgres().await).await;
    fail(&desk, 30).await;
    let Target::Postgres(database) = &desk.target else { unreachable!() };
    let proxy = Proxy::start_postgres(database.addr()).await;
    let url = database.url_through(proxy.addr());
    let replay =
        launch(&url, &desk.model.url(), &["replay", "--all", "--rate", "10/s", "--output", "json"]);
    let process = replay.spawn();
    process.wait_for_lines("\"replayed\"", 3, SOON);
    proxy.cut_on_commit_answer(1);
    proxy.until_fired(1).await;
    process.wait_for_lines("\"replayed\"", 8, SOON);
    proxy.cut_on_commit_request(1);
    proxy.until_fired(2).await;
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let (told, counts) = replayed(objects(&output.stdout));
    assert!(told.iter().all(|(_, outcome)| outcome == "replayed"), "{told:?}");
    assert_eq!(counts, json!({"replayed": 30}));
    consistent(&desk, 30).await;
}

/// Whatever holds the one writer of an `SQLite` file is waited for.
#[tokio::test]
async fn a_busy_sqlite_file_is_waited_for() {
    let desk = Desk::new(Target::sqlite()).await;
    fail(&desk, 20).await;
    let Target::Sqlite(file) = &desk.target else { unreachable!() };
    let mut writer = file.connection();
    writer.batch_execute("begin immediate").unwrap();
    let before = desk.model.requests();
    let replay = desk.launch(&["replay", "--all", "--no-migrate"]).spawn();
    desk.model.until_requests(before + 1).await;
    writer.batch_execute("commit").unwrap();
    let output = replay.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    consistent(&desk, 20).await;
}
