//! Shipments: each record that its JSON Schema allows is kept as a whole, fields that nobody knows among it.

use std::slice;

use tally_domain::{
    Action, Column, Faults, Flow, Incoming, Kind, Reason, Record, Table, TableColumn, Type, Value,
    Write,
};
use tally_json_schema::Schema;

use crate::{appended, incomplete, integer};

pub(crate) const POSTGRES: &[&str] = &["
    create table shipments (
        flow text not null, stream text not null, partition integer not null, log bigint not null,
        position bigint not null, n integer not null,
        number bigint not null, document json not null,
        primary key (flow, stream, partition, log, position, n)
    )"];

pub(crate) const SQLITE: &[&str] = &["
    create table shipments (
        flow text not null, stream text not null, partition integer not null, log integer not null,
        position integer not null, n integer not null,
        number integer not null, document text not null,
        primary key (flow, stream, partition, log, position, n)
    ) strict"];

const SCHEMA: &str = r#"{
    "type": "object",
    "required": ["number", "address"],
    "properties": {
        "number": {"type": "integer", "minimum": 1},
        "address": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"type": "string"}, "postcode": {"pattern": "^[0-9]{5}$"}}
        }
    }
}"#;

const COLUMNS: &[Column] = &[Column::new("number", Kind::Text)];

#[derive(Debug)]
pub(crate) struct Shipments {
    table: Table,
    schema: Schema,
}

impl Default for Shipments {
    fn default() -> Self {
        let columns = vec![
            TableColumn::new("number", Type::Integer),
            TableColumn::new("document", Type::Json),
        ];
        let schema = Schema::new(SCHEMA).unwrap_or_else(|error| panic!("{error}"));
        Self { table: appended("shipments", columns), schema }
    }
}

impl Flow for Shipments {
    fn name(&self) -> &'static str {
        "shipments"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let mut faults = Faults::default();
        let document = self.schema.check(incoming.raw, &mut faults);
        if let Some(reason) = faults.into_reason() {
            return Err(reason);
        }
        let number = integer(incoming.fields.first()).ok_or_else(|| incomplete("number"))?;
        let document = Value::Json(document.unwrap_or_default().into());
        let values = vec![Value::Integer(number), document];
        Ok(Record {
            writes: vec![Write { table: 0, action: Action::Append, values }],
            ..Record::default()
        })
    }
}
