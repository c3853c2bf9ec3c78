//! What an audit is shown.

use std::slice;
use std::sync::Arc;

use tally_adapter_postgres::{Postgres, PostgresLedgerReader, Settings};
use tally_domain::{
    Column, Flow, Incoming, Reason, Record, Stage, Table, TableColumn, TableKind, Type,
};
use tally_harness::postgres::TestDatabase;
use tally_ports::audit::{Counter, Fact};
use tally_ports::{Audit, Auditor, KnownFlow, Migrations};

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
struct Counters(Vec<Vec<Option<String>>>);

impl Auditor for Counters {
    fn see(&mut self, fact: Fact) {
        if let Fact::Counter(Counter { values, .. }) = fact {
            self.0.push(values);
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
    let Counters(rows) = reader.show(Counters::default()).await.unwrap();
    let mut expected = vec![Some("0".to_owned()); COUNTERS + 2];
    expected[0] = Some("2024-01-15 08:30:00.5".to_owned());
    expected[1] = Some("2024-01-15 08:30:00+00".to_owned());
    assert_eq!(rows, [expected]);
}
