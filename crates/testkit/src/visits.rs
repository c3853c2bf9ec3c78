//! A flow that only tests know: visits of pages, each a row of its own, without a model. The proof that a flow can be added
//! without editing an adapter.

use std::slice;
use std::sync::Arc;

use tally_domain::{
    Action, Column, Field, Flow, Incoming, Kind, Raw, Reason, Record, Stage, Table, TableColumn,
    TableKind, Type, Value, Write, timestamp,
};
use tally_ports::{KnownFlow, Migrations, Row};

/// The flow of visits.
#[derive(Clone, Debug)]
pub struct Visits {
    table: Table,
}

const COLUMNS: &[Column] = &[
    Column::new("who", Kind::Text),
    Column::new("page", Kind::Text),
    Column::new("at", Kind::Timestamp),
];

impl Default for Visits {
    fn default() -> Self {
        let text = Type::Text { limit: None };
        let columns = vec![
            TableColumn::new("who", text),
            TableColumn::new("page", text),
            TableColumn::new("at", Type::Timestamp),
        ];
        Self { table: Table { name: Self::NAME.into(), columns, kind: TableKind::Appended } }
    }
}

impl Visits {
    /// The flow's name.
    pub const NAME: &'static str = "visits";

    /// The flow with its table; that refuses an empty page.
    pub fn known() -> KnownFlow {
        KnownFlow {
            flow: Arc::new(Self::default()),
            postgres: Self::POSTGRES,
            sqlite: Self::SQLITE,
            avro: None,
            generator: None,
        }
    }

    const POSTGRES: Migrations = Migrations {
        name: Self::NAME,
        scripts: &["
            create table visits (
                flow text not null,
                stream text not null,
                partition integer not null,
                log bigint not null,
                position bigint not null,
                n integer not null,
                who text not null,
                page text not null check (page <> ''),
                at timestamp not null,
                primary key (flow, stream, partition, log, position, n)
            )"],
    };

    const SQLITE: Migrations = Migrations {
        name: Self::NAME,
        scripts: &["
            create table visits (
                flow text not null,
                stream text not null,
                partition integer not null,
                log integer not null,
                position integer not null,
                n integer not null,
                who text not null,
                page text not null check (page <> ''),
                at text not null,
                primary key (flow, stream, partition, log, position, n)
            ) strict"],
    };
}

impl Flow for Visits {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let mut fields = incoming.fields.into_iter().map(Field::into_text);
        let [who, page, at] = [(); 3].map(|()| fields.next().flatten());
        let at = at.as_deref().and_then(timestamp::parse);
        match (who, page, at) {
            (Some(who), Some(page), Some(at)) => {
                Ok(appended([Value::Text(who), Value::Text(page), Value::Timestamp(at)]))
            }
            _ => Err(Reason::new(
                Stage::Validate,
                "visit_incomplete",
                "who, page or at is missing or unreadable",
            )),
        }
    }
}

fn appended(values: [Value; 3]) -> Record {
    let write = Write { table: 0, action: Action::Append, values: values.into() };
    Record { writes: vec![write], ..Record::default() }
}

/// A row of a visit of `page`.
pub fn visit(position: i64, who: &str, page: &str) -> Row {
    let at = timestamp::parse("2024-01-15 08:30:00").expect("a timestamp");
    let values = [Value::Text(who.into()), Value::Text(page.into()), Value::Timestamp(at)];
    Row { position, record: appended(values), raw: Raw::default() }
}
