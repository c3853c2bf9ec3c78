//! A CSV file as a [`Source`](tally_ports::Source): in batches, resumable, in bounded memory.
//!
//! [`CsvFile::open`] refuses with a message for people whatever is no table with a flow's columns;
//! [`CsvFile::read_from`] reads its rows from a position on; [`decode`] reads one dead letter again. All that they know of a
//! flow is its columns. What comes
//! after the header is never a reason to stop: a record that is none becomes an item with its bytes and its reason,
//! and its neighbours are read.
//!
//! # The format
//!
//! RFC 4180, with these differences:
//!
//! - The delimiter is `;`, `,`, a tab or `|`: the one that yields the flow's columns from the header line, or that a line
//!   `sep=;` before it names, as Excel writes it. As many lines before the header as [`Settings::skip_lines`] says are no
//!   part of the table.
//! - Columns are found by name, in any order, whatever the name's case and the blanks around it, but where another name is
//!   the column's exactly; [`Settings::columns`] maps other names. Columns that the flow does not know are ignored.
//! - Line ends are `\r\n` and `\n`, mixed as they come; the last one may be missing. A `\r` elsewhere is data, except
//!   as the last byte of the file.
//! - A blank row is no record: a line without any byte before its end, or of fields, however many, that hold nothing
//!   or spaces and tabs only, in quotes or not. It takes no position, but counts as a line.
//! - A record has as many fields as the header. One more at its end may be empty; one that the header has at its end
//!   without a name may be missing, or hold anything, which is ignored.
//! - The text is UTF-8 (a byte order mark is skipped) or another encoding in which ASCII bytes are ASCII, by name; or UTF-16
//!   with its byte order mark. It may be packed with gzip or zstd.
//! - As in the RFC, a quote opens a quoted field only at the field's start, is written twice inside, and after the
//!   closing one only a delimiter or a line end may come. A quote within an unquoted field is data.
//! - A record has at most 1 MiB.
//!
//! A record that breaks this, or has another number of fields than the header, costs its first physical line: that
//! line is a dead letter, and reading goes on with the next one. So a quote that is never closed costs one line,
//! however long the file is. Its reasons have the stage `decode` and one of the codes `fields`, `unframed` (a quote
//! open at the end of the file, or a closing quote followed by something else), `too_long` and `encoding`.
//!
//! # Fields
//!
//! Every field is a [text](tally_domain::Field::Text), whatever its column stands for, an empty one too. In UTF-8 it is a
//! part of the record's bytes, unless a quote in it is written twice. Only where [`Settings::timestamp_formats`] are set, a
//! timestamp is one, or [unreadable](tally_domain::Field::Unreadable).
//!
//! # Amounts
//!
//! Texts are handed on as they stand in the file; how amounts ([`Kind::Decimal`](tally_domain::Kind)) are written is
//! said with each batch and each dead letter, and [`Amount::parse`](tally_domain::amount::Amount::parse) reads them.
//! With [`Decimal::Auto`] the amounts in the first 256 KiB of rows that can mean one thing only decide, see
//! [`separators`](tally_domain::amount::separators): nine in ten of them must have the same decimal sign, else it is
//! undecided. What follows changes nothing, so that a run that goes on in the file agrees with the one before.
//!
//! The header `csv.decimal` of a dead letter says it in one word:
//!
//! | word | `1,500` | `1.500` | `12,50` | `12.50` |
//! | --- | --- | --- | --- | --- |
//! | `comma`: as amounts show | refused | 1500.00 | 12.50 | refused |
//! | `point`: as amounts show | 1500.00 | refused | refused | 12.50 |
//! | `comma-set`: as it is set | 1.50 | 1500.00 | 12.50 | refused |
//! | `point-set`: as it is set | 1500.00 | 1.50 | refused | 12.50 |
//! | `undecided` | refused | refused | 12.50 | 12.50 |
//!
//! Dead letters of versions that knew only `comma` and `point` are read as if amounts had shown it.
//!
//! # How it is read
//!
//! Two passes over memory: `framing` finds where records end in the raw bytes, on the blocking pool together with
//! reading the file; csv-async then splits only records that are known to be whole. By itself
//! csv-async reads on after an unclosed quote to the end of the file, into memory.
//!
//! A position is the number of a row, from 0. A cursor is `{"byte": B, "line": L}`: where in the file that row
//! starts, and its physical line from 1.
//!
//! A file that is packed or in UTF-16 is read as a stream: its text is what is unpacked, in UTF-8, and what was said of
//! bytes is said of that text; so payloads of dead letters are UTF-8, and so says their header `csv.encoding`. The cursor has
//! `"passed": P` besides, so many bytes of the file, for those who show progress. To go on at a cursor it is unpacked from
//! the start. Where it is cut off or damaged, the rows before that are read, and the next one is a fault of the data. Its
//! fingerprint is that of the file as it is, packed.

mod blocking;
mod content;
mod dead_letter;
mod decimal;
mod encoding;
mod file;
mod folder;
mod form;
mod framing;
mod header;
mod layout;
mod mask;
mod open;
mod reader;
mod settings;
mod source;
mod split;
mod timestamps;
mod window;

pub use content::OpenFile;
pub use dead_letter::{Overrides, decode};
pub use decimal::Amounts;
pub use file::{CsvFile, byte_of};
pub use folder::Folder;
pub use mask::CsvMask;
pub use settings::{Decimal, Settings};
pub use source::CsvSource;
