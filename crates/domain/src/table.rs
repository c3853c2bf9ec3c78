//! Descriptions of tables.

use crate::flow::{Flow, Name};
use crate::publish::Output;
use crate::record::Type;
use crate::top;

/// A table that a flow writes: the only list of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: Name,
    /// Its columns without those that the engine adds.
    pub columns: Vec<TableColumn>,
    /// How rows are written to it.
    pub kind: TableKind,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    pub name: Name,
    /// What it holds.
    pub kind: Type,
    /// Whether it may hold nothing.
    pub is_nullable: bool,
    /// The index of the field of the model's answer that it holds.
    pub answer: Option<usize>,
}

/// How rows are written to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// One row for each key, the newest version of it. The engine adds `origin` and `position`: which record wrote it.
    Keyed {
        /// The indices of the key's columns.
        key: Vec<usize>,
        /// Which of two versions is newer.
        version: Version,
        /// Whether a delete leaves a mark: the engine adds `deleted_at`. Columns outside of key and version hold nothing
        /// then.
        marks_deletes: bool,
    },
    /// Rows of their own for each record.
    Appended,
    /// Sums for each key, the columns outside of it.
    Counters {
        /// The indices of the key's columns.
        key: Vec<usize>,
    },
}

/// Which of two versions of a row is newer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that is written later.
    LastWrite,
    /// Within a partition the one at the higher position, whichever pass wrote it; across partitions the one that is written
    /// later.
    Position,
    /// The one that is greater in these columns; where they are equal, as by position.
    Columns(Vec<usize>),
}

impl Table {
    /// A table with one row for each key, where the later write wins.
    pub fn keyed(name: &'static str, key: &[usize], columns: Vec<TableColumn>) -> Self {
        let kind = TableKind::Keyed {
            key: key.to_vec(),
            version: Version::LastWrite,
            marks_deletes: false,
        };
        Self { name: Name::Borrowed(name), columns, kind }
    }

    /// The indices of the columns that tell its rows apart; none where each record has rows of its own.
    pub fn key(&self) -> &[usize] {
        match &self.kind {
            TableKind::Keyed { key, .. } | TableKind::Counters { key } => key,
            TableKind::Appended => &[],
        }
    }

    /// The indices of the columns that tell which of two versions is newer; none where no column does.
    pub fn version(&self) -> &[usize] {
        match &self.kind {
            TableKind::Keyed { version: Version::Columns(columns), .. } => columns,
            _ => &[],
        }
    }

    /// Whether the column at this index holds its value also where the row is marked as deleted: key and version do.
    pub fn outlives_a_delete(&self, column: usize) -> bool {
        self.version().contains(&column) || self.key().contains(&column)
    }

    /// Whether the database has to take null in the column at this index.
    pub fn takes_null(&self, column: usize) -> bool {
        let is_emptied = matches!(self.kind, TableKind::Keyed { marks_deletes: true, .. })
            && !self.outlives_a_delete(column);
        self.columns[column].is_nullable || is_emptied
    }

    /// Whether a delete leaves a mark.
    pub const fn marks_deletes(&self) -> bool {
        matches!(self.kind, TableKind::Keyed { marks_deletes: true, .. })
    }
}

impl TableColumn {
    /// A column that holds a value in each row.
    pub const fn new(name: &'static str, kind: Type) -> Self {
        Self { name: Name::Borrowed(name), kind, is_nullable: false, answer: None }
    }

    /// A column that may hold nothing.
    pub fn nullable(name: &'static str, kind: Type) -> Self {
        Self { is_nullable: true, ..Self::new(name, kind) }
    }

    /// A column that holds the field of the model's answer at this index, or nothing.
    pub fn answered(name: &'static str, kind: Type, field: usize) -> Self {
        Self { answer: Some(field), ..Self::nullable(name, kind) }
    }
}

/// An appended table that keeps all versions of the rows of a keyed one, with its columns and a column `ingested_at`, which the
/// database fills; days of it may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The index of the appended table.
    pub versions: usize,
    /// The index of the keyed table.
    pub latest: usize,
    /// The view that computes the keyed table from the appended one; it says `stream`, `partition`, `log` and `position`
    /// besides.
    pub view: Name,
}

/// The names that the engine gives to columns of its own.
const RESERVED: [&str; 9] =
    ["origin", "position", "deleted_at", "flow", "stream", "partition", "log", "n", "ingested_at"];

/// Checks the tables, the outputs, the tops and the model that a flow describes.
///
/// # Errors
/// A sentence that names the flow, the table and the column.
pub fn check(flow: &dyn Flow) -> Result<(), String> {
    let wrong = |what: String| Err(format!("the flow {} {what}", flow.name()));
    if !is_flow_name(flow.name()) {
        return wrong("has a name that is not an identifier: a-z, 0-9 and - only".to_owned());
    }
    for (index, table) in flow.tables().iter().enumerate() {
        let name = &table.name;
        if !is_identifier(name) {
            return wrong(format!(
                "names a table {name:?}, which is not an identifier: a-z, 0-9 and _"
            ));
        }
        if flow.tables()[..index].iter().any(|other| other.name == *name) {
            return wrong(format!("describes the table {name} twice"));
        }
        if let Err(what) = check_columns(flow, table) {
            return wrong(format!("describes the table {name} with {what}"));
        }
    }
    for History { versions, latest, view } in flow.histories() {
        let of = |index: &usize| flow.tables().get(*index);
        let (versions, latest) = (of(versions), of(latest));
        let is_history = versions.zip(latest).is_some_and(|(versions, latest)| {
            versions.kind == TableKind::Appended
                && matches!(latest.kind, TableKind::Keyed { .. })
                && latest.columns.iter().all(|column| {
                    versions
                        .columns
                        .iter()
                        .any(|other| (&other.name, other.kind) == (&column.name, column.kind))
                })
        });
        if !is_history || !is_identifier(view) {
            return wrong(format!("describes a history {view:?} of tables that are none"));
        }
    }
    for (index, Output { name, topic, .. }) in flow.outputs().iter().enumerate() {
        if !is_identifier(name) {
            return wrong(format!(
                "names an output {name:?}, which is not an identifier: a-z, 0-9 and _"
            ));
        }
        if topic.is_empty() {
            return wrong(format!("names no topic for its output {name}"));
        }
        if flow.outputs()[..index].iter().any(|other| other.name == *name) {
            return wrong(format!("describes the output {name} twice"));
        }
    }
    top::check(flow).and_then(|()| check_model(flow)).or_else(wrong)
}

fn check_columns(flow: &dyn Flow, table: &Table) -> Result<(), String> {
    for (index, column) in table.columns.iter().enumerate() {
        let name = &column.name;
        if !is_identifier(name) {
            return Err(format!("a column {name:?}, which is not an identifier: a-z, 0-9 and _"));
        }
        if RESERVED.contains(&&**name) {
            return Err(format!("a column {name}, a name that the engine reserves"));
        }
        if table.columns[..index].iter().any(|other| other.name == *name) {
            return Err(format!("the column {name} twice"));
        }
        if let Type::Decimal { precision, scale } = column.kind
            && (precision == 0 || precision > 18 || scale > precision)
        {
            return Err(format!("a column {name} of numeric({precision},{scale}): 1 to 18 digits"));
        }
        if let Some(answer) = column.answer
            && flow.model().is_none_or(|model| answer >= model.answers.len())
        {
            return Err(format!("a column {name} of an answer that no model gives"));
        }
    }
    let column = |index: usize| {
        table.columns.get(index).ok_or(format!("a key or version that is not a column: {index}"))
    };
    for &index in table.key() {
        let TableColumn { name, is_nullable, .. } = column(index)?;
        if *is_nullable {
            return Err(format!("a nullable column {name} in its key"));
        }
    }
    match &table.kind {
        TableKind::Keyed { key, .. } | TableKind::Counters { key } if key.is_empty() => {
            return Err("no key".to_owned());
        }
        TableKind::Keyed { version: Version::Columns(versions), .. } => {
            if versions.is_empty() {
                return Err("a version of no columns".to_owned());
            }
            for &index in versions {
                let TableColumn { name, kind, is_nullable, .. } = column(index)?;
                if *is_nullable {
                    return Err(format!("a nullable version {name}"));
                }
                if *kind == Type::Json {
                    return Err(format!("a version {name} that has no order"));
                }
            }
        }
        TableKind::Appended | TableKind::Keyed { .. } => {}
        TableKind::Counters { key } => {
            let sums = table.columns.iter().enumerate().filter(|(index, _)| !key.contains(index));
            for (_, TableColumn { name, kind, .. }) in sums {
                if !matches!(kind, Type::Integer | Type::Decimal { .. }) {
                    return Err(format!("a counter {name} that is not a number"));
                }
            }
        }
    }
    Ok(())
}

fn check_model(flow: &dyn Flow) -> Result<(), String> {
    let Some(model) = flow.model() else { return Ok(()) };
    let Some(table) = flow.tables().get(model.table) else {
        return Err("shows the model a table that it does not describe".to_owned());
    };
    let shown = model.request.iter().chain([&model.id]);
    match shown.into_iter().find(|&&index| index >= table.columns.len()) {
        Some(index) => Err(format!("shows the model a column that {} lacks: {index}", table.name)),
        None => Ok(()),
    }
}

fn is_flow_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|char| matches!(char, 'a'..='z' | '0'..='9' | '-'))
}

/// Names that need no quotes in either database. Postgres truncates longer ones.
fn is_identifier(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|char| matches!(char, 'a'..='z' | '0'..='9' | '_'))
}
