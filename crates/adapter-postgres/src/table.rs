//! A table of a flow in SQL.

use tally_domain::{Decimal, Table, Type, Value};
use tally_ports::{Origin, Together, TogetherRow};

use crate::query::{Bound, Dynamic};
use tally_queries::writes::{self, Dialect};
pub(crate) use tally_queries::writes::{
    ExistingColumn, added, clear, columns, difference, insert, quoted,
};

/// Texts are compared byte by byte, as everywhere else, and not in the order of some language.
pub(crate) const DIALECT: Dialect = Dialect {
    ordered: |kind, value| match kind {
        Type::Text { .. } => format!("{value} collate \"C\""),
        _ => value,
    },
    sum: |_, one, other| format!("{one} + {other}"),
    text: |kind, value| match kind {
        Type::Instant => format!("cast({value} at time zone 'UTC' as text)"),
        _ => format!("cast({value} as text)"),
    },
};

/// See [`writes::on_conflict`].
pub(crate) fn on_conflict(table: &Table, is_replay: Option<&str>) -> String {
    writes::on_conflict(&DIALECT, table, is_replay)
}

/// See [`writes::is_newer_there`].
pub(crate) fn is_newer_there(table: &Table, is_replay: Option<&str>) -> Option<String> {
    writes::is_newer_there(&DIALECT, table, is_replay)
}

/// Writes all rows by one statement.
pub(crate) fn upsert<'a>(together: &'a Together<'_>, origin: &Origin<'a>) -> Dynamic<'a> {
    let Together { table, rows } = together;
    let (rows, values) = source(table, rows, origin, false);
    let columns = columns(table).join(", ");
    let conflict = on_conflict(table, None);
    Dynamic::new(format!("{} select {columns} from {rows} as new{conflict}", insert(table)), values)
}

/// Asks for the places, from 1, of those rows of which something newer is there; `None` where nothing can be.
pub(crate) fn newer<'a>(together: &'a Together<'_>, origin: &Origin<'a>) -> Option<Dynamic<'a>> {
    let Together { table, rows } = together;
    let is_newer = is_newer_there(table, None)?;
    let (rows, values) = source(table, rows, origin, true);
    Some(Dynamic::new(format!("select new.slot from {rows} as new where {is_newer}"), values))
}

/// The rows with all columns of the table and, if `has_slot`, numbered from 1 as `slot`.
fn source<'a>(
    table: &Table,
    rows: &'a [TogetherRow<'_>],
    origin: &Origin<'a>,
    has_slot: bool,
) -> (String, Vec<Bound<'a>>) {
    let (mut selected, mut values) = (Vec::new(), Vec::new());
    let (mut names, mut arrays) = (Vec::new(), Vec::new());
    for (index, column) in table.columns.iter().enumerate() {
        let name = format!("c{index}");
        selected.push(format!("{} as {}", from_array(column.kind, &name), quoted(&column.name)));
        arrays.push(array(column.kind, rows.iter().map(|row| &row.values[index])));
        names.push(name);
    }
    for &name in writes::added(table) {
        let (value, array) = match name {
            "deleted_at" => {
                let deleted = rows.iter().map(|row| Some(row.is_deleted)).collect();
                (
                    "case when is_deleted then clock_timestamp() end",
                    Some(("is_deleted", Bound::Booleans(deleted))),
                )
            }
            "position" => {
                let positions = rows.iter().map(|row| Some(row.position)).collect();
                ("at", Some(("at", Bound::BigInts(positions))))
            }
            "n" => (
                "number",
                Some(("number", Bound::Integers(rows.iter().map(|row| row.n).collect()))),
            ),
            _ => {
                values.push(match name {
                    "origin" => Bound::BigInt(origin.id),
                    "flow" => Bound::Text(origin.flow.name()),
                    "stream" => Bound::Text(origin.stream),
                    "partition" => Bound::Integer(origin.partition),
                    _ => Bound::BigInt(origin.log),
                });
                ("?", None)
            }
        };
        selected.push(format!("{value} as {}", quoted(name)));
        if let Some((name, array)) = array {
            names.push(name.to_owned());
            arrays.push(array);
        }
    }
    values.extend(arrays);
    let marks = vec!["?"; names.len()].join(", ");
    let mut ordinality = "";
    if has_slot {
        ordinality = "with ordinality ";
        for list in [&mut selected, &mut names] {
            list.push("slot".to_owned());
        }
    }
    let (selected, names) = (selected.join(", "), names.join(", "));
    (format!("(select {selected} from unnest({marks}) {ordinality}as u({names}))"), values)
}

/// The values of a column.
pub(crate) fn array<'a>(kind: Type, values: impl Iterator<Item = &'a Value>) -> Bound<'a> {
    macro_rules! collect {
        ($bound:ident, $pattern:pat => $value:expr) => {
            Bound::$bound(
                values
                    .map(|value| match value {
                        $pattern => Some($value),
                        _ => None,
                    })
                    .collect(),
            )
        };
    }
    match kind {
        Type::Boolean => collect!(Booleans, Value::Boolean(value) => *value),
        Type::Integer => collect!(BigInts, Value::Integer(number) => *number),
        // `numeric` has no cheap form of its own.
        Type::Decimal { .. } => collect!(BigInts, Value::Decimal(decimal) => decimal.unscaled),
        Type::Uuid => collect!(Uuids, Value::Uuid(id) => *id),
        Type::Text { .. } => collect!(Texts, Value::Text(text) => &**text),
        Type::Json => collect!(Texts, Value::Json(text) => &**text),
        Type::Timestamp => collect!(Timestamps, Value::Timestamp(at) => *at),
        Type::Instant => collect!(Instants, Value::Instant(at) => *at),
    }
}

/// The value of a column from the expression for what [`array`] binds.
pub(crate) fn from_array(kind: Type, name: &str) -> String {
    match kind {
        Type::Decimal { scale, .. } => format!("{name} * {}", Decimal { unscaled: 1, scale }),
        Type::Json => format!("{name}::json"),
        _ => name.to_owned(),
    }
}

/// The text of a value, as [`from_text`] takes it.
pub(crate) fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Decimal(decimal) => decimal.to_string(),
        Value::Uuid(id) => id.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Json(text) => text.to_string(),
        Value::Timestamp(at) => at.to_string(),
        Value::Instant(at) => at.to_rfc3339(),
    })
}

/// The value of a column from the expression for its text.
pub(crate) fn from_text(kind: Type, text: &str) -> String {
    match kind {
        Type::Boolean => format!("({text})::boolean"),
        Type::Integer => format!("({text})::bigint"),
        Type::Decimal { .. } => format!("({text})::numeric"),
        Type::Uuid => format!("({text})::uuid"),
        Type::Text { .. } => format!("({text})"),
        Type::Json => format!("({text})::json"),
        Type::Timestamp => format!("({text})::timestamp"),
        Type::Instant => format!("({text})::timestamptz"),
    }
}
