//! Copies: each record goes on to another topic as it came, under its id; nothing is kept.

use tally_domain::{
    Column, Field, Flow, Incoming, Kind, Output, Publication, Reason, Record, Stage, Table,
};

const COLUMNS: &[Column] = &[Column::new("id", Kind::Id)];

const OUTPUTS: &[Output] = &[Output::new("copies", "copied")];

#[derive(Debug)]
pub(crate) struct Copies;

impl Copies {
    pub(crate) const NAME: &str = "copies";
}

impl Flow for Copies {
    fn name(&self) -> &'static str {
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
        let [id]: [Field; 1] = incoming.fields.try_into().unwrap_or_default();
        let id = id.into_text().ok_or_else(|| {
            Reason::new(Stage::Validate, "incomplete", "id is missing or unreadable")
        })?;
        let publication = Publication {
            key: Some(id.into_bytes()),
            value: incoming.raw.payload.clone(),
            ..Publication::default()
        };
        Ok(Record { publications: vec![publication], ..Record::default() })
    }
}
