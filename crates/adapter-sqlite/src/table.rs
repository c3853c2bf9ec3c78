//! A table of a flow in SQL.

use std::fmt::Write as _;

use tally_domain::{Table, Type, Value};
use tally_ports::{Origin, TogetherRow};

use crate::statement::Value as Bound;
use tally_queries::writes::{self, Dialect};
pub(crate) use tally_queries::writes::{ExistingColumn, difference};

/// Decimals are texts: as numbers they are counted and compared without their point.
pub(crate) const DIALECT: Dialect = Dialect {
    ordered: |kind, value| match kind {
        Type::Decimal { .. } => unscaled(&value),
        _ => value,
    },
    sum: |kind, one, other| match kind {
        Type::Decimal { precision, scale } => {
            scaled(&format!("({} + {})", unscaled(one), unscaled(other)), precision, scale)
        }
        _ => format!("{one} + {other}"),
    },
    text: |_, value| format!("cast({value} as text)"),
};

/// The placeholders of a row of `table`, in the order in which [`bind`] binds its values.
fn row(table: &Table) -> Vec<&'static str> {
    let added = writes::added(table).iter().map(|&name| match name {
        "deleted_at" => "case when ? then strftime('%Y-%m-%d %H:%M:%f', 'now') end",
        _ => "?",
    });
    table.columns.iter().map(|_| "?").chain(added).collect()
}

/// Inserts so many rows, or what becomes of them where their keys are there.
pub(crate) fn upsert(table: &Table, rows: usize, is_replay: bool) -> String {
    let row = format!("({})", row(table).join(", "));
    let conflict = writes::on_conflict(&DIALECT, table, is_replay.then_some("true"));
    format!("{} values {}{conflict}", writes::insert(table), vec![row; rows].join(", "))
}

/// Asks whether something newer than a row is there; `None` where nothing can be.
pub(crate) fn is_newer_there(table: &Table, is_replay: bool) -> Option<String> {
    let is_newer = writes::is_newer_there(&DIALECT, table, is_replay.then_some("true"))?;
    let mut new = String::new();
    for (value, name) in row(table).iter().zip(writes::columns(table)) {
        let comma = if new.is_empty() { "" } else { ", " };
        let _ = write!(new, "{comma}{value} as {name}"); // a string takes all
    }
    Some(format!("select {is_newer} as found from (select {new}) as new"))
}

/// Deletes the rows that an earlier pass over the same positions appended.
pub(crate) fn clear(table: &Table) -> String {
    writes::clear(table, ["?"; 6])
}

/// Adds the values of a row to `bound`.
pub(crate) fn bind<'a>(
    bound: &mut Vec<Bound<'a>>,
    table: &Table,
    origin: &Origin<'a>,
    row: &'a TogetherRow<'_>,
) {
    bound.extend(row.values.iter().map(value));
    bound.extend(writes::added(table).iter().map(|&name| match name {
        "deleted_at" => i64::from(row.is_deleted).into(),
        "origin" => origin.id.into(),
        "flow" => origin.flow.name().into(),
        "stream" => origin.stream.into(),
        "partition" => origin.partition.into(),
        "log" => origin.log.into(),
        "position" => row.position.into(),
        _ => row.n.into(),
    }));
}

/// A value as it is stored.
pub(crate) fn value(value: &Value) -> Bound<'_> {
    match value {
        Value::Null => Bound::Null,
        Value::Boolean(value) => i64::from(*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::Decimal(decimal) => decimal.to_string().into(),
        Value::Uuid(id) => id.to_string().into(),
        Value::Text(text) => (&**text).into(),
        Value::Json(text) => (&**text).into(),
        Value::Timestamp(at) => at.to_string().into(),
        Value::Instant(at) => at.naive_utc().to_string().into(),
    }
}

/// A decimal's digits as one number.
fn unscaled(text: &str) -> String {
    format!("cast(replace({text}, '.', '') as integer)")
}

/// The text of a decimal whose digits are the number `digits`; null, which no counter takes, where they are too many.
fn scaled(digits: &str, precision: u8, scale: u8) -> String {
    let limit = 10_i64.pow(u32::from(precision.min(18)));
    let unit = 10_i64.pow(u32::from(scale.min(18)));
    let text = match scale {
        0 => format!("printf('%d', {digits})"),
        _ => format!(
            "printf('%s%d.%0{scale}d', case when {digits} < 0 then '-' else '' end, abs({digits}) / {unit}, \
             abs({digits}) % {unit})"
        ),
    };
    format!("case when abs({digits}) < {limit} then {text} end")
}
