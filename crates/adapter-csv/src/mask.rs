//! Columns that must not be kept of a dead letter.

use std::ops::Range;

use bytes::Bytes;
use encoding_rs::Encoding;
use tally_domain::{Column, Kind};
use tally_ports::privacy::{MASK, masked, unreadable};
use tally_ports::{Mask, Raw};

use crate::dead_letter::{DELIMITER, ENCODING, HEADER, mapped};
use crate::framing::Width;
use crate::header::names::{Names, is_alike};

/// Masks columns of records of files, found by the header line that travels with each.
#[derive(Debug)]
pub struct CsvMask {
    names: Vec<String>,
    /// The flow's.
    columns: Vec<Column>,
}

impl CsvMask {
    /// Masks the columns of these names, whether they are among the flow's `columns` or not. A name may be that in the
    /// header, in whatever case, or that of the flow's column that it stands for.
    pub fn new(names: &[String], columns: &[Column]) -> Self {
        Self { names: names.to_vec(), columns: columns.to_vec() }
    }

    fn is_masked(&self, name: &str) -> bool {
        self.names.iter().any(|masked| is_alike(masked, name))
    }

    /// For each name of a header whether its fields are masked, and whether the key, which is the id's text, is.
    fn masked(&self, names: &[String], raw: &Raw) -> Option<(Vec<bool>, bool)> {
        let known = Names { columns: &self.columns, mapped: &mapped(raw)? }.find(names);
        let mut is_key_masked = false;
        let masked = names.iter().zip(known).map(|(name, column)| {
            let column = column.map(|column| &self.columns[column]);
            let is_masked =
                self.is_masked(name) || column.is_some_and(|column| self.is_masked(&column.name));
            is_key_masked |= is_masked && column.is_some_and(|column| column.kind == Kind::Id);
            is_masked
        });
        let masked = masked.collect();
        Some((masked, is_key_masked))
    }

    /// The masked payload, and whether the key is masked.
    fn payload(&self, raw: &Raw) -> Option<(Bytes, bool)> {
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

        let (masked, is_key_masked) = self.masked(&names, raw)?;
        let mut text = Vec::with_capacity(line.len());
        let mut end = 0;
        for (is_masked, field) in masked.into_iter().zip(fields) {
            if !is_masked {
                continue;
            }
            text.extend_from_slice(&line[end..field.start]);
            text.extend_from_slice(MASK.as_bytes());
            end = field.end;
        }
        text.extend_from_slice(&line[end..]);
        Some((text.into(), is_key_masked))
    }
}

impl Mask for CsvMask {
    fn mask(&self, raw: &Raw) -> Raw {
        let Some((payload, is_key_masked)) = self.payload(raw) else {
            return unreadable(raw, &self.names);
        };
        let key = raw.key.clone().filter(|_| !is_key_masked);
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
    fn a_column_is_masked_by_either_of_its_names() {
        let masked = |names: &[&str], header: &'static [u8]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let mut raw = raw_of(header, "UTF-8", b"7;Jane;1");
            let mapped = Bytes::from_static(br#"{"Nummer":"id","Laden":"merchant"}"#);
            let mapped = ("csv.columns".to_owned(), Some(mapped));
            raw.headers = raw.headers.iter().cloned().chain([mapped]).collect();
            let found = CsvMask::new(&names, Transactions::default().columns()).mask(&raw);
            (found.payload.unwrap(), found.key.is_some())
        };
        let header = b"nummer;Laden;Amount";
        assert_eq!(masked(&["merchant"], header), (Bytes::from_static(b"7;***;1"), true));
        assert_eq!(masked(&["Laden", "amount"], header), (Bytes::from_static(b"7;***;***"), true));
        assert_eq!(masked(&["id"], header), (Bytes::from_static(b"***;Jane;1"), false));
        assert_eq!(masked(&["Nummer"], header), (Bytes::from_static(b"***;Jane;1"), false));
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
