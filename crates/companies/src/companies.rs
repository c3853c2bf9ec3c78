//! The flow of company events.

use tally_domain::{
    Action, Column, Faults, Flow, History, Incoming, Kind, Name, Reason, Record, Stage, Table,
    TableColumn, TableKind, Type, Version, Write,
};
use tally_json_schema::Schema;

use crate::event::{Event, RULES};

/// The schema of an event.
pub const SCHEMA: &str = include_str!("../../../infra/schemas/company_event_v1.json");

/// What an event must have, any JSON value to its source: the schema says what is wrong with it.
const COLUMNS: &[Column] = &[
    Column::new("event", Kind::Json),
    Column::new("company", Kind::Json),
    Column::new("changes", Kind::Json),
];

/// The flow of company events: each is kept, and the newest of a company is its row.
#[derive(Debug)]
pub struct Companies {
    schema: Schema,
    tables: [Table; 2],
    histories: [History; 1],
}

impl Companies {
    /// The flow's name.
    pub const NAME: &str = "companies";
}

impl Default for Companies {
    fn default() -> Self {
        let schema = match Schema::new(SCHEMA) {
            Ok(schema) => schema,
            Err(error) => unreachable!("the schema is a constant, which tests compile: {error}"),
        };
        let text = Type::Text { limit: Some(255) };
        let company = [
            TableColumn::new("id", text),
            TableColumn::new("name", text),
            TableColumn::new("organization_id", text),
            TableColumn::new("created_at", Type::Timestamp),
            TableColumn::new("updated_at", Type::Timestamp),
        ];
        let event = [TableColumn::new("event", text)];
        let changes = [TableColumn::nullable("changes", Type::Json)];
        let versions = event.into_iter().chain(company.clone()).chain(changes).collect();
        let latest =
            TableKind::Keyed { key: vec![0], version: Version::Position, marks_deletes: false };
        Self {
            schema,
            tables: [
                Table {
                    name: "companies_raw".into(),
                    columns: versions,
                    kind: TableKind::Appended,
                },
                Table { name: "companies".into(), columns: company.to_vec(), kind: latest },
            ],
            histories: [History { versions: 0, latest: 1, view: "companies_latest".into() }],
        }
    }
}

impl Flow for Companies {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn histories(&self) -> &[History] {
        &self.histories
    }

    fn rules(&self) -> &[Name] {
        &RULES
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
        let event = text.and_then(Event::parse).ok_or_else(|| {
            let why = "a field is there twice, or an integer is not written as one";
            Reason::new(Stage::Validate, "json", why)
        })?;
        let breaks = event.breaks(incoming.raw.key.as_deref());
        let [versions, latest] = event.rows();
        let writes = vec![
            Write { table: 0, action: Action::Append, values: versions },
            Write { table: 1, action: Action::Upsert, values: latest },
        ];
        Ok(Record { writes, breaks, ..Record::default() })
    }
}
