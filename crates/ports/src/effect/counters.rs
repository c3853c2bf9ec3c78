//! What counters take, as far as that can be said without asking the database.

use tally_domain::{Action, Decimal, Flow, Reason, Record, Stage, TableKind, Type, Value};

/// Checks what a record adds to counters before it is published: a table takes each key and each number.
///
/// # Errors
/// The first thing that a table would refuse.
pub fn check_counters(flow: &dyn Flow, record: &Record) -> Result<(), Reason> {
    for write in record.writes.iter().filter(|write| write.action == Action::Add) {
        let Some(table) = flow.tables().get(write.table) else { continue };
        let TableKind::Counters { key } = &table.kind else { continue };
        for (index, (column, value)) in table.columns.iter().zip(&write.values).enumerate() {
            if !fits(column.kind, value) {
                let what = if key.contains(&index) { "key" } else { "number" };
                let message = format!("{}.{} takes no such {what}", table.name, column.name);
                return Err(Reason::new(Stage::Publish, "counter_refused", message));
            }
        }
    }
    Ok(())
}

fn fits(kind: Type, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) => false,
        (Type::Text { limit }, Value::Text(text)) => {
            !text.contains('\0')
                && limit.is_none_or(|limit| text.len() <= limit || text.chars().count() <= limit)
        }
        (Type::Decimal { precision, .. }, Value::Decimal(Decimal { unscaled, .. })) => {
            10_u64.checked_pow(precision.into()).is_none_or(|limit| unscaled.unsigned_abs() < limit)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_cannot_hold_is_told_before() {
        let decimal = |unscaled| Value::Decimal(Decimal { unscaled, scale: 2 });
        let (text, money) =
            (Type::Text { limit: Some(2) }, Type::Decimal { precision: 4, scale: 2 });
        for (kind, value, expected) in [
            (text, Value::Text("éé".into()), true),
            (text, Value::Text("ééé".into()), false),
            (text, Value::Text("a\0".into()), false),
            (text, Value::Null, false),
            (money, decimal(-9_999), true),
            (money, decimal(10_000), false),
            (Type::Integer, Value::Integer(i64::MAX), true),
        ] {
            assert_eq!(fits(kind, &value), expected, "{kind:?}");
        }
    }
}
