//! Orders: the newest state of each is kept, and each change is published, with the order's number again without a value
//! once it is done.

use std::slice;

use tally_domain::{
    Column, Flow, Incoming, Kind, Output, Publication, Reason, Record, Table, TableColumn, Type,
    Value, Version,
};

use crate::{TEXT, incomplete, integer, keyed, text};

pub(crate) const POSTGRES: &[&str] = &["
    create table orders (
        number bigint primary key, state text not null check (state <> 'refused'),
        origin bigint not null, position bigint not null
    )"];

pub(crate) const SQLITE: &[&str] = &["
    create table orders (
        number integer not null primary key, state text not null check (state <> 'refused'),
        origin integer not null, position integer not null
    ) strict"];

const COLUMNS: &[Column] = &[
    Column::new("number", Kind::Text),
    Column::new("state", Kind::Text),
    Column::new("times", Kind::Text),
];

const OUTPUTS: &[Output] = &[Output::new("changes", "order-changes")];

#[derive(Debug)]
pub(crate) struct Orders {
    table: Table,
}

impl Default for Orders {
    fn default() -> Self {
        let columns =
            vec![TableColumn::new("number", Type::Integer), TableColumn::new("state", TEXT)];
        Self { table: keyed("orders", &[0], Version::Position, false, columns) }
    }
}

impl Flow for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn outputs(&self) -> &[Output] {
        OUTPUTS
    }

    /// The published state is repeated `times` times.
    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let fields = &incoming.fields;
        let number = integer(fields.first()).ok_or_else(|| incomplete("number"))?;
        let state = text(fields.get(1)).ok_or_else(|| incomplete("state"))?;
        let times = integer(fields.get(2)).and_then(|times| times.try_into().ok()).unwrap_or(1);
        let key = Some(number.to_string().into());
        let change = Publication {
            key: key.clone(),
            value: Some(state.repeat(times).into()),
            ..Publication::default()
        };
        let mut publications = vec![change];
        if state == "done" {
            publications.push(Publication { key, ..Publication::default() });
        }
        let values = vec![Value::Integer(number), Value::Text(state.into())];
        Ok(Record { publications, is_asked: false, ..Record::upsert(0, values) })
    }
}
