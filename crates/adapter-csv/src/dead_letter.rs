//! A dead letter of a file, read again.

use std::collections::BTreeMap;

use bytes::Bytes;
use csv_async::ByteRecord;
use encoding_rs::Encoding;
use tally_domain::amount::Notation;
use tally_domain::{Column, Fields, Raw};
use tally_ports::{DecodedRecord, Headers, Stop, StopKind};

use crate::framing::Frame;
use crate::header::names::Names;
use crate::header::{Header, Search};
use crate::layout::{Layout, Refusal};
use crate::split::Feed;
use crate::timestamps::Formats;
use crate::{Decimal, Settings, decimal, encoding};

/// The header line's bytes.
pub const HEADER: &str = "csv.header";
/// The delimiter.
pub const DELIMITER: &str = "csv.delimiter";
/// The decimal sign in one word. Letters from before it could be undecided say `comma` or `point`, however it was
/// told.
const DECIMAL: &str = "csv.decimal";
/// The encoding's name.
pub const ENCODING: &str = "csv.encoding";
/// Of the settings of the same names those that are not the default, in JSON.
pub const COLUMNS: &str = "csv.columns";
const SKIP_LINES: &str = "csv.skip_lines";
const TIMESTAMP_FORMATS: &str = "csv.timestamp_formats";

/// What a dead letter needs in order to be read without its file.
pub fn headers(
    head: &[u8],
    header: &Header,
    encoding: &'static Encoding,
    notation: Notation,
    settings: &Settings,
) -> Headers {
    let Settings { skip_lines, columns, timestamp_formats, .. } = settings;
    let told = [
        (HEADER, Bytes::copy_from_slice(&head[header.range.clone()])),
        (DELIMITER, Bytes::copy_from_slice(&[header.delimiter])),
        (DECIMAL, Bytes::from_static(decimal::word(notation).as_bytes())),
        (ENCODING, Bytes::from_static(encoding.name().as_bytes())),
    ];
    let json = |value: serde_json::Value| Bytes::from(value.to_string());
    let set = [
        (*skip_lines > 0).then(|| (SKIP_LINES, json((*skip_lines).into()))),
        (!columns.is_empty()).then(|| (COLUMNS, json(serde_json::json!(columns)))),
        (!timestamp_formats.is_empty())
            .then(|| (TIMESTAMP_FORMATS, json(timestamp_formats.clone().into()))),
    ];
    let all = told.into_iter().chain(set.into_iter().flatten());
    all.map(|(name, value)| (name.to_owned(), Some(value))).collect()
}

/// Settings that replace those with which dead letters were read.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// See [`Settings::encoding`].
    pub encoding: Option<String>,
    /// See [`Settings::decimal`]; a record alone decides nothing, so that [`Decimal::Auto`] is undecided.
    pub decimal: Option<Decimal>,
    /// See [`Settings::columns`].
    pub columns: Option<BTreeMap<String, String>>,
    /// See [`Settings::timestamp_formats`].
    pub timestamp_formats: Option<Vec<String>>,
}

impl Overrides {
    /// Refuses what no dead letter could be read with.
    ///
    /// # Errors
    /// [`StopKind::Setting`] for an unknown encoding, a format of timestamps that is none, and a name mapped to none of
    /// the flow's `columns`.
    pub fn check(&self, columns: &[Column]) -> Result<(), Stop> {
        let wrong = |message| Stop { kind: StopKind::Setting, message };
        if let Some(label) = &self.encoding {
            encoding::by_label(label)?;
        }
        if let Some(mapped) = &self.columns {
            Names { columns, mapped }.check().map_err(wrong)?;
        }
        let formats = self.timestamp_formats.as_deref().unwrap_or_default();
        Formats::new(formats).map(drop).map_err(wrong)
    }
}

/// Reads one record again as it was read from its file, from its bytes and headers alone, but for what `overrides` replace:
/// for a replay. Says how amounts are written in it, too.
///
/// What was no record in the file is none here: a line that began a record of several lines has an open quote now,
/// code `unframed`. Fails with the code `fields` also when it has no headers of a file, or those lack one of
/// the `columns` that the flow has by now.
pub async fn decode(raw: &Raw, columns: &[Column], overrides: &Overrides) -> DecodedRecord {
    reread(raw, columns, overrides).await.map_err(Refusal::alone)
}

async fn reread(
    raw: &Raw,
    columns: &[Column],
    overrides: &Overrides,
) -> Result<(Fields, Notation), Refusal> {
    let find = |name: &str| {
        raw.header(name).ok_or_else(|| Refusal::new("fields", format!("it has no header {name}")))
    };
    let unknown = |name: &str| Refusal::new("fields", format!("its header {name} is unknown"));
    let notation = match overrides.decimal {
        Some(decimal) => decimal::notation_of(decimal),
        None => decimal::notation(find(DECIMAL)?).ok_or_else(|| unknown(DECIMAL))?,
    };
    let label = overrides
        .encoding
        .as_ref()
        .map_or_else(|| find(ENCODING).map(|label| &label[..]), |label| Ok(label.as_bytes()))?;
    let encoding = Encoding::for_label(label)
        .ok_or_else(|| Refusal::new("encoding", "its encoding is unknown"))?;
    let mapped = match &overrides.columns {
        Some(mapped) => mapped.clone(),
        None => mapped(raw).ok_or_else(|| unknown(COLUMNS))?,
    };
    let formats: Vec<String> = match &overrides.timestamp_formats {
        Some(formats) => formats.clone(),
        None => of_json(raw, TIMESTAMP_FORMATS).ok_or_else(|| unknown(TIMESTAMP_FORMATS))?,
    };
    let formats = Formats::new(&formats).map_err(|problem| Refusal::new("fields", problem))?;
    let search = Search {
        encoding,
        names: Names { columns, mapped: &mapped },
        skip_lines: 0,
        delimiter: raw.header(DELIMITER).and_then(|delimiter| delimiter.first().copied()),
    };
    let header = Header::find(find(HEADER)?, true, search)
        .await
        .map_err(|problem| Refusal::new("fields", format!("its file {problem}")))?;
    let layout = Layout::new(header, encoding, encoding, columns, formats);

    let payload = raw.payload.clone().unwrap_or_default();
    let (len, count) = match layout.framing.frame(&payload, true) {
        Frame::Record { len, fields, .. } if len == payload.len() => (len, fields),
        Frame::Bad { flaw, .. } => return Err(layout.refusal(flaw)),
        Frame::Blank { .. } => {
            return Err(Refusal::new("unframed", "it is a blank row, which is no record"));
        }
        Frame::Record { .. } | Frame::More => {
            return Err(Refusal::new("unframed", "it is not exactly one record"));
        }
    };
    let mut feed = Feed::with_capacity(len + 1);
    feed.push(&payload);
    let mut record = ByteRecord::new();
    let split = feed.split(layout.framing.delimiter).next(&mut record, len, count).await;
    split.map_err(|fault| Refusal::new("unframed", fault.to_string()))?;
    layout.fields(&payload, &record).map(|fields| (fields, notation))
}

/// The names that `csv.columns` mapped when the record was read; `None` where its header is none.
pub fn mapped(raw: &Raw) -> Option<BTreeMap<String, String>> {
    of_json(raw, COLUMNS)
}

/// The value of a header; the default where there is no such header, `None` where it is none.
fn of_json<T: Default + serde::de::DeserializeOwned>(raw: &Raw, name: &str) -> Option<T> {
    raw.header(name).map_or_else(|| Some(T::default()), |json| serde_json::from_slice(json).ok())
}
