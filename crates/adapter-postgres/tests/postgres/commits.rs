//! Commits that something goes wrong with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::freezing::Freezing;
use crate::support::{LEASE, contents, open, outage, own, stop, ten_rows};
use tally_adapter_postgres::{Postgres, Settings};
use tally_domain::Value;
use tally_domain::transactions::Transactions;
use tally_harness::eventually;
use tally_harness::postgres::TestDatabase;
use tally_harness::proxy::{Mode, Proxy};
use tally_ports::{Begin, Claim, Committed, Positions, Refused, Sink, StopKind};
use tally_testkit::accounts::{Accounts, account, happening_with, no_price, price, record, total};
use tally_testkit::build::{self, AGAIN, LONG, TOLERANCE, dead_letter, row};

const TEN_WRITTEN: &str = "10 rows, 1 batches, 0 dead letters, next 10";

fn written(count: i64) -> Committed {
    Committed { written: count, ..Committed::default() }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let store = open(database.url_through(proxy.addr())).await.unwrap();
    let batch = ten_rows(&store).await;

    proxy.cut_on_commit_answer(1);
    outage(store.commit(&batch).await);
    assert_eq!((proxy.fired(), &*contents(&database).await), (1, TEN_WRITTEN));
    assert_eq!(store.commit(&batch).await, Ok(written(10)));
    assert_eq!(contents(&database).await, TEN_WRITTEN);
}

#[tokio::test]
async fn a_commit_that_did_not_arrive_is_made() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let store = open(database.url_through(proxy.addr())).await.unwrap();
    let batch = ten_rows(&store).await;

    proxy.cut_on_commit_request(1);
    outage(store.commit(&batch).await);
    assert_eq!(
        (proxy.fired(), &*contents(&database).await),
        (1, "0 rows, 0 batches, 0 dead letters, next 0")
    );
    assert_eq!(store.commit(&batch).await, Ok(written(10)));
    assert_eq!(contents(&database).await, TEN_WRITTEN);
}

/// The connection breaks while the server is still committing: whoever calls again waits for it and finds it. The
/// server commits until the test opens a lock.
#[tokio::test]
async fn a_commit_that_still_runs_is_waited_for() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let settings = Settings { lease: LONG, ..Settings::new(database.url_through(proxy.addr())) };
    let store = Postgres::open(&settings, &tally_flows::all()).await.unwrap();
    let batch = ten_rows(&store).await;
    let lock = database.connect().await;
    // It runs within COMMIT: deferred again, since a commit makes all such ones immediate.
    let held = "
        select pg_advisory_lock(7);
        create function defer() returns trigger language plpgsql as $$
        begin
            set constraints wait deferred;
            return null;
        end $$;
        create trigger defer before insert on batches for each statement execute function defer();
        create function wait() returns trigger language plpgsql as $$
        begin
            perform pg_advisory_xact_lock_shared(7);
            return null;
        end $$;
        create constraint trigger wait after insert on batches deferrable initially deferred
            for each row execute function wait()";
    lock.batch_execute(held).await.unwrap();

    let commit = || {
        let (store, batch) = (store.clone(), Arc::clone(&batch));
        tokio::spawn(async move { store.commit(&batch).await })
    };
    let waiting = async || {
        let sql = "select string_agg(wait_event, ', ' order by wait_event) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        database.query_text(sql).await[0][0].clone().unwrap_or_default()
    };
    let first = commit();
    eventually(LONG, async || waiting().await == "advisory").await;
    proxy.sever().await;
    outage(first.await.unwrap());
    let again = commit();
    eventually(LONG, async || waiting().await == "advisory, transactionid").await;
    lock.batch_execute("select pg_advisory_unlock(7)").await.unwrap();
    assert_eq!(again.await.unwrap(), Ok(written(10)));
    assert_eq!(contents(&database).await, TEN_WRITTEN);
}

/// A full disk is not the rows' fault; what the database says of it may quote them.
#[tokio::test]
async fn a_full_disk_is_an_outage() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let batch = ten_rows(&store).await;
    let full = "
        create function full_disk() returns trigger language plpgsql as $$
        begin
            raise exception using errcode = '53100', message = 'no space for ' || new.description;
        end $$;
        create trigger full_disk before insert on transactions for each row execute function full_disk()";
    database.execute(full).await;

    for _ in 0..2 {
        let message = outage(store.commit(&batch).await);
        assert!(message.contains("53100") && !message.contains("BOULANGERIE"), "{message}");
        assert_eq!(contents(&database).await, "0 rows, 0 batches, 0 dead letters, next 0");
    }
    database.execute("drop trigger full_disk on transactions").await;
    assert_eq!(store.commit(&batch).await, Ok(written(10)));
    assert_eq!(contents(&database).await, TEN_WRITTEN);
}

/// The server refuses such a text before it looks at rows.
#[tokio::test]
async fn a_text_with_nul_costs_only_its_row() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let (position, stream) = own::<Transactions>(&store, "file/1", LONG).await;
    let mut rows = vec![row(0, 1, "1"), row(1, 2, "2"), row(2, 2, "3"), row(3, 3, "4")];
    *rows[2].record.writes[0].values.last_mut().unwrap() = Value::Text("Fo\0od".into());
    let committed = store
        .commit(&Arc::new(build::commit(&position, &stream, 0..=3, rows, vec![])))
        .await
        .unwrap();

    let refused = vec![Refused { position: 2, code: "22021".into() }];
    assert_eq!(committed, Committed { written: 3, refused, ..Committed::default() });
    let amounts = database
        .query_text("select string_agg(amount::text, ' ' order by id) from transactions")
        .await;
    assert_eq!(amounts[0][0].as_deref(), Some("1.00 2.00 4.00"));
}

/// A dead letter that nobody committed at this position cannot be there; if it is, the ledger does not add up.
#[tokio::test]
async fn a_dead_letter_that_is_there_already_stops() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let (position, stream) = own::<Transactions>(&store, "file/1", LONG).await;
    let batch = |letters| Arc::new(build::commit(&position, &stream, 0..=1, vec![], letters));
    store.commit(&batch(vec![dead_letter(0)])).await.unwrap();
    database.execute("delete from batches; update positions set next = 0").await;

    let message =
        stop(store.commit(&batch(vec![dead_letter(0), dead_letter(1)])).await, StopKind::Data);
    assert!(message.contains("file/1 partition 0 pass 1 from 0 to 1"), "{message}");
    assert_eq!(contents(&database).await, "0 rows, 0 batches, 1 dead letters, next 0");
}

/// What the database says of a dead letter may quote it.
#[tokio::test]
async fn dead_letters_that_cannot_be_written_are_not_quoted() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let (position, stream) = own::<Transactions>(&store, "file/1", LONG).await;
    let trigger = |text: &str| {
        format!(
            "create or replace function quote() returns trigger language plpgsql as $$
            begin
                raise exception {text};
            end $$;
            create or replace trigger quote before insert on dead_letters for each row execute function quote()"
        )
    };
    let batch = build::commit(&position, &stream, 0..=0, vec![], vec![dead_letter(0)]);
    let batch = Arc::new(batch);

    database.execute(&trigger("'no place for %', new.message")).await;
    let message = outage(store.commit(&batch).await);
    assert!(message.contains("dead letters") && !message.contains("too few"), "{message}");
    let check = "using errcode = '23514', message = 'against the rules: ' || new.message";
    database.execute(&trigger(check)).await;
    let message = stop(store.commit(&batch).await, StopKind::Data);
    assert!(message.contains("dead letters") && !message.contains("too few"), "{message}");

    database.execute("drop trigger quote on dead_letters").await;
    store.commit(&batch).await.unwrap();
    assert_eq!(contents(&database).await, "0 rows, 1 batches, 1 dead letters, next 1");
}

/// A frozen owner that holds the position's lock: its session ends with the lease, by its own settings.
#[tokio::test]
async fn a_frozen_owner_does_not_block_its_successor() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let ours = open(database.url_through(proxy.addr())).await.unwrap();
    let theirs = open(database.url()).await.unwrap();
    let (position, stream) = own::<Transactions>(&ours, "file/1", LEASE).await;
    let freezing = Freezing::begin(&database).await;
    let batch = Arc::new(build::plain_commit(&position, &stream, 0..=0));
    let commit = tokio::spawn(async move { ours.commit(&batch).await });
    freezing.until(1).await;
    proxy.set_mode(Mode::Blackhole).await;
    freezing.end().await;

    let began = Instant::now();
    let claimed = async || {
        matches!(theirs.claim(&stream, "b", LEASE, Begin::default()).await, Ok(Claim::Owned(_)))
    };
    eventually(LEASE * 3, claimed).await;
    assert!(began.elapsed() < LEASE * 3, "{:?}", began.elapsed());
    commit.abort();
}

/// A cancelled commit leaves no transaction open that would hold others up.
#[tokio::test]
async fn a_dropped_commit_ends_its_transaction() {
    let database = TestDatabase::create().await;
    let settings = Settings { lease: LONG, ..Settings::new(database.url()) };
    let store = Postgres::open(&settings, &tally_flows::all()).await.unwrap();
    let (position, stream) = own::<Transactions>(&store, "file/1", LONG).await;
    let freezing = Freezing::begin(&database).await;
    let batch = Arc::new(build::plain_commit(&position, &stream, 0..=0));
    tokio::select! {
        result = store.commit(&batch) => panic!("{result:?}"),
        () = freezing.until(1) => {}
    }
    freezing.end().await;

    let open = "select 1 from pg_stat_activity where datname = current_database() and state = 'idle in transaction'";
    eventually(Duration::from_secs(10), async || database.query_text(open).await.is_empty()).await;
    store.renew(&position.lease).await.unwrap();
}

/// Every kind of write, and versions that something newer supersedes: no function for single records is made for them.
#[tokio::test]
async fn good_rows_are_written_together() {
    let database = TestDatabase::create().await;
    let store = Postgres::open(&Settings::new(database.url()), &[Accounts::known()]).await.unwrap();
    let (position, stream) = own::<Accounts>(&store, "group/topic", LONG).await;
    let several = |at: i64| {
        let item = format!("item {at}");
        let details = [Value::Json("[1]".into()), Value::Null, Value::Boolean(true), Value::Null];
        let happening = happening_with("a", details);
        record(at, [account(at, "a"), price(&item, "09:00:00", at), happening, total("day", at)])
    };
    let rows = (0..100).map(several).collect();
    let batch = build::commit(&position, &stream, 0..=99, rows, vec![]);
    assert_eq!(store.commit(&Arc::new(batch)).await, Ok(written(100)));
    store.finish(&position.lease, 100, TOLERANCE).await.unwrap();
    let claim = store.claim(&stream, "a", LONG, AGAIN).await.unwrap();
    let Claim::Owned(position) = claim else { panic!("{claim:?}") };
    let older =
        |at: i64| record(at, [account(99, "b"), no_price(&format!("item {at}"), "08:00:00")]);
    let mut rows: Vec<_> = (0..99).map(older).collect();
    rows.push(record(200, [account(0, "c")]));
    let batch = build::commit(&position, &stream, 0..=200, rows, vec![]);
    let committed = store.commit(&Arc::new(batch)).await.unwrap();
    assert_eq!((committed.written, committed.superseded), (1, 99));

    let functions = "select count(*) from pg_proc where proname like 'tally_write_%'";
    assert_eq!(database.query_text(functions).await[0][0].as_deref(), Some("0"));
    let refused = record(201, [happening_with("", [const { Value::Null }; 4])]);
    let batch = build::commit(&position, &stream, 201..=201, vec![refused], vec![]);
    assert_eq!(store.commit(&Arc::new(batch)).await.unwrap().refused.len(), 1);
    assert_eq!(
        database.query_text(functions).await[0][0].as_deref(),
        Some("1"),
        "for those that are refused"
    );
}
