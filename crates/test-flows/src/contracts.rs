//! Contracts: changes of rows, deletes and the tombstones after them.

use std::slice;

use tally_domain::{
    Action, Column, Envelope, Flow, Incoming, Kind, Reason, Record, Table, TableColumn, Type,
    Value, Version, Write, id,
};

use crate::{TEXT, incomplete, integer, keyed, text};

pub(crate) const POSTGRES: &[&str] = &["
    create table contracts (
        id uuid primary key,
        customer text, amount bigint,
        origin bigint not null, position bigint not null, deleted_at timestamptz,
        check (deleted_at is not null or (customer is not null and amount is not null))
    )"];

pub(crate) const SQLITE: &[&str] = &["
    create table contracts (
        id text not null primary key,
        customer text, amount integer,
        origin integer not null, position integer not null, deleted_at text,
        check (deleted_at is not null or (customer is not null and amount is not null))
    ) strict"];

const COLUMNS: &[Column] = &[
    Column::new("op", Kind::Text),
    Column::new("id", Kind::Id),
    Column::new("customer", Kind::Text),
    Column::new("amount", Kind::Text),
];

#[derive(Debug)]
pub(crate) struct Contracts {
    table: Table,
}

impl Default for Contracts {
    fn default() -> Self {
        let columns = vec![
            TableColumn::new("id", Type::Uuid),
            TableColumn::new("customer", TEXT),
            TableColumn::new("amount", Type::Integer),
        ];
        Self { table: keyed("contracts", &[0], Version::Position, true, columns) }
    }
}

impl Flow for Contracts {
    fn name(&self) -> &'static str {
        "contracts"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn envelope(&self) -> Envelope {
        Envelope::Debezium
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        if incoming.is_tombstone() {
            return Ok(Record { detail: Some("tombstone".into()), ..Record::default() });
        }
        let fields = &incoming.fields;
        let text = |index: usize| text(fields.get(index));
        let id = text(1).and_then(|id| id::parse(&id)).ok_or_else(|| incomplete("id"))?;
        let (action, values) = match text(0).as_deref() {
            Some("d") => (Action::Delete, vec![Value::Uuid(id), Value::Null, Value::Null]),
            Some("c" | "u") => {
                let customer = text(2).ok_or_else(|| incomplete("customer"))?;
                let amount = integer(fields.get(3)).ok_or_else(|| incomplete("amount"))?;
                let values =
                    vec![Value::Uuid(id), Value::Text(customer.into()), Value::Integer(amount)];
                (Action::Upsert, values)
            }
            _ => return Err(incomplete("op")),
        };
        let detail = if action == Action::Delete { "deleted" } else { "changed" };
        let writes = vec![Write { table: 0, action, values }];
        let detail = Some(detail.into());
        Ok(Record { writes, detail, ..Record::default() })
    }
}
