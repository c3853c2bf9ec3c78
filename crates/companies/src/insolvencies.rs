//! The flow of insolvent organisations.

use chrono::{NaiveDate, NaiveDateTime};
use tally_domain::{
    Column, Faults, Field, Flow, Incoming, Kind, Reason, Record, Stage, Table, TableColumn, Type,
    Value, timestamp,
};

const COLUMNS: &[Column] =
    &[Column::new("organization_id", Kind::Id), Column::new("insolvency_ts", Kind::Timestamp)];

/// The most characters of an organisation's id.
const LONGEST_ID: usize = 255;

/// The flow of insolvent organisations, one row each; of several the one that is read last.
#[derive(Debug)]
pub struct Insolvencies {
    tables: [Table; 1],
}

impl Insolvencies {
    /// The flow's name.
    pub const NAME: &str = "insolvencies";
}

impl Default for Insolvencies {
    fn default() -> Self {
        let columns = vec![
            TableColumn::new("organization_id", Type::Text { limit: Some(LONGEST_ID) }),
            TableColumn::new("insolvency_ts", Type::Timestamp),
        ];
        Self { tables: [Table::keyed("insolvencies", &[0], columns)] }
    }
}

impl Flow for Insolvencies {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let mut faults = Faults::default();
        let [id, at] = &incoming.fields[..] else { return Err(incomplete()) };
        let text = id.text();
        let id = faults.present("organization_id", text.as_deref()).filter(|id| {
            let fits = id.chars().count() <= LONGEST_ID && !id.contains('\0');
            if !fits {
                let what = "organization_id is longer than 255 characters, or holds a U+0000";
                faults.note("organization_id_invalid", what);
            }
            fits
        });
        let at = date(at).or_else(|| faults.timestamp("insolvency_ts", at));
        if let Some(reason) = faults.into_reason() {
            return Err(reason);
        }
        let (id, at) = id.zip(at).ok_or_else(incomplete)?;
        let values = vec![Value::Text(id.to_owned().into()), Value::Timestamp(at)];
        Ok(Record { is_asked: false, ..Record::upsert(0, values) })
    }
}

fn incomplete() -> Reason {
    Reason::new(Stage::Decode, "fields", "the record has not all fields")
}

/// Midnight of a date.
fn date(field: &Field) -> Option<NaiveDateTime> {
    let date = match field {
        Field::Date(date) => *date,
        field => NaiveDate::parse_from_str(field.text()?.trim(), "%Y-%m-%d").ok()?,
    };
    timestamp::stored(date.and_hms_opt(0, 0, 0)?)
}
