//! Whole runs on fakes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{Bench, Model, Scripted, category, food, good, id, item, undecodable};
use tally_domain::quality::{Policy, Rule};
use tally_domain::transactions::Transactions;
use tally_domain::{Field, Reason, Stage};
use tally_pipeline::{Budget, Ended};
use tally_ports::{Fault, Item, Stop, StopKind};
use tally_testkit::build;

const AWAY: Duration = Duration::from_secs(30);

fn stop(kind: StopKind) -> Stop {
    Stop { kind, message: "as the test wants".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn every_record_is_accounted_for() {
    let mut bench = Bench::new();
    bench.store.refuse(|_, row| row["id"].ends_with("05").then(|| "23514".to_owned()));
    let mut invalid = build::fields(3, "-1");
    invalid[2] = Field::Absent; // the amount
    let twice = item(8, Ok(build::fields(7, "-5")));
    let items = [
        good(0),
        undecodable(1),
        good(2),
        item(3, Ok(invalid)),
        good(4),
        good(5),
        good(6),
        good(7),
        twice,
    ];
    let model = Model::new(|_, records| {
        let refused = Reason::new(Stage::Enrich, "model_refused", "answered 422");
        let answers = records.iter().map(|record| match id(record) {
            6 => Err(refused.clone()),
            _ => Ok(category("Food")),
        });
        (Duration::ZERO, Ok(answers.collect()))
    });

    assert_eq!(bench.run(Scripted::new(items), model).await, Ok(Ended::AtEnd { next: 9 }));
    let totals = &bench.totals;
    assert_eq!(
        (totals.read, totals.written, totals.superseded, totals.dead_lettered),
        (9, 4, 1, 4)
    );
    assert_eq!(totals.answers["Food"], 5);
    let codes: Vec<_> =
        totals.dead_letters.iter().map(|(code, &count)| (code.as_str(), count)).collect();
    assert_eq!(codes, [("23514", 1), ("amount_missing", 1), ("fields", 1), ("model_refused", 1)]);

    let letters = bench.store.dead_letters();
    let found: Vec<_> = letters
        .iter()
        .map(|stored| (stored.dead_letter.position, stored.dead_letter.reason.stage))
        .collect();
    assert_eq!(
        found,
        [(1, Stage::Decode), (3, Stage::Validate), (6, Stage::Enrich), (5, Stage::Write)]
    );
    assert!(letters.iter().all(|stored| stored.dead_letter.raw.payload
        == Some(stored.dead_letter.position.to_string().into())));
    let entry = &bench.store.batches()[0];
    assert_eq!((entry.read, entry.dead_lettered), (9, 4));
}

#[tokio::test(start_paused = true)]
async fn commits_keep_the_order_of_the_partition() {
    let mut bench = Bench::new();
    bench.settings.ahead = 4;
    let later_batches_first = Model::new(|call, records| {
        (Duration::from_secs(10 - u64::try_from(call).unwrap()), Ok(food(records)))
    });
    bench.run(Scripted::new((0..50).map(good)), later_batches_first).await.unwrap();
    assert_eq!(bench.ranges(), [(0, 9), (10, 19), (20, 29), (30, 39), (40, 49)]);
}

#[tokio::test(start_paused = true)]
async fn while_the_model_is_away_little_is_read_and_nothing_is_lost() {
    let mut bench = Bench::new();
    let began = tokio::time::Instant::now();
    let model = Model::new(move |_, records| {
        let is_away = began.elapsed() < AWAY;
        (
            Duration::from_millis(1),
            if is_away { Err(Fault::outage("503")) } else { Ok(food(records)) },
        )
    });
    let source = Scripted::new((0..1_000).map(good));
    let (read, status) = (Arc::clone(&source.read), Arc::clone(&bench.status));
    status.set_in_progress(true);
    let look = tokio::spawn(async move {
        tokio::time::sleep(AWAY / 2).await;
        (read.load(Ordering::SeqCst), status.snapshot())
    });

    bench.run(source, model).await.unwrap();
    let (read, status) = look.await.unwrap();
    assert_eq!(read, 3, "two ahead of the one that is to be committed");
    assert!(!status.is_ready());
    assert_eq!(status.outages["model"], "503");
    assert!(bench.status.snapshot().is_ready());
    assert_eq!((bench.totals.written, bench.totals.dead_lettered), (1_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_run_gives_up_when_the_outage_lasts_too_long() {
    let mut bench = Bench::new();
    bench.max_outage = Some(Duration::from_mins(1));
    let model = Model::new(|_, _| (Duration::ZERO, Err(Fault::outage("503"))));
    let stop = bench.run(Scripted::new((0..30).map(good)), model).await.unwrap_err();
    assert_eq!(stop.kind, StopKind::Unavailable);
    assert_eq!(bench.store.next(&bench.stream), Some((0, false)));
    assert!(bench.store.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_failing_commits_write_each_batch_once() {
    let mut bench = Bench::new();
    bench.store.fail_commits(3);
    bench.store.lose_answers(2);
    bench.run(Scripted::new((0..40).map(good)), Model::food()).await.unwrap();
    assert_eq!(bench.ranges(), [(0, 9), (10, 19), (20, 29), (30, 39)]);
    assert_eq!((bench.totals.read, bench.totals.written), (40, 40));
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_writes_nothing() {
    let mut bench = Bench::new();
    let position = bench.claim().await;
    bench.store.steal(&bench.stream);
    let stop =
        bench.run_at(position, Scripted::new((0..40).map(good)), Model::food()).await.unwrap_err();
    assert_eq!(stop.kind, StopKind::Taken);
    assert_eq!((bench.ranges(), bench.totals.read), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_stop_is_committed() {
    let mut bench = Bench::new();
    let mut source = Scripted::new((0..25).map(good));
    source.then = Some(stop(StopKind::Data));
    assert_eq!(bench.run(source, Model::food()).await, Err(stop(StopKind::Data)));
    assert_eq!(bench.ranges(), [(0, 9), (10, 19), (20, 24)]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_setting_of_the_model_stops_before_anything_is_written() {
    let mut bench = Bench::new();
    let model = Model::new(|_, _| (Duration::ZERO, Err(stop(StopKind::Setting).into())));
    assert_eq!(
        bench.run(Scripted::new((0..30).map(good)), model).await,
        Err(stop(StopKind::Setting))
    );
    assert_eq!(bench.ranges(), []);
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_few_loses_no_record() {
    let mut bench = Bench::new();
    let model = Model::new(|_, records| (Duration::ZERO, Ok(food(&records[1..]))));
    let stop = bench.run(Scripted::new((0..30).map(good)), model).await.unwrap_err();
    assert_eq!((stop.kind, stop.message.as_str()), (StopKind::Data, "9 answers to 10 records"));
    assert_eq!(bench.ranges(), []);
}

#[tokio::test(start_paused = true)]
async fn a_quality_stop_leaves_the_position_before_the_batch() {
    let mut bench = Bench::new();
    bench.settings.rules.window = 10;
    bench
        .settings
        .rules
        .by_name
        .insert("missing_merchant".to_owned(), Rule { threshold: 0.2, policy: Policy::Stop });
    let without_merchant = |position| {
        let mut fields = build::fields(u128::try_from(position).unwrap(), "-1");
        fields[4] = Field::Absent;
        item(position, Ok(fields))
    };
    let items = (0..17).map(good).chain((17..20).map(without_merchant)).chain((20..30).map(good));
    let stop = bench.run(Scripted::new(items), Model::food()).await.unwrap_err();
    assert_eq!(stop.kind, StopKind::Data);
    assert_eq!(
        stop.message,
        "quality rule missing_merchant stops the run: 30.0 % of the last 10 records break it at positions 10 to 19, \
         3 of them there, the first at 17"
    );
    assert_eq!(bench.store.next(&bench.stream), Some((10, false)));
}

#[tokio::test(start_paused = true)]
async fn quarantined_records_become_dead_letters_and_never_reach_the_model() {
    let mut bench = Bench::new();
    bench
        .settings
        .rules
        .by_name
        .insert("repeated_id".to_owned(), Rule { threshold: 0.0, policy: Policy::Quarantine });
    let items = [
        item(0, Ok(build::fields(9, "-1"))),
        undecodable(1),
        good(2),
        item(3, Ok(build::fields(9, "-2"))),
    ];
    let model = Model::new(|_, records| {
        assert_eq!(records.len(), 2);
        (Duration::ZERO, Ok(food(records)))
    });
    bench.run(Scripted::new(items), model).await.unwrap();
    let letters = bench.store.dead_letters();
    let found: Vec<_> = letters
        .iter()
        .map(|stored| (stored.dead_letter.position, &*stored.dead_letter.reason.code))
        .collect();
    assert_eq!(found, [(1, "fields"), (3, "repeated_id")]);
    assert_eq!((bench.totals.written, bench.totals.superseded), (2, 0));
    let share = bench.totals.quality["repeated_id"];
    assert_eq!((share.count, share.of), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_stop_asked_for_commits_what_is_in_flight_and_the_next_run_goes_on() {
    let mut bench = Bench::new();
    let token = bench.stop.clone();
    let model = Model::new(move |call, records| {
        if call == 3 {
            token.cancel();
        }
        (Duration::from_secs(1), Ok(food(records)))
    });
    assert_eq!(bench.run(Scripted::new((0..1_000).map(good)), model).await, Ok(Ended::Interrupted));
    let (next, _) = bench.store.next(&bench.stream).unwrap();
    assert!((40..=70).contains(&next), "{next}");
    assert_eq!(bench.totals.written, next);

    bench.stop = tokio_util::sync::CancellationToken::new();
    bench.run(Scripted::new((next..1_000).map(good)), Model::food()).await.unwrap();
    assert_eq!(bench.store.rows(Transactions::NAME).len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_drained_in_time_is_left_for_the_next_run() {
    let mut bench = Bench::new();
    let token = bench.stop.clone();
    let began = tokio::time::Instant::now();
    let model = Model::new(move |_, _| {
        token.cancel();
        (Duration::ZERO, Err(Fault::outage("503")))
    });
    assert_eq!(bench.run(Scripted::new((0..100).map(good)), model).await, Ok(Ended::Interrupted));
    assert_eq!(began.elapsed(), bench.settings.drain);
    assert_eq!(bench.store.next(&bench.stream), Some((0, false)));
}

#[tokio::test(start_paused = true)]
async fn statistics_are_the_same_with_and_without_a_restart() {
    let amount = |position: i64| match position % 400 {
        0 => "-99999".to_owned(),
        _ => format!("-{}.{:02}", 1 + position * 7919 % 997, position % 100),
    };
    let fields =
        move |position: i64| build::fields(u128::try_from(position).unwrap(), &amount(position));
    let items = move |from| {
        Scripted::new((from..3_000).map(move |position| item(position, Ok(fields(position)))))
    };

    let mut whole = Bench::new();
    whole.run(items(0), Model::food()).await.unwrap();
    let mut parts = Bench::new();
    let mut source =
        Scripted::new((0..1_500).map(move |position| item(position, Ok(fields(position)))));
    source.then = Some(stop(StopKind::Data));
    parts.run(source, Model::food()).await.unwrap_err();
    parts.run(items(1_500), Model::food()).await.unwrap();

    let quality = |bench: &Bench| {
        bench.store.batches().into_iter().map(|entry| entry.quality).collect::<Vec<_>>()
    };
    let outliers: usize = quality(&whole).iter().map(|report| report["outlier"].count).sum();
    assert!((3..=7).contains(&outliers), "{outliers}");
    assert_eq!(quality(&whole), quality(&parts));
    assert_eq!(whole.claim().await.stats["flow"]["amount"]["count"], 3_000);
    assert_eq!(whole.claim().await.stats, parts.claim().await.stats);
    assert_eq!(whole.totals, parts.totals);
}

/// One good record before `dead` bad ones, again and again.
fn mostly_bad(positions: std::ops::Range<i64>, dead: i64) -> impl Iterator<Item = Item> {
    positions.map(
        move |position| {
            if position % (dead + 1) == 0 { good(position) } else { undecodable(position) }
        },
    )
}

#[tokio::test]
async fn too_many_dead_letters_in_a_row_stop_before_their_batch() {
    let mut bench = Bench::new();
    bench.settings.budget = Budget { in_a_row: 15, ..Budget::default() };
    let stop = bench.run(Scripted::new((0..40).map(undecodable)), Model::food()).await.unwrap_err();
    assert_eq!(stop.kind, StopKind::Data);
    assert!(stop.message.contains("15 records in a row"), "{stop}");
    assert!(stop.message.contains("fields (20)"), "{stop}");
    assert_eq!(bench.ranges(), [(0, 9)]);
}

#[tokio::test]
async fn too_great_a_share_of_dead_letters_stops_once_the_window_is_full() {
    let mut bench = Bench::new();
    bench.settings.budget = Budget { ratio: 0.5, window: 30, in_a_row: 1000 };
    let stop = bench.run(Scripted::new(mostly_bad(0..100, 2)), Model::food()).await.unwrap_err();
    assert!(stop.message.contains("20 of the last 30 records"), "{stop}");
    assert_eq!(bench.ranges(), [(0, 9), (10, 19)]);

    // Each start begins with nothing.
    let stop = bench.run(Scripted::new(mostly_bad(20..40, 2)), Model::food()).await;
    assert!(stop.is_ok(), "{stop:?}");
}

#[tokio::test]
async fn a_share_within_the_budget_goes_on() {
    let mut bench = Bench::new();
    let exactly = 2.0 / 3.0;
    bench.settings.budget = Budget { ratio: exactly, window: 30, in_a_row: 3 };
    bench.run(Scripted::new(mostly_bad(0..100, 2)), Model::food()).await.unwrap();
    assert_eq!(bench.ranges().len(), 10);
}

#[tokio::test]
async fn what_only_the_database_refuses_counts_before_it_is_committed() {
    let mut bench = Bench::new();
    bench.settings.budget = Budget { in_a_row: 15, ..Budget::default() };
    bench.store.refuse(|_, _| Some("23514".into()));
    let stop = bench.run(Scripted::new((0..60).map(good)), Model::food()).await.unwrap_err();
    assert!(stop.message.contains("15 records in a row"), "{stop}");
    assert!(stop.message.contains("23514 (20)"), "{stop}");
    assert_eq!(bench.ranges(), [(0, 9)]);
}

#[tokio::test]
async fn the_three_most_frequent_codes_are_named() {
    let mut bench = Bench::new();
    bench.settings.budget = Budget { in_a_row: 10, ..Budget::default() };
    let codes = [("json", 4), ("avro", 1), ("fields", 3), ("encoding", 2)];
    let codes = codes.iter().flat_map(|&(code, count)| vec![code; count]);
    let items = (0..).zip(codes).map(|(position, code)| {
        let reason = Reason::new(Stage::Decode, code, "broken");
        Item { content: Err(reason), ..undecodable(position) }
    });
    let stop = bench.run(Scripted::new(items), Model::food()).await.unwrap_err();
    assert!(stop.message.contains("json (4), fields (3), encoding (2): a setting"), "{stop}");
}
