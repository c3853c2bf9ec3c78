//! Whether the tables are as the flows describe them.

use tally_domain::Type;
use tally_ports::{Fault, KnownFlow, StopKind};
use tokio_postgres::{Client, Error, Row};

use crate::table::{ExistingColumn, difference};

const COLUMNS: &str = "
    select attname::text, format_type(atttypid, atttypmod), attnotnull, atthasdef or attidentity <> '', relkind = 'v'
    from pg_attribute join pg_class on pg_class.oid = attrelid
    where attrelid = to_regclass(quote_ident($1)) and attnum > 0 and not attisdropped";

/// The first difference from the flows' descriptions: a wrong setting that names table and column.
pub(crate) async fn check(client: &Client, flows: &[KnownFlow]) -> Result<Option<Fault>, Error> {
    for KnownFlow { flow, .. } in flows {
        for table in flow.tables() {
            let columns = client.query(COLUMNS, &[&&*table.name]).await?;
            let found: Vec<ExistingColumn> = columns.iter().map(found).collect();
            if let Some(what) = difference(table, &found, fits) {
                let (name, flow) = (&table.name, flow.name());
                let message = format!(
                    "postgres: the table {name} is not as the flow {flow} describes it: {what}"
                );
                return Ok(Some(Fault::stop(StopKind::Setting, message)));
            }
        }
    }
    Ok(None)
}

fn found(row: &Row) -> ExistingColumn {
    let (is_not_null, has_default, is_view): (bool, bool, bool) =
        (row.get(2), row.get(3), row.get(4));
    ExistingColumn {
        name: row.get(0),
        kind: row.get(1),
        takes_null: (!is_view).then_some(!is_not_null),
        may_be_left_out: !is_not_null || has_default,
    }
}

fn fits(name: &str, kind: Option<Type>, found: &str) -> bool {
    match kind {
        Some(Type::Boolean) => found == "boolean",
        Some(Type::Integer) => found == "bigint",
        Some(Type::Decimal { precision, scale }) => {
            found == format!("numeric({precision},{scale})")
        }
        Some(Type::Uuid) => found == "uuid",
        Some(Type::Text { .. }) => found == "text" || found.starts_with("character varying"),
        Some(Type::Json) => matches!(found, "json" | "jsonb"),
        Some(Type::Timestamp) => found == "timestamp without time zone",
        Some(Type::Instant) => found == "timestamp with time zone",
        None => match name {
            "deleted_at" => found == "timestamp with time zone",
            "flow" | "stream" => found == "text",
            "partition" | "n" => found == "integer",
            _ => found == "bigint",
        },
    }
}
