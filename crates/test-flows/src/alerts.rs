//! Alerts about accounts: published, and counted by account; nothing else is kept.

use std::slice;

use serde_json::Value as Json;
use tally_domain::quality::Judged;
use tally_domain::{
    Action, Column, Decimal, Flow, Incoming, Kind, Name, Output, Publication, Reason, Record,
    Table, TableColumn, TableKind, Type, UnknownStats, Value, Write,
};

use crate::{TEXT, incomplete, integer, text};

pub(crate) const POSTGRES: &[&str] = &["
    create table alerts_by_account (
        account text primary key, alerts bigint not null, amount numeric(8, 2) not null
    )"];

pub(crate) const SQLITE: &[&str] = &["
    create table alerts_by_account (
        account text not null primary key, alerts integer not null, amount text not null
    ) strict"];

const COLUMNS: &[Column] = &[
    Column::new("account", Kind::Text),
    Column::new("text", Kind::Text),
    Column::new("amount", Kind::Text),
    Column::new("times", Kind::Text),
];

/// Alerts about nothing.
const RULES: &[Name] = &[Name::Borrowed("free")];

const OUTPUTS: &[Output] = &[Output::new("alerts", "account-alerts")];

#[derive(Debug)]
pub(crate) struct Alerts {
    table: Table,
}

impl Default for Alerts {
    fn default() -> Self {
        let columns = vec![
            TableColumn::new("account", TEXT),
            TableColumn::new("alerts", Type::Integer),
            TableColumn::new("amount", Type::Decimal { precision: 8, scale: 2 }),
        ];
        let kind = TableKind::Counters { key: vec![0] };
        Self { table: Table { name: "alerts_by_account".into(), columns, kind } }
    }
}

impl Flow for Alerts {
    fn name(&self) -> &'static str {
        "alerts"
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

    fn rules(&self) -> &[Name] {
        RULES
    }

    fn judge(&self, _: &mut Json, judged: Judged<'_>) -> Result<Vec<Vec<usize>>, UnknownStats> {
        let is_free = |record: &Record| {
            let amount = record.writes.first().and_then(|write| write.values.last());
            matches!(amount, Some(Value::Decimal(Decimal { unscaled: 0, .. })))
        };
        let records = judged.records.iter().enumerate();
        Ok(vec![records.filter(|(_, record)| is_free(record)).map(|(index, _)| index).collect()])
    }

    /// The text is repeated `times` times. The number that is counted may be one that the table does not take.
    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let fields = &incoming.fields;
        let account = text(fields.first()).ok_or_else(|| incomplete("account"))?;
        let alert = text(fields.get(1)).ok_or_else(|| incomplete("text"))?;
        let amount = text(fields.get(2)).and_then(|text| Decimal::parse(&text, 12, 2));
        let amount = amount.ok_or_else(|| incomplete("amount"))?;
        let times = integer(fields.get(3)).and_then(|times| times.try_into().ok()).unwrap_or(1);
        let publication = Publication {
            key: Some(account.clone().into()),
            value: Some(alert.repeat(times).into()),
            headers: vec![("kind".to_owned(), Some("alert".into()))],
            ..Publication::default()
        };
        let values = vec![Value::Text(account.into()), Value::Integer(1), Value::Decimal(amount)];
        let writes = vec![Write { table: 0, action: Action::Add, values }];
        Ok(Record { writes, publications: vec![publication], ..Record::default() })
    }
}
