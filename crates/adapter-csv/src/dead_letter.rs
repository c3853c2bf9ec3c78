//! A dead letter of a file, read again.

use bytes::Bytes;
use csv_async::ByteRecord;
use encoding_rs::Encoding;
use tally_domain::amount::Notation;
use tally_domain::{Column, Fields};
use tally_ports::{DecodedRecord, Headers, Raw};

use crate::decimal;
use crate::framing::Frame;
use crate::header::Header;
use crate::layout::{Layout, Refusal};
use crate::split::Feed;

/// The header line's bytes.
pub const HEADER: &str = "csv.header";
/// The delimiter.
pub const DELIMITER: &str = "csv.delimiter";
/// The decimal sign in one word. Letters from before it could be undecided say `comma` or `point`, however it was
/// told.
const DECIMAL: &str = "csv.decimal";
/// The encoding's name.
pub const ENCODING: &str = "csv.encoding";

/// What a dead letter needs in order to be read without its file.
pub fn headers(
    head: &[u8],
    header: &Header,
    encoding: &'static Encoding,
    notation: Notation,
) -> Headers {
    let headers = [
        (HEADER, Bytes::copy_from_slice(&head[header.range.clone()])),
        (DELIMITER, Bytes::copy_from_slice(&[header.delimiter])),
        (DECIMAL, Bytes::from_static(decimal::word(notation).as_bytes())),
        (ENCODING, Bytes::from_static(encoding.name().as_bytes())),
    ];
    headers.map(|(name, value)| (name.to_owned(), Some(value))).into()
}

/// Reads one record again as it was read from its file, from its bytes and headers alone: for a replay. Says how amounts
/// are written in it, too.
///
/// What was no record in the file is none here: a line that began a record of several lines has an open quote now,
/// code `unframed`. Fails with the code `fields` also when it has no headers of a file, or those lack one of
/// the `columns` that the flow has by now.
pub async fn decode(raw: &Raw, columns: &[Column]) -> DecodedRecord {
    reread(raw, columns).await.map_err(Refusal::alone)
}

async fn reread(raw: &Raw, columns: &[Column]) -> Result<(Fields, Notation), Refusal> {
    let find = |name: &str| {
        raw.header(name).ok_or_else(|| Refusal::new("fields", format!("it has no header {name}")))
    };
    let notation = decimal::notation(find(DECIMAL)?)
        .ok_or_else(|| Refusal::new("fields", format!("its header {DECIMAL} is unknown")))?;
    let encoding = Encoding::for_label(find(ENCODING)?)
        .ok_or_else(|| Refusal::new("encoding", "its encoding is unknown"))?;
    let header = Header::find(find(HEADER)?, true, encoding, columns)
        .await
        .map_err(|problem| Refusal::new("fields", format!("its file {problem}")))?;
    let layout = Layout::new(header, encoding);

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
