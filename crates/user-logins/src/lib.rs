//! User logins: checked against a JSON Schema, published with the time as text, and counted.
//!
//! A login is a JSON object, plain or in the schema registry's frame of a JSON Schema. Fields that the schema does not name are
//! passed on as they are.

mod login;

use bytes::Bytes;
use tally_domain::json_object::unframed;
use tally_domain::{
    Action, Column, Faults, Flow, Incoming, JsonObject, Kind, Output, Publication, Raw, Reason,
    Record, Stage, Table, TableColumn, TableKind, Top, Type, Write,
};
use tally_json_schema::Schema;

use self::login::Login;

/// The schema of a login.
pub const SCHEMA: &str = include_str!("../../../infra/schemas/user_login_v1.json");

/// What a login must have, any JSON value to its source: the schema says what is wrong with it.
const COLUMNS: &[Column] = &[
    Column::new("user_id", Kind::Json),
    Column::new("app_version", Kind::Json),
    Column::new("device_type", Kind::Json),
    Column::new("ip", Kind::Json),
    Column::new("locale", Kind::Json),
    Column::new("device_id", Kind::Json),
    Column::new("timestamp", Kind::Json),
];

/// What is shown of the counts.
const TOPS: &[Top] = &[
    Top::new("device types", 0, None),
    Top::new("top 2 device types", 0, Some(2)),
    Top::new("top 3 locales", 1, Some(3)),
];

/// The time of a login; all other fields are texts.
const TIMESTAMP: &str = "timestamp";

/// The flow of user logins.
#[derive(Debug)]
pub struct UserLogins {
    schema: Schema,
    tables: Vec<Table>,
    outputs: [Output; 1],
}

impl UserLogins {
    /// The flow's name.
    pub const NAME: &str = "user-logins";

    /// The flow that only publishes.
    pub fn without_counts() -> Self {
        Self { tables: Vec::new(), ..Self::default() }
    }
}

impl Default for UserLogins {
    fn default() -> Self {
        let schema = match Schema::new(SCHEMA) {
            Ok(schema) => schema,
            Err(error) => unreachable!("the schema is a constant, which tests compile: {error}"),
        };
        let text = Type::Text { limit: Some(255) };
        let tables = vec![
            counts("user_logins_by_device_type", "device_type", text),
            counts("user_logins_by_locale", "locale", text),
            counts("user_logins_by_app_version", "app_version", text),
            counts("user_logins_by_hour", "hour", Type::Timestamp),
        ];
        let processed = Output::new("processed", "user-login-processed");
        Self { schema, tables, outputs: [processed.with_processed_at("processed_at")] }
    }
}

fn counts(table: &'static str, key: &'static str, kind: Type) -> Table {
    let columns = vec![TableColumn::new(key, kind), TableColumn::new("logins", Type::Integer)];
    Table { name: table.into(), columns, kind: TableKind::Counters { key: vec![0] } }
}

impl Flow for UserLogins {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn topic(&self) -> &'static str {
        "user-login"
    }

    fn dead_letter_topic(&self) -> Option<&str> {
        Some("user-login-dead-letter")
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn tops(&self) -> &[Top] {
        if self.tables.is_empty() { &[] } else { TOPS }
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        if incoming.is_tombstone() {
            return Err(Reason::new(Stage::Decode, "tombstone", "the record has no value"));
        }
        let mut faults = Faults::default();
        let text = self.schema.check(incoming.raw, &mut faults);
        if let Some(reason) = faults.into_reason() {
            return Err(reason);
        }
        let payload = incoming.raw.payload.as_ref();
        let login = payload.zip(text).and_then(|(payload, text)| Login::parse(payload, text));
        let login = login.ok_or_else(|| {
            Reason::new(Stage::Validate, "json", "a field is there twice, or holds no text")
        })?;
        let publication = Publication {
            key: Some(login.user_id.clone().into_bytes()),
            value: Some(login.processed()),
            ..Publication::default()
        };
        let counted = login.counted().into_iter().zip(0..self.tables.len());
        let writes = counted.map(|(values, table)| Write { table, action: Action::Add, values });
        let writes = writes.collect();
        Ok(Record { writes, publications: vec![publication], ..Record::default() })
    }

    /// An absent text becomes empty and an absent time 0.
    fn repair(&self, raw: &Raw) -> Option<Bytes> {
        let (frame, text) = unframed(raw.payload.as_ref()?);
        let mut login = JsonObject::parse(str::from_utf8(text).ok()?)?;
        let absent: Vec<_> =
            COLUMNS.iter().filter(|column| login.get(&column.name).is_none()).collect();
        for Column { name, .. } in &absent {
            login.set(&**name, if *name == TIMESTAMP { "0" } else { "\"\"" });
        }
        (!absent.is_empty()).then(|| login.framed(frame))
    }
}

#[cfg(test)]
mod tests;
