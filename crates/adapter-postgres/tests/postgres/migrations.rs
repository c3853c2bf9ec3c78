//! Versions of the tables.

use crate::support::{open, setting};
use futures_util::future::join_all;
use tally_adapter_postgres::{Postgres, PostgresLedgerReader, Settings};
use tally_domain::transactions::Transactions;
use tally_harness::postgres::TestDatabase;
use tally_ports::{Begin, Claim, Fault, KnownFlow, Positions};
use tally_testkit::accounts::Accounts;
use tally_testkit::build::{LONG, stream};
use tally_testkit::visits::Visits;

/// All migrations of the ledger and of the flows.
const ALL: [&str; 17] = [
    "companies 1",
    "tally 1",
    "tally 2",
    "tally 3",
    "tally 4",
    "tally 5",
    "tally 6",
    "tally 7",
    "tally 8",
    "tally 9",
    "tally 10",
    "tally 11",
    "transactions 1",
    "transactions 2",
    "transactions 3",
    "transactions 4",
    "user-logins 1",
];

const VERSIONS: &str = "select name || ' ' || version from tally_migrations order by name, version";

async fn versions(database: &TestDatabase) -> Vec<String> {
    database.query_text(VERSIONS).await.into_iter().flatten().flatten().collect()
}

async fn open_without_migrating(database: &TestDatabase) -> Result<Postgres, Fault> {
    let settings = Settings { migrate: false, ..Settings::new(database.url()) };
    Postgres::open(&settings, &tally_flows::all()).await
}

#[tokio::test]
async fn eight_processes_at_once_migrate_once() {
    let database = TestDatabase::create().await;
    for result in join_all((0..8).map(|_| open(database.url()))).await {
        result.unwrap();
    }
    assert_eq!(versions(&database).await, ALL);
}

#[tokio::test]
async fn a_newer_database_is_not_touched() {
    let database = TestDatabase::create().await;
    open(database.url()).await.unwrap();
    database
        .execute("insert into tally_migrations (name, version) values ('transactions', 5)")
        .await;
    let message = setting(open(database.url()).await);
    assert!(
        message.contains("newer than this program: transactions has version 5 there and 4 here"),
        "{message}"
    );

    // Tables of a flow that this program does not know are ignored.
    database.execute("update tally_migrations set name = 'invoices' where name = 'transactions' and version = 5").await;
    open(database.url()).await.unwrap();
}

#[tokio::test]
async fn without_migrating_pending_ones_are_named_and_nothing_is_created() {
    let database = TestDatabase::create().await;
    let message = setting(open_without_migrating(&database).await);
    assert!(
        message.contains(&ALL[1..13].join(", ")) && message.contains("--no-migrate"),
        "{message}"
    );
    let tables = "select relname from pg_class where relnamespace = 'public'::regnamespace";
    assert!(database.query_text(tables).await.is_empty());

    Postgres::open(&Settings::new(database.url()), &[]).await.unwrap();
    let message = setting(open_without_migrating(&database).await);
    assert!(message.contains("transactions 1") && !message.contains("tally"), "{message}");
    open(database.url()).await.unwrap();
    open_without_migrating(&database).await.unwrap();
}

#[tokio::test]
async fn a_migration_that_fails_is_named_with_its_state() {
    let database = TestDatabase::create().await;
    database.execute("create type transactions as enum ('of somebody else')").await;
    let message = setting(open(database.url()).await);
    assert!(message.contains("migration transactions 1") && message.contains("42710"), "{message}");
    assert_eq!(versions(&database).await, ALL[1..12]);
}

/// Tables without their version would be in the way of the next attempt.
#[tokio::test]
async fn tables_and_their_version_come_together() {
    let database = TestDatabase::create().await;
    Postgres::open(&Settings::new(database.url()), &[]).await.unwrap();
    database
        .execute("alter table tally_migrations add constraint not_yet check (name = 'tally')")
        .await;
    open(database.url()).await.unwrap_err();
    let tables = "select to_regclass('transactions')";
    assert_eq!(database.query_text(tables).await, [[None]]);

    database.execute("alter table tally_migrations drop constraint not_yet").await;
    open(database.url()).await.unwrap();
    assert_eq!(versions(&database).await, ALL);
}

/// As a version before left it: what it finished stays finished, and nothing of it is rejected.
#[tokio::test]
async fn passes_of_an_earlier_version_are_kept() {
    let database = TestDatabase::create().await;
    open(database.url()).await.unwrap();
    database
        .execute(
            "alter table positions drop column rejected_at; alter table positions drop column log; \
             alter table workers drop column seen_at; alter table batches drop column passed; \
             alter table batches drop column detail; drop table counted; alter table dead_letters drop column record_timestamp; \
             alter table dead_letters drop column outdated_by; drop index dead_letters_open_streams, dead_letters_open_keys; \
             drop function tally_refusal; drop table outbox; drop table files; alter table positions drop column outbox_next; \
             delete from tally_migrations where name = 'tally' and version > 2; \
             insert into positions (flow, stream, partition, pass, label, next, epoch, ended_at, updated_at) \
             values ('transactions', 'file/1', 0, 1, '1.csv', 20, 1, now(), now())",
        )
        .await;
    let store = open(database.url()).await.unwrap();
    let claim = store.claim(&stream::<Transactions>("file/1"), "a", LONG, Begin::default()).await;
    let Ok(Claim::Finished(finished)) = claim else { panic!("{claim:?}") };
    assert!(!finished.is_rejected && finished.read == 0, "{finished:?}");
}

/// The function that writes single records belongs to the session.
#[tokio::test]
async fn whoever_cannot_create_temporary_functions_is_told() {
    let database = TestDatabase::create().await;
    open(database.url()).await.unwrap();
    let (name, role) = (database.name(), format!("{}_role", database.name()));
    let secure = format!(
        "create role {role} login password 'right'; \
         grant select, insert, update, delete on all tables in schema public to {role}; \
         revoke temporary on database {name} from public"
    );
    database.execute(&secure).await;
    let message = setting(open(database.url_as(&role, "right")).await);
    assert!(message.contains("grant temporary on the database"), "{message}");
    database.execute(&format!("grant temporary on database {name} to {role}")).await;
    open(database.url_as(&role, "right")).await.unwrap();
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

/// Each table with a column that is not as described, and one that nobody minds.
#[tokio::test]
async fn tables_that_are_not_as_described_are_refused() {
    let database = TestDatabase::create().await;
    let of_tests = [Visits::known(), Accounts::known()];
    let flows: Vec<KnownFlow> = tally_flows::all().into_iter().chain(of_tests).collect();
    let settings = Settings::new(database.url());
    Postgres::open(&settings, &flows).await.unwrap();
    database.execute("alter table accounts add note text, add kind text not null default ''").await;
    Postgres::open(&settings, &flows).await.unwrap();
    for (change, undo, words) in [
        (
            "rename at to when_",
            "rename when_ to at",
            "visits is not as the flow visits describes it: it has no column at",
        ),
        ("alter who type varchar(10)", "alter who type text", ""),
        (
            "alter at type timestamptz",
            "alter at type timestamp",
            "its column at is of the type timestamp with time zone",
        ),
        ("alter at drop not null", "alter at set not null", "its column at takes null"),
        ("add more text not null", "drop more", "its column more needs a value"),
        ("rename to visited", "", "it does not exist"),
    ] {
        database.execute(&format!("alter table visits {change}")).await;
        if words.is_empty() {
            Postgres::open(&settings, &flows).await.unwrap();
        } else {
            let message = setting(Postgres::open(&settings, &flows).await);
            assert!(message.contains(words), "{message}");
            let message = setting(PostgresLedgerReader::open(&database.url(), &flows).await);
            assert!(message.contains(words), "{message}");
        }
        let undo =
            if undo.is_empty() { String::new() } else { format!("alter table visits {undo}") };
        database.execute(&undo).await;
    }
}
