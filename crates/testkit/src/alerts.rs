//! A flow for tests that only publishes: it writes no table.

use std::sync::Arc;

use bytes::Bytes;
use tally_domain::{
    Column, Field, Flow, Incoming, Kind, Output, Publication, Raw, Reason, Record, Stage, Table,
};
use tally_ports::{KnownFlow, Migrations, Row};

const COLUMNS: &[Column] = &[Column::new("text", Kind::Text)];
const OUTPUTS: &[Output] = &[Output::new("alerts", "alerts-out")];

/// The flow of alerts.
#[derive(Clone, Debug, Default)]
pub struct Alerts;

impl Alerts {
    /// The flow's name.
    pub const NAME: &'static str = "alerts";

    /// The flow, without tables.
    pub fn known() -> KnownFlow {
        let none = Migrations { name: Self::NAME, scripts: &[] };
        KnownFlow {
            flow: Arc::new(Self),
            postgres: none,
            sqlite: none,
            avro: None,
            generator: None,
        }
    }
}

impl Flow for Alerts {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        &[]
    }

    fn outputs(&self) -> &[Output] {
        OUTPUTS
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let text = incoming.fields.into_iter().next().and_then(Field::into_text);
        let text = text.filter(|text| !text.is_empty());
        let text =
            text.ok_or_else(|| Reason::new(Stage::Validate, "text_missing", "there is no text"))?;
        Ok(published([publication("a", &text)]))
    }
}

/// A record that publishes this.
pub fn published(publications: impl IntoIterator<Item = Publication>) -> Record {
    Record { publications: publications.into_iter().collect(), ..Record::default() }
}

/// A publication to the first output, with a header of its own.
pub fn publication(key: &str, value: &str) -> Publication {
    let bytes = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    let headers = vec![("kind".to_owned(), bytes("test")), ("empty".to_owned(), None)];
    Publication { output: 0, key: bytes(key), value: bytes(value), headers }
}

/// A row that publishes each of these values.
pub fn alert(position: i64, values: &[&str]) -> Row {
    let record = published(values.iter().map(|value| publication("a", value)));
    Row { position, record, raw: Raw::default() }
}
