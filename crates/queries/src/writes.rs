//! The SQL that writes a table, built from its description and a [`Dialect`]. All names are quoted: they may be SQL
//! keywords.

use tally_domain::{Table, TableKind, Type, Version};

/// What differs between databases.
pub struct Dialect {
    /// The expression by which a version's value is compared.
    pub ordered: fn(Type, String) -> String,
    /// The sum of two values.
    pub sum: fn(Type, &str, &str) -> String,
    /// The text of a value.
    pub text: fn(Type, &str) -> String,
}

/// A name in SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// The columns that the engine adds to the table's own.
pub fn added(table: &Table) -> &'static [&'static str] {
    match &table.kind {
        TableKind::Keyed { marks_deletes: true, .. } => &["deleted_at", "origin", "position"],
        TableKind::Keyed { .. } => &["origin", "position"],
        TableKind::Appended => &["flow", "stream", "partition", "log", "position", "n"],
        TableKind::Counters { .. } => &[],
    }
}

/// All columns of the table: its own and those that the engine adds.
pub fn columns(table: &Table) -> Vec<String> {
    let own = table.columns.iter().map(|column| &*column.name);
    own.chain(added(table).iter().copied()).map(quoted).collect()
}

/// `insert into` with all columns; the table's rows are called `t`.
pub fn insert(table: &Table) -> String {
    format!("insert into {} as t ({})", quoted(&table.name), columns(table).join(", "))
}

/// The `on conflict` clause of an insert; `is_replay` is an expression, where replays and commits differ.
pub fn on_conflict(dialect: &Dialect, table: &Table, is_replay: Option<&str>) -> String {
    let key: Vec<String> = names(table, table.key());
    let others = (0..table.columns.len()).filter(|column| !table.key().contains(column));
    let set: Vec<String> = match &table.kind {
        TableKind::Appended => return String::new(),
        TableKind::Keyed { .. } => {
            let own = others.map(|column| quoted(&table.columns[column].name));
            let all = own.chain(added(table).iter().map(|name| quoted(name)));
            all.map(|name| format!("{name} = excluded.{name}")).collect()
        }
        TableKind::Counters { .. } => others
            .map(|column| {
                let (name, kind) =
                    (quoted(&table.columns[column].name), table.columns[column].kind);
                let sum = (dialect.sum)(kind, &format!("t.{name}"), &format!("excluded.{name}"));
                format!("{name} = {sum}")
            })
            .collect(),
    };
    let wins = wins(dialect, table, "excluded", is_replay);
    let only = wins.map(|wins| format!(" where {wins}")).unwrap_or_default();
    let key = key.join(", ");
    if set.is_empty() {
        // A counter without values; updated anyway, so that it is one of the rows touched.
        return format!(
            " on conflict ({key}) do update set {0} = excluded.{0}",
            names(table, table.key())[0]
        );
    }
    format!(" on conflict ({key}) do update set {}{only}", set.join(", "))
}

/// Whether the table holds something newer than the row called `new`; `None` where that is impossible.
pub fn is_newer_there(dialect: &Dialect, table: &Table, is_replay: Option<&str>) -> Option<String> {
    let wins = wins(dialect, table, "new", is_replay)?;
    let same: Vec<String> =
        names(table, table.key()).iter().map(|name| format!("t.{name} = new.{name}")).collect();
    let (name, same) = (quoted(&table.name), same.join(" and "));
    Some(format!("exists (select 1 from {name} as t where {same} and not ({wins}))"))
}

/// The condition under which the row called `new` replaces the one called `t`; `None` where it always does.
fn wins(dialect: &Dialect, table: &Table, new: &str, is_replay: Option<&str>) -> Option<String> {
    let TableKind::Keyed { version, .. } = &table.kind else { return None };
    let replaying = |replayed: String, committed: Option<String>| match (is_replay, committed) {
        (None, committed) => committed,
        (Some(is_replay), None) => Some(format!("(not {is_replay} or {replayed})")),
        (Some(is_replay), Some(committed)) => {
            Some(format!("case when {is_replay} then {replayed} else {committed} end"))
        }
    };
    let by_position = || {
        let in_partition = format!(
            "(select 1 from positions as a, positions as b where a.id = t.origin and b.id = {new}.origin \
             and a.flow = b.flow and a.stream = b.stream and a.partition = b.partition"
        );
        let place = format!("(b.log, {new}.position)");
        replaying(
            format!("exists {in_partition} and (a.log, t.position) <= {place})"),
            Some(format!("not exists {in_partition} and (a.log, t.position) > {place})")),
        )
    };
    match version {
        Version::LastWrite => {
            replaying(format!("(t.origin = {new}.origin and t.position <= {new}.position)"), None)
        }
        Version::Position => by_position(),
        Version::Columns(columns) => {
            let row = |of: &str| {
                let ordered = columns.iter().map(|&column| {
                    let name = quoted(&table.columns[column].name);
                    (dialect.ordered)(table.columns[column].kind, format!("{of}.{name}"))
                });
                format!("({})", ordered.collect::<Vec<_>>().join(", "))
            };
            let (stored, written) = (row("t"), row(new));
            let by_position = by_position()?;
            Some(format!("({stored} < {written} or {stored} = {written} and {by_position})"))
        }
    }
}

/// Deletes the rows that an earlier pass appended: `range` are expressions for flow, stream, partition, log, first and last
/// position.
pub fn clear(table: &Table, range: [&str; 6]) -> String {
    let [flow, stream, partition, log, first, last] = range;
    format!(
        "delete from {} where flow = {flow} and stream = {stream} and partition = {partition} and log = {log} \
         and position between {first} and {last}",
        quoted(&table.name)
    )
}

fn names(table: &Table, columns: &[usize]) -> Vec<String> {
    columns.iter().map(|&column| quoted(&table.columns[column].name)).collect()
}

/// A column as the database has it.
pub struct ExistingColumn {
    pub name: String,
    /// Its type, as the database names it.
    pub kind: String,
    /// `None` where the database does not tell, as for a view.
    pub takes_null: Option<bool>,
    /// Whether a row can be inserted without it.
    pub may_be_left_out: bool,
}

/// The first difference between a database's table and its description. `fits` returns for a column, with its type unless
/// the engine adds it, whether the database's type is the right one. Extra columns are allowed if they can be left out.
pub fn difference(
    table: &Table,
    found: &[ExistingColumn],
    fits: impl Fn(&str, Option<Type>, &str) -> bool,
) -> Option<String> {
    if found.is_empty() {
        return Some("it does not exist".to_owned());
    }
    let own = table.columns.iter().enumerate();
    let own =
        own.map(|(index, column)| (&*column.name, Some(column.kind), table.takes_null(index)));
    let added = added(table).iter().map(|&name| (name, None, name == "deleted_at"));
    let described: Vec<_> = own.chain(added).collect();
    for &(name, kind, takes_null) in &described {
        let Some(column) = found.iter().find(|column| column.name == name) else {
            return Some(format!("it has no column {name}"));
        };
        if !fits(name, kind, &column.kind) {
            return Some(format!("its column {name} is of the type {}", column.kind));
        }
        if column.takes_null.is_some_and(|takes| takes != takes_null) {
            let not = if takes_null { "takes no" } else { "takes" };
            return Some(format!("its column {name} {not} null"));
        }
    }
    let is_ours = |found: &ExistingColumn| described.iter().any(|(name, ..)| *name == found.name);
    let other = found.iter().find(|found| !is_ours(found) && !found.may_be_left_out)?;
    Some(format!("its column {} needs a value", other.name))
}
