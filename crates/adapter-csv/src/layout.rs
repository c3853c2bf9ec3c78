//! From a record's bytes to the flow's fields.

use bytes::Bytes;
use csv_async::ByteRecord;
use encoding_rs::{Encoding, UTF_8};
use memchr::memchr_iter;
use tally_domain::{ByteString, Column, Field, Fields, Kind, Reason, Stage};

use crate::framing::{Flaw, Framing, Width};
use crate::header::Header;
use crate::timestamps::Formats;

/// How the rows of a file are read.
#[derive(Debug)]
pub struct Layout {
    pub encoding: &'static Encoding,
    pub framing: Framing,
    width: Width,
    /// A name for each of the file's columns.
    names: Vec<String>,
    /// For each of the file's columns the index of the flow's column that it is, if it is one.
    columns: Vec<Option<usize>>,
    /// How many columns the flow has.
    count: usize,
    /// The field with the record's id.
    id: Option<usize>,
    /// The flow's columns with timestamps, where their formats are set.
    timestamps: Vec<usize>,
    formats: Formats,
    /// What is said of a field that is not in the encoding.
    undecodable: String,
}

/// Why a record is none: a code and words for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    code: &'static str,
    message: String,
}

impl Layout {
    /// `written_in` is the encoding of the file, of which the text was made that is in `encoding`.
    pub fn new(
        header: Header,
        encoding: &'static Encoding,
        written_in: &'static Encoding,
        columns: &[Column],
        formats: Formats,
    ) -> Self {
        let is_set = !formats.is_empty();
        let is_timestamp = |column: usize| is_set && columns[column].kind == Kind::Timestamp;
        let timestamps = header.columns.iter().copied().flatten();
        let setting = if written_in == encoding { " (csv.encoding)" } else { "" };
        Self {
            encoding,
            timestamps: timestamps.filter(|column| is_timestamp(*column)).collect(),
            formats,
            undecodable: format!("is not valid {}{setting}", written_in.name()),
            framing: header.framing(),
            width: header.width,
            names: header.names,
            count: header.columns.iter().flatten().count(),
            columns: header.columns,
            id: header.id,
        }
    }

    /// What the flow's columns hold in the record that `payload` is, which csv-async split into `record`. Every field has
    /// to be in the encoding, also those that are no column.
    ///
    /// In UTF-8 the texts are parts of the payload, but those with quotes in them.
    pub fn fields(&self, payload: &Bytes, record: &ByteRecord) -> Result<Fields, Refusal> {
        let mut fields = if self.encoding == UTF_8 {
            self.shared(payload, record)?
        } else {
            self.decoded(record)?
        };
        for &column in &self.timestamps {
            self.formats.read(&mut fields[column]);
        }
        Ok(fields)
    }

    fn shared(&self, payload: &Bytes, record: &ByteRecord) -> Result<Fields, Refusal> {
        let Ok(payload) = ByteString::try_from(payload.clone()) else {
            let is_invalid = |field: &[u8]| str::from_utf8(field).is_err();
            return Err(self.undecodable(record.iter().position(is_invalid).unwrap_or_default()));
        };
        let mut fields = vec![Field::Absent; self.count];
        let mut rest = &*payload;
        for (place, (field, column)) in record.iter().zip(&self.columns).enumerate() {
            let unchanged = next_unchanged(&mut rest, field);
            let Some(column) = *column else { continue };
            let text = match unchanged {
                Some(part) => payload.slice_ref(part),
                None => ByteString::try_from(field).map_err(|_| self.undecodable(place))?,
            };
            fields[column] = Field::Text(text);
        }
        Ok(fields)
    }

    /// The same in another encoding than UTF-8.
    fn decoded(&self, record: &ByteRecord) -> Result<Fields, Refusal> {
        let mut fields = vec![Field::Absent; self.count];
        for (place, field) in record.iter().enumerate() {
            let text = self
                .encoding
                .decode_without_bom_handling_and_without_replacement(field)
                .ok_or_else(|| self.undecodable(place))?;
            if let Some(&Some(column)) = self.columns.get(place) {
                fields[column] = Field::Text(text.into_owned().into());
            }
        }
        Ok(fields)
    }

    /// The text of the id: among `content`, or in `record` where another field is not in the encoding. None where there is
    /// none or it is no text.
    pub fn key(&self, content: &Result<Fields, Refusal>, record: &ByteRecord) -> Option<Bytes> {
        let place = self.id?;
        let key = if let Ok(fields) = content {
            let Field::Text(text) = fields.get((*self.columns.get(place)?)?)? else { return None };
            text.as_bytes().clone()
        } else {
            let id = record.get(place).filter(|id| str::from_utf8(id).is_ok())?;
            Bytes::copy_from_slice(id)
        };
        (!key.is_empty()).then_some(key)
    }

    fn undecodable(&self, field: usize) -> Refusal {
        Refusal::new("encoding", format!("{} {}", self.column(field), self.undecodable))
    }

    /// Why a line with this flaw is no record.
    pub fn refusal(&self, flaw: Flaw) -> Refusal {
        let expected = self.width.columns();
        match flaw {
            Flaw::Fields(1) => Refusal::new("fields", format!("1 field instead of {expected}")),
            Flaw::Fields(found) => {
                Refusal::new("fields", format!("{found} fields instead of {expected}"))
            }
            Flaw::TooManyFields => Refusal::new("fields", format!("more than {expected} fields")),
            Flaw::AfterQuote => Refusal::new(
                "unframed",
                "after a closing quote comes something else than a delimiter or a line end",
            ),
            Flaw::OpenQuote => {
                Refusal::new("unframed", "a quote is not closed until the end of the file")
            }
            Flaw::TooLong => {
                Refusal::new("too_long", "the record that starts here is longer than 1 MiB")
            }
        }
    }

    /// What a message calls a field.
    fn column(&self, field: usize) -> String {
        match self.names.get(field) {
            Some(name) if !name.is_empty() => format!("column {name}"),
            _ => format!("field {}", field + 1),
        }
    }
}

/// Passes over the next field of a record, of which `rest` is left, and answers the part of it that is the field as it was
/// split: none where that is not the same, as quotes in a quoted field are written twice.
fn next_unchanged<'a>(rest: &mut &'a str, field: &[u8]) -> Option<&'a str> {
    let is_quoted = rest.starts_with('"');
    let start = usize::from(is_quoted);
    let doubled = if is_quoted { memchr_iter(b'"', field).count() } else { 0 };
    let unchanged = rest.get(start..start + field.len());
    let next = 2 * start + field.len() + doubled + 1;
    *rest = rest.get(next..).unwrap_or_default();
    unchanged.filter(|part| doubled == 0 && part.as_bytes() == field)
}

impl Refusal {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The reason of a record in a file.
    pub fn at_line(self, line: u64) -> Reason {
        Reason::new(Stage::Decode, self.code, format!("line {line}: {}", self.message))
    }

    /// The reason of a record on its own.
    pub fn alone(self) -> Reason {
        Reason::new(Stage::Decode, self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(encoding: &'static Encoding) -> Layout {
        let width = Width::of_header(2, false);
        Layout {
            encoding,
            framing: Framing { delimiter: b';', width: Some(width) },
            width,
            names: vec!["b".to_owned(), "a".to_owned()],
            columns: vec![Some(1), Some(0)],
            count: 2,
            id: Some(1),
            timestamps: Vec::new(),
            formats: Formats::default(),
            undecodable: format!("is not valid {} (csv.encoding)", encoding.name()),
        }
    }

    #[track_caller]
    fn check(encoding: &'static Encoding, record: [&[u8]; 2], expected: Result<[&str; 2], &str>) {
        let payload = Bytes::from(record.join(&b';'));
        let record = ByteRecord::from(record.to_vec());
        let found = layout(encoding).fields(&payload, &record);
        let expected = match expected {
            Ok(texts) => Ok(texts.map(|text| Field::Text(text.into())).to_vec()),
            Err(message) => Err(Refusal::new("encoding", message)),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn every_field_must_be_in_the_encoding() {
        use encoding_rs::{SHIFT_JIS, WINDOWS_1252};

        check(UTF_8, [b"a", b"\xc3\xa9"], Ok(["é", "a"]));
        check(UTF_8, [b"a", b"\xe9"], Err("column a is not valid UTF-8 (csv.encoding)"));
        check(UTF_8, [b"\xc3", b"\xa9"], Err("column b is not valid UTF-8 (csv.encoding)"));
        check(WINDOWS_1252, [b"a", b"\xe9\x80"], Ok(["é€", "a"]));
        check(SHIFT_JIS, [b"a", b"\x83\x65"], Ok(["テ", "a"]));
        check(SHIFT_JIS, [b"\x83", b"\x65"], Err("column b is not valid Shift_JIS (csv.encoding)"));
    }

    #[test]
    fn the_key_is_the_text_of_the_id() {
        let key = |record: [&[u8]; 2]| {
            let layout = layout(UTF_8);
            let payload = Bytes::from(record.join(&b';'));
            let record = ByteRecord::from(record.to_vec());
            layout.key(&layout.fields(&payload, &record), &record)
        };
        assert_eq!(key([b"x", b"7"]), Some(Bytes::from_static(b"7")));
        assert_eq!(key([b"\xff", b"7"]), Some(Bytes::from_static(b"7")));
        assert_eq!(key([b"x", b""]), None);
        assert_eq!(key([b"x", b"\xff"]), None);
    }

    #[test]
    fn fields_are_found_in_their_record() {
        let mut rest = "a;\"b;\";\"say \"\"hi\"\"\";\"\"\"\";;\"\";c\"d;é";
        let fields = ["a", "b;", "say \"hi\"", "\"", "", "", "c\"d", "é"];
        let found = fields.map(|field| next_unchanged(&mut rest, field.as_bytes()));
        let expected =
            [Some("a"), Some("b;"), None, None, Some(""), Some(""), Some("c\"d"), Some("é")];
        assert_eq!(found, expected);
        assert_eq!(rest, "");
    }

    #[test]
    fn a_field_that_is_not_where_it_should_be_is_not_found() {
        assert_eq!(next_unchanged(&mut "é;b", b"\xc3"), None);
        assert_eq!(next_unchanged(&mut "a", b"abc"), None);
        assert_eq!(next_unchanged(&mut "abc", b"abd"), None);
    }
}
