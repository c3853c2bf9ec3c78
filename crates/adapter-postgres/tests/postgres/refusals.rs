//! What of the database's errors is the fault of a row, and what is not.

use crate::support;

use std::sync::Arc;

use crate::support::{contents, open, outage, own, setting};
use tally_adapter_postgres::Postgres;
use tally_domain::transactions::Transactions;
use tally_harness::postgres::TestDatabase;
use tally_ports::{
    Commit, Committed, DeadLetterIdentity, Refused, Replay, ReplayAttempt, Replayed, Sink,
};
use tally_testkit::build::{self, LONG, row};

/// A trigger that runs `body` before each row is written, or, `deferred`, before COMMIT.
fn trigger(body: &str, deferred: bool) -> String {
    let (kind, when) = if deferred {
        (
            "constraint trigger",
            "after insert or update on transactions deferrable initially deferred",
        )
    } else {
        ("trigger", "before insert or update on transactions")
    };
    format!(
        "create or replace function planted() returns trigger language plpgsql as \
         $$ begin {body} return new; end $$; \
         create {kind} planted {when} for each row execute function planted()"
    )
}

/// Of ten rows the one at position 3 is refused with this code, by the constraint of that name as a message shows it; its
/// neighbours are written. Afterwards the same becomes of its replay.
async fn one_is_refused(database: &TestDatabase, store: &Postgres, code: &str, name: Option<&str>) {
    let batch = ten(store).await;
    let committed = store.commit(&batch).await;
    let refused = vec![Refused { position: 3, code: code.to_owned() }];
    assert_eq!(committed, Ok(Committed { written: 9, refused, ..Committed::default() }), "{code}");
    assert_eq!(contents(database).await, "9 rows, 1 batches, 1 dead letters, next 10");
    let mut message = format!("the database refused the row: {code}");
    if let Some(name) = name {
        message = format!("{message}, constraint {name}");
    }
    let letter = "select stage, code, message from dead_letters where position = 3";
    let expected = ["write", code, &*message].map(|text| Some(text.to_owned()));
    assert_eq!(database.query_text(letter).await, [expected]);

    let identity = DeadLetterIdentity {
        flow: batch.stream.flow.clone(),
        stream: batch.stream.name.clone(),
        partition: 0,
        pass: 1,
        position: 3,
        attempt: 1,
    };
    let flow = Arc::clone(&batch.flow);
    let attempt = Arc::new(ReplayAttempt {
        flow,
        identity,
        result: tally_ports::Attempted::Valid(row(3, 3, "-12.34")),
        kept: None,
        topics: tally_ports::Topics::default(),
    });
    match store.replay(&attempt, None).await {
        Ok(Replayed::FailedAgain { reason, .. }) => assert_eq!(reason.message, message),
        other => panic!("{code}: {other:?}"),
    }
}

async fn ten(store: &Postgres) -> Arc<Commit> {
    support::ten_rows(store).await
}

/// With nothing else in the way than what `sql` plants.
async fn refused(sql: &str, code: &str, name: Option<&str>) {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    database.execute(sql).await;
    one_is_refused(&database, &store, code, name).await;
}

#[tokio::test]
async fn what_a_trigger_raises_plainly_is_the_rows_fault() {
    let raise = "if new.position = 3 then raise exception 'not %', new.description; end if;";
    refused(&trigger(raise, false), "P0001", None).await;
}

#[tokio::test]
async fn a_deferred_trigger_is_heard_before_commit() {
    let raise = "if new.position = 3 then raise exception 'not %', new.description; end if;";
    refused(&trigger(raise, true), "P0001", None).await;
}

#[tokio::test]
async fn a_deferred_foreign_key_is_checked_before_commit() {
    let key = "create table known (position bigint primary key); \
        insert into known select n from generate_series(0, 9) n where n <> 3; \
        alter table transactions add constraint is_known foreign key (position) references known \
        deferrable initially deferred";
    refused(key, "23503", Some("is_known")).await;
}

/// Rows that for a moment, within one statement, break a deferred constraint together do not break it.
#[tokio::test]
async fn a_deferred_constraint_holds_at_the_end_of_a_statement() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let unique = "alter table transactions add constraint one_amount unique (amount) deferrable initially deferred";
    database.execute(unique).await;
    let (position, stream) = own::<Transactions>(&store, "file/1", LONG).await;
    let write = async |first, amounts: [&str; 2]| {
        let rows = vec![row(first, 1, amounts[0]), row(first + 1, 2, amounts[1])];
        let batch = build::commit(&position, &stream, first..=first + 1, rows, vec![]);
        store.commit(&Arc::new(batch)).await.unwrap()
    };
    assert_eq!(write(0, ["1", "2"]).await.written, 2);
    assert_eq!(write(2, ["2", "1"]).await.written, 2, "they change places");
    let refused = vec![Refused { position: 5, code: "23505".to_owned() }];
    assert_eq!(
        write(4, ["5", "5"]).await,
        Committed { written: 1, refused, ..Committed::default() }
    );
}

#[tokio::test]
async fn integrity_constraints_are_named() {
    let check = "alter table transactions add constraint \"odd\n name\" check (position <> 3)";
    refused(check, "23514", Some("odd\\n name")).await;
    let null = "if new.position = 3 then new.merchant := null; end if;";
    let not_null = "alter table transactions alter merchant set not null; ".to_owned();
    refused(&(not_null + &trigger(null, false)), "23502", Some("transactions.merchant")).await;
}

/// What a trigger calls a constraint may be the row's own text.
#[tokio::test]
async fn names_that_no_constraint_has_are_not_told() {
    for (code, option) in [
        ("23514", "constraint = new.description"),
        ("23502", "table = 'transactions', column = new.description"),
        ("23502", "table = new.description, column = 'amount'"),
        ("22000", "constraint = new.description"),
    ] {
        let raise = format!(
            "if new.position = 3 then raise exception using errcode = '{code}', {option}; end if;"
        );
        refused(&trigger(&raise, false), code, None).await;
    }
}

#[tokio::test]
async fn data_exceptions_are_the_rows_fault() {
    let divide = "new.amount := new.amount / (new.position - 3);";
    refused(&trigger(divide, false), "22012", None).await;
}

/// An operator puts a view with a check option in the table's place.
#[tokio::test]
async fn a_views_check_option_is_the_rows_fault() {
    let view = "alter table transactions rename to stored; \
        create view transactions as select * from stored where position <> 3 with check option";
    refused(view, "44000", None).await;
}

#[tokio::test]
async fn an_index_row_that_is_too_large_is_the_rows_fault() {
    let index = "create index by_description on transactions (description); ".to_owned();
    let long = "if new.position = 3 then \
        new.description := (select string_agg(md5(n::text), '') from generate_series(1, 150) n); end if;";
    refused(&(index + &trigger(long, false)), "54000", Some("by_description")).await;
}

/// Row-level security and a missing privilege have the same code: which it is, the privileges tell, those on the table and
/// those on each of its columns.
#[tokio::test]
async fn row_level_security_is_the_rows_fault_while_the_privilege_is_held() {
    let database = TestDatabase::create().await;
    open(database.url()).await.unwrap();
    let role = format!("{}_role", database.name());
    let columns = "id, description, amount, timestamp, merchant, operation_type, side, category, origin, position";
    let secure = format!(
        "create role {role} login password 'right'; \
         grant select, insert, update, delete on all tables in schema public to {role}; \
         alter table transactions enable row level security; \
         create policy planted on transactions using (true) with check (position <> 3)"
    );
    database.execute(&secure).await;
    let url = database.url_as(&role, "right");
    one_is_refused(&database, &open(url.clone()).await.unwrap(), "42501", None).await;

    let empty = "truncate transactions, batches, dead_letters, positions";
    for privilege in ["insert", "update", "select"] {
        let revoke = format!("{empty}; revoke {privilege} on transactions from {role}");
        database.execute(&revoke).await;
        let store = open(url.clone()).await.unwrap();
        let message = setting(store.commit(&ten(&store).await).await);
        assert!(message.contains("42501"), "without {privilege}: {message}");
        assert_eq!(contents(&database).await, "0 rows, 0 batches, 0 dead letters, next 0");
        let partly = format!("grant {privilege} ({}) on transactions to {role}", "id, amount");
        database.execute(&partly).await;
        let message = setting(store.commit(&ten(&store).await).await);
        assert!(message.contains("42501"), "with {privilege} on two columns: {message}");

        let grant = format!("{empty}; grant {privilege} ({columns}) on transactions to {role}");
        database.execute(&grant).await;
        one_is_refused(&database, &open(url.clone()).await.unwrap(), "42501", None).await;
    }
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

/// Of a table that a trigger writes, for one: with the privileges on the flow's table and without a policy on it.
#[tokio::test]
async fn a_privilege_on_another_table_is_a_setting() {
    let database = TestDatabase::create().await;
    open(database.url()).await.unwrap();
    let role = format!("{}_role", database.name());
    let secure = format!(
        "create role {role} login password 'right'; \
         grant select, insert, update, delete on all tables in schema public to {role}; \
         create table notes (position bigint); {}",
        trigger("insert into notes values (new.position);", false)
    );
    database.execute(&secure).await;
    let store = open(database.url_as(&role, "right")).await.unwrap();
    let message = setting(store.commit(&ten(&store).await).await);
    assert!(message.contains("42501"), "{message}");
    assert_eq!(contents(&database).await, "0 rows, 0 batches, 0 dead letters, next 0");
    database.execute(&format!("grant insert on notes to {role}")).await;
    let store = open(database.url_as(&role, "right")).await.unwrap();
    assert_eq!(store.commit(&ten(&store).await).await.unwrap().written, 10);
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

/// Nothing of the batch is written, and no text of the database's is shown.
#[tokio::test]
async fn whatever_else_goes_wrong_is_no_rows_fault() {
    let database = TestDatabase::create().await;
    let store = open(database.url()).await.unwrap();
    let batch = ten(&store).await;
    let outages = [
        "08006", "25006", "40001", "40P01", "53100", "53200", "54001", "54023", "55P03", "57P03",
        "58030", "XX000", "P0002", "P0003", "44001", "AB123",
    ];
    let settings = ["0A000", "42P01", "42601", "3F000"];
    let plant = async |body: &str| {
        let sql = trigger(body, false);
        database.execute(&format!("drop trigger if exists planted on transactions; {sql}")).await;
    };
    for code in outages.iter().chain(&settings) {
        let raise = format!("raise exception 'not %', new.description using errcode = '{code}';");
        plant(&raise).await;
        let committed = store.commit(&batch).await;
        let message = if settings.contains(code) { setting(committed) } else { outage(committed) };
        assert!(message.ends_with(&format!("SQLSTATE {code}")), "{message}");
    }
    plant("assert new.position <> 3, new.description;").await;
    let message = outage(store.commit(&batch).await);
    assert!(message.ends_with("without a known SQLSTATE"), "{message}");
    assert_eq!(contents(&database).await, "0 rows, 0 batches, 0 dead letters, next 0");
    database.execute("drop trigger planted on transactions").await;
    assert_eq!(store.commit(&batch).await.unwrap().written, 10);
}
