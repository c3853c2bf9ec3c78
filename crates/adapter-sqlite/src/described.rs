//! Whether the tables are as the flows describe them.

use diesel::sql_types::{Bool, Text};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_domain::Type;
use tally_ports::{Fault, KnownFlow, StopKind};

use crate::table::{ExistingColumn, difference};
use crate::{Failure, Settings};

/// Makes sure that the flows' tables are as described: another column, type or nullability is a wrong setting.
pub(crate) fn check(
    connection: &mut SqliteConnection,
    settings: &Settings,
    flows: &[KnownFlow],
) -> Result<(), Failure> {
    #[derive(QueryableByName)]
    struct Column {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Bool)]
        takes_null: bool,
        #[diesel(sql_type = Bool)]
        has_default: bool,
    }
    for KnownFlow { flow, .. } in flows {
        for table in flow.tables() {
            let columns: Vec<Column> = sql_query(
                "select name, lower(type) as kind, not (\"notnull\" or pk > 0) as takes_null, \
                 dflt_value is not null as has_default from pragma_table_info(?)",
            )
            .bind::<Text, _>(&*table.name)
            .load(connection)?;
            let found =
                columns.into_iter().map(|Column { name, kind, takes_null, has_default }| {
                    ExistingColumn {
                        name,
                        kind,
                        takes_null: Some(takes_null),
                        may_be_left_out: takes_null || has_default,
                    }
                });
            let found: Vec<ExistingColumn> = found.collect();
            if let Some(what) = difference(table, &found, fits) {
                let (path, name, flow) = (settings.path.display(), &table.name, flow.name());
                let message = format!(
                    "database {path}: the table {name} is not as the flow {flow} describes it: {what}"
                );
                return Err(Fault::stop(StopKind::Setting, message).into());
            }
        }
    }
    Ok(())
}

fn fits(name: &str, kind: Option<Type>, found: &str) -> bool {
    let is_integer = match kind {
        Some(kind) => matches!(kind, Type::Boolean | Type::Integer),
        None => !matches!(name, "deleted_at" | "flow" | "stream"),
    };
    found == if is_integer { "integer" } else { "text" }
}
