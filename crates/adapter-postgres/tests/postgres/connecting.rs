//! How a connection comes about, or not, and what is said then.

use std::time::{Duration, Instant};

use crate::support::{contents, open, outage, own, setting, ten_rows};
use tally_adapter_postgres::{Postgres, PostgresLedgerReader, Settings};
use tally_domain::transactions::Transactions;
use tally_harness::postgres::TestDatabase;
use tally_harness::proxy::{Mode, Proxy, TransactionPooler};
use tally_ports::{Positions, Sink};
use tally_testkit::build::LONG;

/// What no message may show.
const PASSWORD: &str = "s3cr3t word";

#[tokio::test]
async fn a_wrong_password_user_or_database_is_a_wrong_setting() {
    let database = TestDatabase::create().await;
    let role = format!("{}_role", database.name());
    database.execute(&format!("create role {role} login password 'right'")).await;

    let wrong_password = setting(open(database.url_as(&role, PASSWORD)).await);
    assert!(
        wrong_password.contains("28P01") && !wrong_password.contains("s3cr3t"),
        "{wrong_password}"
    );
    let no_password =
        setting(open(format!("postgres://{role}@{}/{}", database.addr(), database.name())).await);
    assert!(no_password.contains("password missing"), "{no_password}");
    let unknown_user = setting(open(database.url_as("nobody_at_all", PASSWORD)).await);
    assert!(unknown_user.contains("28P01"), "{unknown_user}");
    let unknown_database =
        setting(open(database.url().replace(database.name(), "no_such_database")).await);
    assert!(unknown_database.contains("3D000"), "{unknown_database}");

    database.execute(&format!("drop role {role}")).await;
}

/// Its encoding is told before anything is made, and also to whoever only reads or may not migrate.
#[tokio::test]
async fn a_database_that_is_not_utf8_is_a_wrong_setting() {
    for encoding in ["LATIN1", "WIN1252", "SQL_ASCII"] {
        let database = TestDatabase::encoded(encoding).await;
        let settings = Settings { migrate: false, ..Settings::new(database.url()) };
        let refused = [
            setting(open(database.url()).await),
            setting(Postgres::open(&settings, &[]).await),
            setting(PostgresLedgerReader::open(&database.url(), &[]).await),
        ];
        let name = format!("{}/{}", database.addr(), database.name());
        for message in refused {
            let found = format!("the encoding of the database {name} is {encoding}, ");
            assert!(message.contains(&found) && message.contains("encoding 'UTF8'"), "{message}");
        }
        let tables = "select 1 from pg_tables where schemaname = 'public'";
        assert!(database.query_text(tables).await.is_empty());
    }
    open(TestDatabase::encoded("UTF8").await.url()).await.unwrap();
}

#[tokio::test]
async fn a_missing_privilege_is_a_wrong_setting() {
    let database = TestDatabase::create().await;
    let role = format!("{}_role", database.name());
    database.execute(&format!("create role {role} login password 'right'")).await;
    let url = database.url_as(&role, "right");

    let no_schema = setting(open(url.clone()).await);
    assert!(no_schema.contains("42501"), "{no_schema}");

    let owner = open(database.url()).await.unwrap();
    drop(owner);
    let unreadable = setting(open(url.clone()).await);
    assert!(
        unreadable.contains("tally_migrations") && unreadable.contains("42501"),
        "{unreadable}"
    );
    database
        .execute(&format!(
            "grant select on tally_migrations, positions, batches, dead_letters to {role}"
        ))
        .await;
    let read_only = setting(open(url.clone()).await);
    assert!(read_only.contains("insert on batches, insert on dead_letters"), "{read_only}");
    assert!(read_only.contains("delete on workers, insert on acts"), "{read_only}");

    // The flow's own tables: known with the first batch.
    database.execute(&format!("grant insert on positions, batches, dead_letters to {role}")).await;
    database.execute(&format!("grant update on positions, dead_letters to {role}")).await;
    let workers = format!("grant select, insert, update, delete on workers to {role}");
    database.execute(&format!("{workers}; grant insert on acts to {role}")).await;
    let store = open(url).await.unwrap();
    let batch = ten_rows(&store).await;
    let no_table = setting(store.commit(&batch).await);
    assert!(no_table.contains("42501"), "{no_table}");
    database.execute(&format!("grant select, insert, update on transactions to {role}")).await;
    store.commit(&batch).await.unwrap();

    drop(store);
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_role_with_too_few_connections_is_a_wrong_setting() {
    let database = TestDatabase::create().await;
    let role = format!("{}_role", database.name());
    let sql = format!("create role {role} login password 'right' connection limit 13");
    database.execute(&sql).await;
    let message = setting(open(database.url_as(&role, "right")).await);
    let needed = format!(
        "the role {role} may have 13 connections, and a process needs up to 14: alter role {role} connection limit 14"
    );
    assert!(message.contains(&needed), "{message}");
    let tables = "select 1 from pg_tables where schemaname = 'public'";
    assert!(database.query_text(tables).await.is_empty());

    database.execute(&format!("alter role {role} connection limit 14")).await;
    database.execute(&format!("grant all on schema public to {role}")).await;
    open(database.url_as(&role, "right")).await.unwrap();
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_a_wrong_setting() {
    let database = TestDatabase::create().await;
    let pooler = TransactionPooler::start(database.addr()).await;
    let message = setting(open(database.url_through(pooler.addr())).await);
    let expected = format!(
        "postgres at {}/{}: the connections go through a pooler in transaction mode, which gives each transaction another \
         session: connect to the server itself, or set the pooler to session mode (pool_mode = session in PgBouncer)",
        pooler.addr(),
        database.name()
    );
    assert_eq!(message, expected);
    let tables = "select 1 from pg_tables where schemaname = 'public'";
    assert!(database.query_text(tables).await.is_empty());
}

/// A pooler that changes its mode later: the statement that was prepared is gone.
#[tokio::test]
async fn a_prepared_statement_that_is_gone_is_a_wrong_setting() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let (position, stream) = own::<Transactions>(&store, "file/1", LONG).await;
    let batch =
        |positions| tally_testkit::build::plain_commit(&position, &stream, positions).into();
    store.commit(&batch(0..=9)).await.unwrap();
    let function = "create function tally_forget() returns trigger language plpgsql as \
                    $$ begin deallocate all; return new; end $$";
    database.execute(function).await;
    database
        .execute("create trigger forget after insert on batches execute function tally_forget()")
        .await;
    store.commit(&batch(10..=19)).await.unwrap();
    let message = setting(store.commit(&batch(20..=29)).await);
    assert!(message.contains("a pooler in transaction mode"), "{message}");
}

#[tokio::test]
async fn tables_that_somebody_else_made_are_left_alone() {
    let database = TestDatabase::create().await;
    database.execute("create table transactions (id integer primary key)").await;
    database.execute("create table workers (name text)").await;
    let message = setting(open(database.url()).await);
    let found = "has workers, transactions already, which Tally did not make: take a schema of its own, made by `create schema \
                 tally` and named at the end of the URL: ?options=-csearch_path%3Dtally";
    assert!(message.contains(found), "{message}");
    let tables = "select tablename from pg_tables where schemaname = 'public' order by 1";
    let tables: Vec<Option<String>> = database.query_text(tables).await.concat();
    assert_eq!(tables, ["transactions", "workers"].map(|name| Some(name.to_owned())));

    database.execute("create schema tally").await;
    open(format!("{}?options=-csearch_path%3Dtally", database.url())).await.unwrap();
}

#[tokio::test]
async fn an_option_of_the_url_that_is_not_known_is_named() {
    let message = setting(
        open("postgres://me:secret@127.0.0.1:1/x?sslmode=require&poolmode=session".to_owned())
            .await,
    );
    assert!(message.contains("the database URL has the option poolmode, which is not known; known are application_name, "), "{message}");
    // It may be a part of the password.
    let message = setting(open("postgres://me@127.0.0.1:1/x?password=p&ss=word".to_owned()).await);
    assert!(!message.contains("ss="), "{message}");
}

#[tokio::test]
async fn a_server_that_is_away_is_an_outage_until_it_is_back() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let url = database.url_through(proxy.addr());

    for mode in [Mode::Refuse, Mode::Close] {
        proxy.set_mode(mode).await;
        let message = outage(open(url.clone()).await);
        assert!(
            message.contains(&proxy.addr().to_string()) && !message.contains("postgres:postgres"),
            "{message}"
        );
    }
    proxy.set_mode(Mode::Pass).await;
    let store = open(url).await.unwrap();
    let batch = ten_rows(&store).await;

    proxy.set_mode(Mode::Refuse).await;
    outage(store.commit(&batch).await);
    outage(store.commit(&batch).await);
    outage(store.renew(&batch.lease).await);
    proxy.set_mode(Mode::Pass).await;
    store.renew(&batch.lease).await.unwrap();
    store.commit(&batch).await.unwrap();
    assert_eq!(contents(&database).await, "10 rows, 1 batches, 0 dead letters, next 10");
}

/// A connection that was cut while nobody used it is not handed out again.
#[tokio::test]
async fn a_connection_that_broke_while_idle_is_replaced() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let (position, stream) = own::<Transactions>(&store, "file/1", LONG).await;
    store
        .commit(&tally_testkit::build::plain_commit(&position, &stream, 0..=9).into())
        .await
        .unwrap();

    let kill = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and application_name = 'tally'";
    assert_eq!(database.query_text(kill).await.len(), 2);
    // Whether the driver has read of it yet: both outcomes are right, but a second failure is not.
    let batch = tally_testkit::build::plain_commit(&position, &stream, 10..=19).into();
    if store.commit(&batch).await.is_err() {
        store.commit(&batch).await.unwrap();
    }
}

#[tokio::test]
async fn a_black_hole_is_found_within_bounded_time() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start_postgres(database.addr()).await;
    let url = format!("{}&connect_timeout=1", database.url_through(proxy.addr()));
    let store = open(url.clone()).await.unwrap();
    let batch = ten_rows(&store).await;

    proxy.set_mode(Mode::Blackhole).await;
    let began = Instant::now();
    let (opened, committed, renewed) =
        tokio::join!(open(url), store.commit(&batch), store.renew(&batch.lease));
    assert!(outage(opened).contains("within 1s"));
    assert!(outage(committed).contains("within"));
    assert!(outage(renewed).contains("within"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    proxy.set_mode(Mode::Pass).await;
    store.commit(&batch).await.unwrap();
    assert_eq!(contents(&database).await, "10 rows, 1 batches, 0 dead letters, next 10");
}

#[tokio::test]
async fn connections_are_encrypted_as_asked() {
    let database = TestDatabase::create().await;
    let with_mode = |mode: &str| format!("{}?sslmode={mode}", database.url());
    for (url, encrypted) in [
        (with_mode("disable"), "f"),
        (database.url(), "t"),
        (with_mode("prefer"), "t"),
        (with_mode("require"), "t"),
        (database.tls_url(), "t"),
    ] {
        let store = open(url.clone()).await.unwrap();
        own::<Transactions>(&store, "file/1", LONG).await;
        let sessions = "select distinct ssl from pg_stat_ssl join pg_stat_activity using (pid)
            where datname = current_database() and application_name = 'tally'";
        assert_eq!(database.query_text(sessions).await, [[Some(encrypted.to_owned())]], "{url}");
        drop(store);
        let all_gone = async || database.query_text(sessions).await.is_empty();
        tally_harness::eventually(Duration::from_secs(10), all_gone).await;
    }
}

#[tokio::test]
async fn verify_full_refuses_a_server_it_cannot_trust() {
    let database = TestDatabase::create().await;
    let right = database.tls_url();
    let (address, _) = right.split_once("&sslrootcert=").unwrap();

    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres/support/other-ca.crt");
    let other_authority = setting(open(format!("{address}&sslrootcert={other}")).await);
    assert!(other_authority.contains("UnknownIssuer"), "{other_authority}");
    let system_roots = setting(open(address).await);
    assert!(
        system_roots.contains("UnknownIssuer") || system_roots.contains("no trusted"),
        "{system_roots}"
    );
    let other_host = right.replace("@localhost", "@db.example") + "&hostaddr=127.0.0.1";
    let other_host = setting(open(other_host).await);
    assert!(other_host.contains("not valid for name"), "{other_host}");

    let proxy = Proxy::start_postgres(database.addr()).await;
    let no_tls = database.url_through(proxy.addr()).replace("sslmode=disable", "sslmode=require");
    let no_tls = setting(open(no_tls).await);
    assert!(no_tls.contains("does not support TLS"), "{no_tls}");
}

/// Looked at from inside, by a trigger, for commits and for heartbeats.
#[tokio::test]
async fn sessions_limit_what_they_may_hold_up() {
    let database = TestDatabase::create().await;
    let settings = Settings { lease: Duration::from_secs(7), ..Settings::new(database.url()) };
    let store = Postgres::open(&settings, &tally_flows::all()).await.unwrap();
    let batch = ten_rows(&store).await;
    let trigger = "
        create table seen (setting text);
        create function look() returns trigger language plpgsql as $$
        begin
            insert into seen select concat_ws(' ',
                current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout'),
                current_setting('statement_timeout'), current_setting('tcp_user_timeout'),
                current_setting('tcp_keepalives_idle'), current_setting('application_name'),
                current_setting('timezone'), current_setting('transaction_isolation'));
            return null;
        end $$;
        create trigger look after update on positions execute function look()";
    database.execute(trigger).await;

    store.commit(&batch).await.unwrap();
    store.renew(&batch.lease).await.unwrap();
    let seen = database.query_text("select setting from seen").await.concat();
    assert_eq!(seen[0].as_deref(), Some("7s 7s 42s 7000 7 tally UTC read committed"));
    assert_eq!(seen[1].as_deref(), Some("7s 7s 14s 7000 7 tally UTC read committed"));
}
