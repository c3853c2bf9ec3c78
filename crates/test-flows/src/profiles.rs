//! Profiles of users: each version is kept as it came, and the newest one by its own time.

use tally_domain::{
    Action, Column, Flow, Incoming, Kind, Reason, Record, Table, TableColumn, Type, Value, Version,
    Write, timestamp,
};

use crate::{TEXT, appended, incomplete, integer, json, keyed, text};

pub(crate) const POSTGRES: &[&str] = &["
    create table profiles_raw (
        flow text not null, stream text not null, partition integer not null, log bigint not null,
        position bigint not null, n integer not null,
        tenant text not null, number bigint not null, name text not null, settings json, updated_at timestamp not null,
        primary key (flow, stream, partition, log, position, n)
    );
    create table profiles (
        tenant text not null, number bigint not null, name text not null check (name <> 'nobody'), settings json,
        updated_at timestamp not null,
        origin bigint not null, position bigint not null,
        primary key (tenant, number)
    )"];

pub(crate) const SQLITE: &[&str] = &["
    create table profiles_raw (
        flow text not null, stream text not null, partition integer not null, log integer not null,
        position integer not null, n integer not null,
        tenant text not null, number integer not null, name text not null, settings text, updated_at text not null,
        primary key (flow, stream, partition, log, position, n)
    ) strict;
    create table profiles (
        tenant text not null, number integer not null, name text not null check (name <> 'nobody'), settings text,
        updated_at text not null,
        origin integer not null, position integer not null,
        primary key (tenant, number)
    ) strict"];

const COLUMNS: &[Column] = &[
    Column::new("tenant", Kind::Text),
    Column::new("number", Kind::Text),
    Column::new("name", Kind::Text),
    Column::new("settings", Kind::Json),
    Column::new("updated_at", Kind::Timestamp),
];

#[derive(Debug)]
pub(crate) struct Profiles {
    tables: [Table; 2],
}

impl Default for Profiles {
    fn default() -> Self {
        let columns = vec![
            TableColumn::new("tenant", TEXT),
            TableColumn::new("number", Type::Integer),
            TableColumn::new("name", TEXT),
            TableColumn::nullable("settings", Type::Json),
            TableColumn::new("updated_at", Type::Timestamp),
        ];
        let latest = keyed("profiles", &[0, 1], Version::Columns(vec![4]), false, columns.clone());
        Self { tables: [appended("profiles_raw", columns), latest] }
    }
}

impl Flow for Profiles {
    fn name(&self) -> &'static str {
        "profiles"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let fields = &incoming.fields;
        let text = |index: usize| text(fields.get(index));
        let values = vec![
            Value::Text(text(0).ok_or_else(|| incomplete("tenant"))?.into()),
            Value::Integer(integer(fields.get(1)).ok_or_else(|| incomplete("number"))?),
            Value::Text(text(2).ok_or_else(|| incomplete("name"))?.into()),
            json(fields.get(3)).map_or(Value::Null, |json| Value::Json(json.into())),
            Value::Timestamp(
                text(4)
                    .and_then(|at| timestamp::parse(&at))
                    .ok_or_else(|| incomplete("updated_at"))?,
            ),
        ];
        let raw = Write { table: 0, action: Action::Append, values: values.clone() };
        let latest = Write { table: 1, action: Action::Upsert, values };
        Ok(Record { writes: vec![raw, latest], ..Record::default() })
    }
}
