//! Clicks on pages: counted by page and by visitor.

use tally_domain::{
    Action, Column, Decimal, Flow, Incoming, Kind, Reason, Record, Table, TableColumn, TableKind,
    Top, Type, Value, Write,
};

use crate::{TEXT, incomplete, text};

pub(crate) const POSTGRES: &[&str] = &["
    create table clicks_by_page (
        page text primary key, clicks bigint not null, seconds numeric(12, 2) not null
    );
    create table clicks_by_visitor (visitor text primary key, clicks bigint not null check (clicks < 1000))"];

pub(crate) const SQLITE: &[&str] = &["
    create table clicks_by_page (
        page text not null primary key, clicks integer not null, seconds text not null
    ) strict;
    create table clicks_by_visitor (
        visitor text not null primary key, clicks integer not null check (clicks < 1000)
    ) strict"];

const COLUMNS: &[Column] = &[
    Column::new("page", Kind::Text),
    Column::new("visitor", Kind::Text),
    Column::new("seconds", Kind::Text),
];

const TOPS: &[Top] = &[Top::new("visitors", 1, None), Top::new("top 3 visitors", 1, Some(3))];

#[derive(Debug)]
pub(crate) struct Clicks {
    tables: [Table; 2],
}

impl Default for Clicks {
    fn default() -> Self {
        let counters = |name: &'static str, columns| Table {
            name: name.into(),
            columns,
            kind: TableKind::Counters { key: vec![0] },
        };
        let by_page = vec![
            TableColumn::new("page", TEXT),
            TableColumn::new("clicks", Type::Integer),
            TableColumn::new("seconds", Type::Decimal { precision: 12, scale: 2 }),
        ];
        let by_visitor =
            vec![TableColumn::new("visitor", TEXT), TableColumn::new("clicks", Type::Integer)];
        Self {
            tables: [
                counters("clicks_by_page", by_page),
                counters("clicks_by_visitor", by_visitor),
            ],
        }
    }
}

impl Flow for Clicks {
    fn name(&self) -> &'static str {
        "clicks"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn tops(&self) -> &[Top] {
        TOPS
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let fields = &incoming.fields;
        let text = |index: usize| text(fields.get(index));
        let page = text(0).ok_or_else(|| incomplete("page"))?;
        let visitor = text(1).ok_or_else(|| incomplete("visitor"))?;
        let seconds = text(2).and_then(|text| Decimal::parse(&text, 12, 2));
        let seconds = seconds.ok_or_else(|| incomplete("seconds"))?;
        let add = |table, values| Write { table, action: Action::Add, values };
        let one = Value::Integer(1);
        let by_page = vec![Value::Text(page.into()), one.clone(), Value::Decimal(seconds)];
        let by_visitor = vec![Value::Text(visitor.into()), one];
        Ok(Record { writes: vec![add(0, by_page), add(1, by_visitor)], ..Record::default() })
    }
}
