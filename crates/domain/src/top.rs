//! What is shown of counters.

use crate::flow::{Flow, Name};
use crate::record::Type;
use crate::table::{Table, TableColumn, TableKind};

/// The greatest counters of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// What its keys are: `device types`, `top 3 locales`.
    pub title: Name,
    /// The index of the table among those of the flow; it is a [`CounterTable`].
    pub table: usize,
    /// How many are shown; all without.
    pub most: Option<usize>,
}

impl Top {
    /// The greatest counters of the flow's table at this index.
    pub const fn new(title: &'static str, table: usize, most: Option<usize>) -> Self {
        Self { title: Name::Borrowed(title), table, most }
    }

    /// The table among those of the flow; `None` where the description of the flow is invalid.
    pub fn counters<'a>(&self, flow: &'a dyn Flow) -> Option<CounterTable<'a>> {
        CounterTable::of(flow.tables().get(self.table)?)
    }
}

/// A table of one number for each value of one column.
#[derive(Clone, Copy, Debug)]
pub struct CounterTable<'a> {
    pub name: &'a str,
    pub key: &'a TableColumn,
    pub number: &'a TableColumn,
}

impl<'a> CounterTable<'a> {
    /// `None` where the table is of another kind, has other columns, a number that is not whole, or a key whose text is not the
    /// same in each store.
    pub fn of(table: &'a Table) -> Option<Self> {
        let TableKind::Counters { key } = &table.kind else { return None };
        let (([0], [key, number]) | ([1], [number, key])) = (&**key, &*table.columns) else {
            return None;
        };
        let fits = number.kind == Type::Integer && !matches!(key.kind, Type::Boolean | Type::Json);
        fits.then_some(Self { name: &table.name, key, number })
    }
}

pub(crate) fn check(flow: &dyn Flow) -> Result<(), String> {
    for top in flow.tops() {
        let Top { title, table, .. } = top;
        let Some(described) = flow.tables().get(*table) else {
            return Err(format!("shows {title:?} of a table that it does not describe: {table}"));
        };
        if top.counters(flow).is_none() {
            return Err(format!(
                "shows {title:?} of the table {}, which has not exactly one whole number to add to and a key of one \
                 column (not boolean or JSON)",
                described.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Incoming, Reason, Record, table};

    #[derive(Debug)]
    struct Counting {
        tables: Vec<Table>,
        tops: Vec<Top>,
    }

    impl Flow for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn columns(&self) -> &[Column] {
            &[]
        }

        fn tables(&self) -> &[Table] {
            &self.tables
        }

        fn tops(&self) -> &[Top] {
            &self.tops
        }

        fn read(&self, _: Incoming<'_>) -> Result<Record, Reason> {
            Ok(Record::default())
        }
    }

    fn checked(kind: TableKind, columns: &[Type], table: usize) -> Result<(), String> {
        let columns = ["a", "b", "c"].into_iter().zip(columns);
        let columns = columns.map(|(name, &kind)| TableColumn::new(name, kind)).collect();
        let tables = vec![Table { name: "t".into(), columns, kind }];
        table::check(&Counting { tables, tops: vec![Top::new("things", table, Some(3))] })
    }

    #[test]
    fn only_one_number_by_one_column_is_shown() {
        let (text, number) = (Type::Text { limit: None }, Type::Integer);
        let by = |key: &[usize]| TableKind::Counters { key: key.to_vec() };
        assert_eq!(checked(by(&[0]), &[text, number], 0), Ok(()));
        assert_eq!(checked(by(&[1]), &[number, Type::Instant], 0), Ok(()));
        let money = Type::Decimal { precision: 10, scale: 2 };
        for (kind, columns) in [
            (TableKind::Appended, &[text, number][..]),
            (by(&[0]), &[text]),
            (by(&[0]), &[text, number, number]),
            (by(&[0, 1]), &[text, text, number]),
            (by(&[0]), &[text, money]),
            (by(&[0]), &[Type::Boolean, number]),
        ] {
            let refused = checked(kind, columns, 0).unwrap_err();
            let expected = "the flow counting shows \"things\" of the table t, which has not";
            assert!(refused.starts_with(expected), "{refused}");
        }
        let refused = checked(by(&[0]), &[text, number], 1).unwrap_err();
        assert!(refused.ends_with("of a table that it does not describe: 1"), "{refused}");
    }
}
