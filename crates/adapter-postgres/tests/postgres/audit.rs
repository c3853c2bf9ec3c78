//! What an audit is shown.

use std::slice;
use std::sync::Arc;

use tally_adapter_postgres::{Postgres, PostgresLedgerReader, Settings};
use tally_domain::{
    Column, Flow, Incoming, Reason, Record, Stage, Table, TableColumn, TableKind, Type,
};
use tally_harness::postgres::TestDatabase;
use tally_ports::audit::{Counter, Fact, Rows};
use tally_ports::{Audit, Auditor, KnownFlow, Migrations, Sink};
use tally_testkit::accounts::{Accounts, account, price, record};
use tally_testkit::build::{self, LONG};

use crate::support::own;

/// A flow with more counters than a function takes arguments, by times.
#[derive(Debug)]
struct Wide {
    table: Table,
}

const COUNTERS: usize = 120;

const WIDE: &str = "
    do $$ begin
        execute (
            select 'create table wide (at timestamp, since timestamptz, '
                || string_agg(format('c%s bigint not null', n), ', ') || ', primary key (at, since))'
            from generate_series(1, 120) n
        );
    end $$";

impl Wide {
    fn known() -> KnownFlow {
        let mut columns =
            vec![TableColumn::new("at", Type::Timestamp), TableColumn::new("since", Type::Instant)];
        columns.extend((1..=COUNTERS).map(|n| TableColumn {
            name: format!("c{n}").into(),
            ..TableColumn::new("", Type::Integer)
        }));
        let kind = TableKind::Counters { key: vec![0, 1] };
        KnownFlow {
            flow: Arc::new(Self { table: Table { name: "wide".into(), columns, kind } }),
            postgres: Migrations { name: "wide", scripts: &[WIDE] },
            sqlite: Migrations { name: "wide", scripts: &[] },
            avro: None,
            generator: None,
        }
    }
}

impl Flow for Wide {
    fn name(&self) -> &'static str {
        "wide"
    }

    fn columns(&self) -> &[Column] {
        &[]
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn read(&self, _: Incoming<'_>) -> Result<Record, Reason> {
        Err(Reason::new(Stage::Validate, "none", "no source has these"))
    }
}

#[derive(Default)]
struct Seen {
    counters: Vec<Vec<Option<String>>>,
    /// Of each table and origin how many rows there are, and how many records wrote them.
    rows: Vec<(String, i64, i64)>,
}

impl Auditor for Seen {
    fn see(&mut self, fact: Fact) {
        match fact {
            Fact::Counter(Counter { values, .. }) => self.counters.push(values),
            Fact::Rows(Rows { table, count, records, .. }) => {
                self.rows.push((table, count, records));
            }
            _ => {}
        }
    }
}

/// However many columns there are, and whatever the database's own style of dates.
#[tokio::test]
async fn counters_are_shown_as_texts_of_one_form() {
    let database = TestDatabase::create().await;
    let flows = [Wide::known()];
    Postgres::open(&Settings::new(database.url()), &flows).await.unwrap();
    let zeros = vec!["0"; COUNTERS].join(", ");
    let sql = format!(
        "insert into wide values ('2024-01-15 08:30:00.5', '2024-01-15 08:30:00Z', {zeros});
        do $$ begin
            execute format('alter database %I set datestyle = german', current_database());
            execute format('alter database %I set timezone = ''Asia/Kolkata''', current_database());
        end $$"
    );
    database.execute(&sql).await;
    let reader = PostgresLedgerReader::open(&database.url(), &flows).await.unwrap();
    let Seen { counters, .. } = reader.show(Seen::default()).await.unwrap();
    let mut expected = vec![Some("0".to_owned()); COUNTERS + 2];
    expected[0] = Some("2024-01-15 08:30:00.5".to_owned());
    expected[1] = Some("2024-01-15 08:30:00+00".to_owned());
    assert_eq!(counters, [expected]);
}

#[tokio::test]
async fn a_record_that_writes_several_rows_is_one_of_those_that_wrote_them() {
    let database = TestDatabase::create().await;
    let flows = [Accounts::known()];
    let store = Postgres::open(&Settings::new(database.url()), &flows).await.unwrap();
    for (name, offset) in [("file/1", 0), ("file/2", 10)] {
        let (position, stream) = own::<Accounts>(&store, name, LONG).await;
        let many = record(0, (1..=3).map(|id| account(offset + id, "ann")));
        let one = record(1, [account(offset + 4, "bob"), price(name, "10:00:00", 1)]);
        let commit = build::commit(&position, &stream, 0..=1, vec![many, one], vec![]);
        store.commit(&Arc::new(commit)).await.unwrap();
    }
    let reader = PostgresLedgerReader::open(&database.url(), &flows).await.unwrap();
    let Seen { rows, .. } = reader.show(Seen::default()).await.unwrap();
    let expected = [("accounts", 4, 2), ("accounts", 4, 2), ("prices", 1, 1), ("prices", 1, 1)];
    assert_eq!(rows, expected.map(|(table, count, records)| (table.to_owned(), count, records)));
}
