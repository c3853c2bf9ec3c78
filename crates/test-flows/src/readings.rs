//! Readings of sensors: one row for each reading, two where the record has a second value.

use std::slice;

use tally_domain::{
    Action, Column, Decimal, Flow, Incoming, Kind, Reason, Record, Table, TableColumn, Type, Value,
    Write, timestamp,
};

use crate::{TEXT, appended, boolean, incomplete, json, text};

pub(crate) const POSTGRES: &[&str] = &["
    create table readings (
        flow text not null, stream text not null, partition integer not null, log bigint not null,
        position bigint not null, n integer not null,
        sensor text not null check (sensor <> 'broken'),
        at timestamptz not null,
        value numeric(9, 3) not null,
        is_valid boolean,
        details json,
        primary key (flow, stream, partition, log, position, n)
    )"];

pub(crate) const SQLITE: &[&str] = &["
    create table readings (
        flow text not null, stream text not null, partition integer not null, log integer not null,
        position integer not null, n integer not null,
        sensor text not null check (sensor <> 'broken'),
        at text not null,
        value text not null,
        is_valid integer,
        details text,
        primary key (flow, stream, partition, log, position, n)
    ) strict"];

const COLUMNS: &[Column] = &[
    Column::new("sensor", Kind::Text),
    Column::new("at", Kind::Timestamp),
    Column::new("value", Kind::Text),
    Column::new("second_value", Kind::Text),
    Column::new("is_valid", Kind::Boolean),
    Column::new("details", Kind::Json),
];

const VALUE: Type = Type::Decimal { precision: 9, scale: 3 };

#[derive(Debug)]
pub(crate) struct Readings {
    table: Table,
}

impl Default for Readings {
    fn default() -> Self {
        let columns = vec![
            TableColumn::new("sensor", TEXT),
            TableColumn::new("at", Type::Instant),
            TableColumn::new("value", VALUE),
            TableColumn::nullable("is_valid", Type::Boolean),
            TableColumn::nullable("details", Type::Json),
        ];
        Self { table: appended("readings", columns) }
    }
}

impl Flow for Readings {
    fn name(&self) -> &'static str {
        "readings"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let fields = &incoming.fields;
        let text = |index: usize| text(fields.get(index));
        let value = |index: usize| {
            text(index).and_then(|text| Decimal::parse(&text, 9, 3)).map(Value::Decimal)
        };
        let raw = incoming.raw;
        let key = raw.key.as_deref().and_then(|key| str::from_utf8(key).ok()).map(str::to_owned);
        let sensor = text(0).or(key).ok_or_else(|| incomplete("sensor"))?;
        let at = text(1).and_then(|at| timestamp::parse(&at)).map(|at| at.and_utc());
        let at = at.or(raw.timestamp).ok_or_else(|| incomplete("at"))?;
        let first = value(2).ok_or_else(|| incomplete("value"))?;
        let is_valid = boolean(fields.get(4));
        if is_valid.is_none() && text(4).is_some() {
            return Err(incomplete("is_valid"));
        }
        let header = raw.header("details").and_then(|json| String::from_utf8(json.to_vec()).ok());
        let details = json(fields.get(5)).or(header);
        let rows = [Some(first), value(3)].into_iter().flatten().map(|value| Write {
            table: 0,
            action: Action::Append,
            values: vec![
                Value::Text(sensor.as_str().into()),
                Value::Instant(at),
                value,
                is_valid.map_or(Value::Null, Value::Boolean),
                details.clone().map_or(Value::Null, |json| Value::Json(json.into())),
            ],
        });
        Ok(Record { writes: rows.collect(), ..Record::default() })
    }
}
