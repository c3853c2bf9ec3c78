//! Columns that must not be kept of a dead letter.

use std::ops::Range;

use bytes::Bytes;
use encoding_rs::Encoding;
use tally_domain::{Column, Kind};
use tally_ports::privacy::{MASK, masked, unreadable};
use tally_ports::{Mask, Raw};

use crate::dead_letter::{DELIMITER, ENCODING, HEADER};
use crate::framing::Width;

/// Masks columns of records of files, found by the header line that travels with each.
#[derive(Debug)]
pub struct CsvMask {
    names: Vec<String>,
    /// Whether the key, which is the id's text, is one of them.
    is_key_masked: bool,
}

impl CsvMask {
    /// Masks the columns of these names, whether they are among the flow's `columns` or not.
    pub fn new(names: &[String], columns: &[Column]) -> Self {
        let is_masked = |column: &Column| names.iter().any(|name| *name == column.name);
        let is_key_masked =
            columns.iter().any(|column| column.kind == Kind::Id && is_masked(column));
        Self { names: names.to_vec(), is_key_masked }
    }

    fn payload(&self, raw: &Raw) -> Option<Bytes> {
        let encoding = Encoding::for_label(raw.header(ENCODING)?)?;
        let header = without_mark(raw.header(HEADER)?).trim_ascii_end();
        let delimiter = *raw.header(DELIMITER)?.first()?;
        let line = raw.payload.as_deref()?;
        let (names, fields) = (fields(header, delimiter)?, fields(line, delimiter)?);
        let names: Option<Vec<String>> =
            names.into_iter().map(|name| column_name(&header[name], encoding)).collect();
        let names = names?;
        let is_last_empty = matches!(&line[fields.last()?.clone()], b"" | b"\"\"");
        let width = Width::of_header(names.len(), names.last()?.is_empty());
        if !width.admits(fields.len(), is_last_empty) {
            return None;
        }

        let mut text = Vec::with_capacity(line.len());
        let mut end = 0;
        for (name, field) in names.into_iter().zip(fields) {
            if !self.names.contains(&name) {
                continue;
            }
            text.extend_from_slice(&line[end..field.start]);
            text.extend_from_slice(MASK.as_bytes());
            end = field.end;
        }
        text.extend_from_slice(&line[end..]);
        Some(text.into())
    }
}

impl Mask for CsvMask {
    fn mask(&self, raw: &Raw) -> Raw {
        let Some(payload) = self.payload(raw) else { return unreadable(raw, &self.names) };
        let key = raw.key.clone().filter(|_| !self.is_key_masked);
        Raw { key, ..masked(raw, Some(payload), &self.names) }
    }
}

/// Where the fields of a line are, quotes included; `None` for a line that is not one record.
fn fields(line: &[u8], delimiter: u8) -> Option<Vec<Range<usize>>> {
    let mut fields = Vec::new();
    let mut start = 0;
    loop {
        let end = match line.get(start) {
            Some(b'"') => after_quotes(line, start + 1)?,
            _ => start + memchr::memchr(delimiter, &line[start..]).unwrap_or(line.len() - start),
        };
        fields.push(start..end);
        match line.get(end) {
            None => return Some(fields),
            Some(&next) if next == delimiter => start = end + 1,
            Some(_) => return None,
        }
    }
}

/// What follows the quote that closes a field; inside, a quote is written twice.
fn after_quotes(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(b'"', &line[at..])? + 1;
        if line.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

/// The name as the settings spell it.
fn column_name(field: &[u8], encoding: &'static Encoding) -> Option<String> {
    let inner = field.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
    let name =
        encoding.decode_without_bom_handling_and_without_replacement(inner.unwrap_or(field))?;
    Some(name.replace("\"\"", "\"").trim().to_owned())
}

fn without_mark(header: &[u8]) -> &[u8] {
    header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header)
}

#[cfg(test)]
mod tests {
    use tally_domain::Flow;
    use tally_domain::transactions::Transactions;
    use tally_ports::Headers;

    use super::*;

    const COLUMNS: &[u8] =
        b"\xef\xbb\xbfid;\"merchant\";amount;timestamp;description;operation_type;side;note\r\n";

    fn raw(payload: &'static [u8]) -> Raw {
        raw_of(COLUMNS, "UTF-8", payload)
    }

    fn raw_of(header: &'static [u8], encoding: &'static str, payload: &'static [u8]) -> Raw {
        let headers = [(HEADER, header), (DELIMITER, b";"), (ENCODING, encoding.as_bytes())];
        let headers: Headers =
            headers.map(|(name, value)| (name.to_owned(), Some(Bytes::from_static(value)))).into();
        Raw {
            key: Some(Bytes::from_static(b"7")),
            payload: Some(Bytes::from_static(payload)),
            headers,
            timestamp: None,
            line: Some(3),
        }
    }

    #[track_caller]
    fn check(columns: &[&str], payload: &'static [u8], masked: &str) -> Raw {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let found = CsvMask::new(&columns, Transactions::default().columns()).mask(&raw(payload));
        assert_eq!(str::from_utf8(found.payload.as_deref().unwrap()).unwrap(), masked);
        assert_eq!(found.header("masked").unwrap(), &columns.join(","));
        assert_eq!(found.line, Some(3));
        found
    }

    #[test]
    fn named_columns_are_masked_and_the_others_stay_as_they_were() {
        let line = b"7;\"Jane; \"\"J\"\"\nDoe\";-1,50;2024-01-15;\"x\";payment;debit;";
        let found =
            check(&["merchant", "note"], line, "7;***;-1,50;2024-01-15;\"x\";payment;debit;***");
        assert_eq!(found.key.as_deref(), Some(&b"7"[..]));
        let found = check(
            &["id"],
            line,
            "***;\"Jane; \"\"J\"\"\nDoe\";-1,50;2024-01-15;\"x\";payment;debit;",
        );
        assert_eq!(found.key, None);
    }

    #[test]
    fn columns_are_found_whatever_their_encoding_and_quotes() {
        let columns = ["Händler".to_owned(), "a \"b\"".to_owned()];
        let raw = raw_of(b"id; H\xe4ndler;\"a \"\"b\"\"\";x", "windows-1252", b"7;Jane;Joe;\xe4");
        let found = CsvMask::new(&columns, Transactions::default().columns()).mask(&raw);
        assert_eq!(found.payload.as_deref(), Some(&b"7;***;***;\xe4"[..]));
    }

    #[test]
    fn what_is_no_record_is_kept_as_length_and_hash() {
        for line in [&b"7;Jane"[..], b"7;\"Jane;1;2;3;4;5;6", b"7;\"Jane\"x;1;2;3;4;5;6", b""] {
            let shown = format!("{} bytes, BLAKE3 {}", line.len(), blake3::hash(line).to_hex());
            let found = check(&["merchant"], line, &shown);
            assert_eq!(found.key, None);
        }
    }
}
