//! What a header calls a flow's columns.

use std::collections::{BTreeMap, HashSet};

use tally_domain::Column;

/// The names that a flow's columns may have in a header.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub columns: &'a [Column],
    /// Of `csv.columns`: what a header calls a column, and its own name.
    pub mapped: &'a BTreeMap<String, String>,
}

impl Names<'_> {
    /// For each name of a header the index of the column that it is, if it is one. Blanks around it do not count, nor
    /// does its case, but where another name is the column's exactly.
    pub fn find(&self, header: &[String]) -> Vec<Option<usize>> {
        let exact = |name: &str| self.columns.iter().position(|column| column.name == name);
        let meant: Vec<&str> = header.iter().map(|name| self.meant(name.trim())).collect();
        let taken: HashSet<usize> = meant.iter().filter_map(|name| exact(name)).collect();
        let alike = |name: &str| {
            let alike = self.columns.iter().position(|column| is_alike(&column.name, name));
            alike.filter(|column| !taken.contains(column))
        };
        meant.iter().map(|name| exact(name).or_else(|| alike(name))).collect()
    }

    /// The column's own name where `csv.columns` maps this one.
    fn meant<'a>(&'a self, name: &'a str) -> &'a str {
        let alike = || self.mapped.iter().find(|(found, _)| is_alike(found.trim(), name));
        let mapped = self.mapped.get_key_value(name).or_else(alike);
        mapped.map_or(name, |(_, column)| column)
    }

    /// Those of a header that are a column although they are not written as it is, nor mapped: each with the column's name.
    pub fn respelt(&self, header: &[String], found: &[Option<usize>]) -> Vec<(String, String)> {
        let named = header.iter().zip(found).filter_map(|(name, column)| {
            let column = &self.columns[(*column)?].name;
            let is_said = *column != *name && self.meant(name.trim()) == name.trim();
            is_said.then(|| (name.clone(), column.to_string()))
        });
        named.collect()
    }

    /// What is wrong with `csv.columns`: it maps a name to what is none of the columns.
    pub fn check(&self) -> Result<(), String> {
        let is_known = |column: &str| self.columns.iter().any(|known| known.name == column);
        match self.mapped.iter().find(|(_, column)| !is_known(column)) {
            None => Ok(()),
            Some((name, column)) => Err(format!(
                "csv.columns: {name:?} is mapped to {column:?}, which is not a column; the columns are {}",
                list(self.columns)
            )),
        }
    }
}

/// Whether the names are the same but for case.
pub fn is_alike(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The columns' names.
pub fn list(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
    names.join(", ")
}

/// A name with what cannot be seen written out, a byte order mark among it.
pub fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            '\'' | '"' | '\\' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use tally_domain::Kind;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::new("id", Kind::Id),
        Column::new("Straße", Kind::Text),
        Column::new("a", Kind::Text),
    ];

    #[track_caller]
    fn check(mapped: &[(&str, &str)], header: &[&str], expected: &[Option<usize>]) {
        let text = |text: &str| text.to_owned();
        let mapped = mapped.iter().map(|&(name, column)| (text(name), text(column))).collect();
        let header: Vec<String> = header.iter().copied().map(text).collect();
        let names = Names { columns: COLUMNS, mapped: &mapped };
        assert_eq!(names.find(&header), expected, "{header:?}");
    }

    #[test]
    fn blanks_and_case_do_not_count() {
        check(&[], &["\u{a0}ID ", "STRAßE", " a"], &[Some(0), Some(1), Some(2)]);
        check(&[], &["ID", "id", "Id"], &[None, Some(0), None]);
        check(&[], &["ID", "Id"], &[Some(0), Some(0)]);
    }

    #[test]
    fn mapped_names_are_the_columns_they_are_mapped_to() {
        let mapped = [("Nummer", "id"), ("NUMMER", "a"), (" Weg ", "Straße")];
        check(&mapped, &["Nummer", "weg", "NUMMER"], &[Some(0), Some(1), Some(2)]);
        check(&mapped, &["nummer", "id"], &[Some(2), Some(0)]);
        check(&mapped, &["Nummer", "id"], &[Some(0), Some(0)]);
        check(&[("a", "id")], &["a"], &[Some(0)]);
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(shown("\u{feff}id\t\"é\" \u{200b}"), "\\u{feff}id\\t\"é\" \\u{200b}");
    }
}
