//! A flow of each shape that the engine carries, and the programs linked against them alone: the proof that nothing but
//! the map of flows names one.
//!
//! | flow | its shape |
//! | --- | --- |
//! | `readings` | each record appends rows: nullable, boolean, JSON and offset columns; no model |
//! | `profiles` | each record appends a raw row and upserts the latest one, by a composite key and a version column |
//! | `contracts` | upserts and deletes that leave marks, by position; tombstones are skipped |
//! | `clicks` | each record adds to two counters |
//! | `claims` | a model on a path of its own answers with two columns |
//! | `shipments` | a JSON Schema checks each record, which is appended as a whole |
//! | `alerts` | each record is published and adds to a counter: directly |
//! | `orders` | each record upserts a row and publishes one or two: through the outbox |

mod alerts;
mod claims;
mod clicks;
mod contracts;
mod orders;
mod profiles;
mod readings;
mod shipments;

use std::sync::Arc;

use tally_domain::{Field, Flow, Reason, Stage, Table, TableColumn, TableKind, Type, Version};
use tally_ports::{KnownFlow, Migrations};

/// All of them.
pub fn all() -> Vec<KnownFlow> {
    vec![
        known(readings::Readings::default(), "readings", readings::POSTGRES, readings::SQLITE),
        known(profiles::Profiles::default(), "profiles", profiles::POSTGRES, profiles::SQLITE),
        known(contracts::Contracts::default(), "contracts", contracts::POSTGRES, contracts::SQLITE),
        known(clicks::Clicks::default(), "clicks", clicks::POSTGRES, clicks::SQLITE),
        known(claims::Claims::default(), "claims", claims::POSTGRES, claims::SQLITE),
        known(shipments::Shipments::default(), "shipments", shipments::POSTGRES, shipments::SQLITE),
        known(alerts::Alerts::default(), "alerts", alerts::POSTGRES, alerts::SQLITE),
        known(orders::Orders::default(), "orders", orders::POSTGRES, orders::SQLITE),
    ]
}

fn known(
    flow: impl Flow,
    name: &'static str,
    postgres: &'static [&'static str],
    sqlite: &'static [&'static str],
) -> KnownFlow {
    KnownFlow {
        flow: Arc::new(flow),
        postgres: Migrations { name, scripts: postgres },
        sqlite: Migrations { name, scripts: sqlite },
        avro: None,
        generator: None,
    }
}

const TEXT: Type = Type::Text { limit: Some(200) };

fn appended(name: &'static str, columns: Vec<TableColumn>) -> Table {
    Table { name: name.into(), columns, kind: TableKind::Appended }
}

fn keyed(
    name: &'static str,
    key: &[usize],
    version: Version,
    marks_deletes: bool,
    columns: Vec<TableColumn>,
) -> Table {
    let kind = TableKind::Keyed { key: key.to_vec(), version, marks_deletes };
    Table { name: name.into(), columns, kind }
}

/// A text without the blanks around it, unless that leaves nothing.
fn text(field: Option<&Field>) -> Option<String> {
    let text = field?.text()?.trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}

/// A whole number.
fn integer(field: Option<&Field>) -> Option<i64> {
    text(field)?.parse().ok()
}

/// True or false, whatever the source makes of it.
fn boolean(field: Option<&Field>) -> Option<bool> {
    match field? {
        Field::Boolean(value) => Some(*value),
        other => text(Some(other))?.parse().ok(),
    }
}

/// The text of a JSON value; from a file, the field's own.
fn json(field: Option<&Field>) -> Option<String> {
    match field? {
        Field::Json(json) => Some(json.to_string()),
        Field::Boolean(value) => Some(value.to_string()),
        other => text(Some(other)),
    }
}

fn incomplete(what: &str) -> Reason {
    Reason::new(Stage::Validate, "incomplete", format!("{what} is missing or unreadable"))
}
