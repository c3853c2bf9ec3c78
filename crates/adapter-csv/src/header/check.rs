//! What is wrong with a header: each continues a sentence that begins with the file's name.

use encoding_rs::Encoding;
use memchr::memchr_iter;
use tally_domain::Column;
use tally_ports::dead_letter::PAYLOAD_LIMIT;

use super::Candidate;
use super::names::{list, shown};
use crate::framing::physical_line;

/// As many column names are shown in a message.
const SHOWN: usize = 50;

/// What to do about names that are not the columns'.
const MAP: &str = "map other names by csv.columns";

/// That the first line is text of a sane length.
pub fn text(bytes: &[u8], whole: bool, encoding: &'static Encoding) -> Result<(), String> {
    let limited = &bytes[..bytes.len().min(PAYLOAD_LIMIT + 2)];
    let line = physical_line(limited, whole).map_or(limited, |(len, _)| &limited[..len]);
    if line.contains(&0) {
        return Err(
            "is no text: its first line holds zero bytes; if it is UTF-16 without a byte order mark, convert it with \
             iconv -f UTF-16LE -t UTF-8"
                .to_owned(),
        );
    }
    if line.len() > PAYLOAD_LIMIT {
        return Err("is not a CSV table: its first line is longer than 1 MiB".to_owned());
    }
    if encoding.decode_without_bom_handling_and_without_replacement(line).is_none() {
        let name = encoding.name();
        return Err(format!(
            "is no text in {name}: set csv.encoding to the one that it has, such as windows-1252"
        ));
    }
    Ok(())
}

/// That each of the flow's columns is there once.
pub fn columns(
    best: &Candidate,
    line: &[u8],
    columns: &[Column],
    place: &str,
) -> Result<(), String> {
    let has_lone_cr = || memchr_iter(b'\r', line).any(|at| line.get(at + 1) != Some(&b'\n'));
    if best.known < columns.len() && has_lone_cr() {
        return Err(
            "is not a CSV table: its lines end with CR alone; convert them to LF".to_owned()
        );
    }
    if best.known == 0 {
        let columns = list(columns);
        return Err(format!("has no header: {place} names none of the columns {columns}: {MAP}"));
    }
    let count = |index: usize| best.columns.iter().filter(|found| **found == Some(index)).count();
    let missing = columns.iter().enumerate().filter(|(index, _)| count(*index) == 0);
    let missing: Vec<&str> = missing.map(|(_, column)| &*column.name).collect();
    if !missing.is_empty() {
        let noun = if missing.len() == 1 { "column" } else { "columns" };
        let mut found: Vec<String> =
            best.names.iter().take(SHOWN).map(|name| shown(name.trim())).collect();
        if best.names.len() > SHOWN {
            found.push("...".to_owned());
        }
        let has_second_mark = best.names.first().is_some_and(|name| name.starts_with('\u{feff}'));
        let advice = if has_second_mark {
            "a second byte order mark stands before its first name, remove it"
        } else {
            MAP
        };
        return Err(format!(
            "lacks the {noun} {}; it has {}: {advice}",
            missing.join(", "),
            found.join(", ")
        ));
    }
    if let Some(twice) = (0..columns.len()).find(|index| count(*index) > 1) {
        let named = best.names.iter().zip(&best.columns);
        let named = named.filter(|(_, column)| **column == Some(twice));
        let named: Vec<String> = named.map(|(name, _)| shown(name.trim())).collect();
        let twice = &columns[twice].name;
        return Err(if named.iter().all(|name| name == twice) {
            format!("has the column {twice} more than once")
        } else {
            format!("has the column {twice} more than once: as {}", named.join(", "))
        });
    }
    Ok(())
}
