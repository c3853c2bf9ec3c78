//! What goes wrong while the database is used.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::support::Database;
use tally_adapter_sqlite::diesel::connection::SimpleConnection;
use tally_adapter_sqlite::{Settings, Sqlite};
use tally_domain::transactions::Transactions;
use tally_ports::{
    Begin, Claim, Commit, Committed, Fault, Position, Positions, Refused, Sink, StopKind, Stream,
    Workers,
};
use tally_testkit::build::{self, LONG, dead_letter, plain_commit, stream, worker};
use tally_testkit::contract::{BATCHES, DEAD_LETTERS, POSITIONS, Store, TRANSACTIONS, WORKERS};
use tally_testkit::eventually;

async fn own(sqlite: &Sqlite, stream: &Stream) -> Position {
    match sqlite.claim(stream, "a", LONG, Begin::default()).await.unwrap() {
        Claim::Owned(position) => position,
        other => panic!("{other:?}"),
    }
}

async fn first_batch(sqlite: &Sqlite) -> Arc<Commit> {
    let stream = stream::<Transactions>("file/1");
    let position = own(sqlite, &stream).await;
    Arc::new(plain_commit(&position, &stream, 0..=9))
}

#[track_caller]
fn outage<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    match result {
        Err(Fault::Outage { message, .. }) => message,
        other => panic!("expected an outage, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_is_waited_for_and_then_an_outage() {
    let database = Database::new();
    let impatient = Settings { lease: Duration::from_millis(50), ..database.settings() };
    let sqlite = Sqlite::open(&impatient, &tally_flows::all()).unwrap();
    let batch = first_batch(&sqlite).await;

    let mut other = database.connection();
    other.batch_execute("begin immediate").unwrap();
    let message = outage(sqlite.commit(&batch).await);
    assert!(message.contains("database is locked") && message.contains("tally.db"), "{message}");
    outage(sqlite.renew(&batch.lease).await);
    other.batch_execute("rollback").unwrap();
    assert_eq!(sqlite.commit(&batch).await.unwrap().written, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_goes_on_without_its_caller() {
    let database = Database::new();
    let sqlite = database.open().await;
    let batch = first_batch(&sqlite).await;

    let mut other = database.connection();
    other.batch_execute("begin immediate").unwrap();
    let mut abandoned = Box::pin(sqlite.commit(&batch));
    poll_fn(|context| {
        assert!(abandoned.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(abandoned);
    drop(sqlite);
    other.batch_execute("rollback").unwrap();
    eventually(Duration::from_secs(20), || async { database.read(&BATCHES).await.len() == 1 })
        .await;
    assert_eq!(database.read(&TRANSACTIONS).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_refuses_rows_when_it_says_so() {
    let database = Database::new();
    let sqlite = database.open().await;
    database.execute(
        "create trigger t before insert on transactions when new.position = 3 \
         begin select raise(abort, 'constraint_trigger: not this one'); end",
    );
    let batch = first_batch(&sqlite).await;
    let refused = vec![Refused { position: 3, code: "constraint_trigger".into() }];
    assert_eq!(
        sqlite.commit(&batch).await,
        Ok(Committed { written: 9, superseded: 0, skipped: 0, refused })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_trigger_is_an_outage_and_its_text_is_withheld() {
    let database = Database::new();
    let sqlite = database.open().await;
    database.execute(
        "create trigger t before insert on transactions when new.position = 3 \
         begin select raise(abort, 'secret ' || new.description); end",
    );
    let batch = first_batch(&sqlite).await;
    let message = outage(sqlite.commit(&batch).await);
    assert!(!message.contains("secret") && !message.contains("BOULANGERIE"), "{message}");
    assert!(message.contains("constraint_trigger"), "it says what to do: {message}");
    database.execute("drop trigger t");
    assert_eq!(sqlite.commit(&batch).await.unwrap().written, 10);
}

/// A trigger may end the transaction in the middle; what comes after it must not be written for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_ended_in_the_middle_writes_nothing() {
    let database = Database::new();
    let sqlite = database.open().await;
    let trigger = |conflict: &str, text: &str| {
        database.execute(&format!(
            "drop trigger if exists t; create trigger t before insert on transactions when new.position = 3 \
             begin select raise({conflict}, '{text}'); end"
        ));
    };
    let batch = first_batch(&sqlite).await;
    for text in ["constraint_trigger", "anything"] {
        trigger("rollback", text);
        outage(sqlite.commit(&batch).await);
        for table in [&TRANSACTIONS, &DEAD_LETTERS, &BATCHES] {
            assert_eq!(database.read(table).await, [], "{} with {text}", table.name);
        }
        assert_eq!(database.read(&POSITIONS).await[0].number("next"), 0);
    }
    database.execute("drop trigger t");
    assert_eq!(sqlite.commit(&batch).await.unwrap().written, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_gone_stop_the_work() {
    let database = Database::new();
    let sqlite = database.open().await;
    let batch = first_batch(&sqlite).await;
    database.execute("alter table batches rename to entries");
    let Err(Fault::Stop(stop)) = sqlite.commit(&batch).await else { panic!("committed") };
    assert_eq!(stop.kind, StopKind::Setting);
    assert!(stop.message.contains("no such table: batches"), "{stop}");
    assert_eq!(database.read(&TRANSACTIONS).await, []);
}

/// The times in the ledger are the database's, in order, and say how long the batch took.
#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_says_when_a_batch_was_read_and_committed() {
    let database = Database::new();
    let sqlite = database.open().await;
    let mut batch = Arc::into_inner(first_batch(&sqlite).await).unwrap();
    batch.started = batch.started.checked_sub(Duration::from_millis(90_500)).unwrap();
    sqlite.commit(&Arc::new(batch)).await.unwrap();

    let age = |column: &str| {
        let sql = format!(
            "select cast(unixepoch('now', 'subsec') - unixepoch({column}, 'subsec') as text) as text from batches"
        );
        database.texts(&sql)[0].as_deref().unwrap().parse::<f64>().unwrap()
    };
    let (started, committed) = (age("started_at"), age("committed_at"));
    assert!((0.0..20.0).contains(&committed), "committed {committed} s ago");
    assert!(
        (90.4..110.0).contains(&started) && started > committed + 90.4,
        "started {started} s ago"
    );
}

/// Dead letters or an entry that nobody committed there: if they are there, the ledger does not add up.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_contradicts_a_batch_stops() {
    let database = Database::new();
    let sqlite = database.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sqlite, &stream).await;
    let batch = |letters: &[i64]| {
        let letters = letters.iter().map(|&position| dead_letter(position)).collect();
        Arc::new(build::commit(&position, &stream, 0..=1, vec![], letters))
    };
    sqlite.commit(&batch(&[0])).await.unwrap();

    for forgotten in ["batches", "dead_letters"] {
        database.execute(&format!("delete from {forgotten}; update positions set next = 0"));
        let before = (database.read(&BATCHES).await, database.read(&DEAD_LETTERS).await);
        let Err(Fault::Stop(stop)) = sqlite.commit(&batch(&[0, 1])).await else {
            panic!("committed without the {forgotten} of before")
        };
        assert_eq!(stop.kind, StopKind::Data);
        assert!(stop.message.contains("file/1.csv from 0 to 1"), "{stop}");
        assert_eq!((database.read(&BATCHES).await, database.read(&DEAD_LETTERS).await), before);
        assert_eq!(database.read(&POSITIONS).await[0].number("next"), 0);
        database.execute("delete from batches; delete from dead_letters");
        sqlite.commit(&batch(&[0])).await.unwrap();
    }
}

/// A day after its death a worker is forgotten, whatever stream it worked on.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_died_long_ago_are_forgotten() {
    let database = Database::new();
    let sqlite = database.open().await;
    for (id, name) in [("old", "group/topic"), ("older", "group/other"), ("dead", "group/third")] {
        sqlite.join_stream(&worker::<Transactions>(id, name), LONG).await.unwrap();
        database.execute("update workers set seen_until = strftime('%Y-%m-%d %H:%M:%f', 'now')");
    }
    database.execute(
        "update workers set seen_until = strftime('%Y-%m-%d %H:%M:%f', 'now', '-25 hours') where id <> 'dead'; \
         update workers set seen_until = strftime('%Y-%m-%d %H:%M:%f', 'now', '-23 hours') where id = 'dead'",
    );
    sqlite.join_stream(&worker::<Transactions>("new", "group/topic"), LONG).await.unwrap();
    let ids: Vec<_> =
        database.read(&WORKERS).await.iter().map(|row| row["id"].to_owned()).collect();
    assert_eq!(ids, ["dead", "new"]);
}
