//! A CSV file as a [`Source`](tally_ports::Source): in batches, resumable, in bounded memory.
//!
//! [`CsvFile::open`] refuses with a message for people whatever is no table with the flow's columns;
//! [`CsvFile::read_from`] reads its rows from a position on; [`decode`] reads one dead letter again. What comes
//! after the header is never a reason to stop: a record that is none becomes an item with its bytes and its reason,
//! and its neighbours are read.
//!
//! # The format
//!
//! RFC 4180, with these differences:
//!
//! - The delimiter is `;`, `,` or a tab: the one that yields the flow's columns from the header line. Columns are
//!   found by name, in any order; columns that the flow does not know are ignored.
//! - Line ends are `\r\n` and `\n`, mixed as they come; the last one may be missing. A `\r` elsewhere is data, except
//!   as the last byte of the file. Lines without any byte before their end are no records; they count as lines.
//! - The text is UTF-8 (a byte order mark is skipped) or another encoding in which ASCII bytes are ASCII, by name.
//! - In a file with decimal commas, comma and point change places in the columns of
//!   [`Kind::Decimal`](tally_domain::Kind), so that rules of a flow only ever see a point.
//! - As in the RFC, a quote opens a quoted field only at the field's start, is written twice inside, and after the
//!   closing one only a delimiter or a line end may come. A quote within an unquoted field is data.
//! - A record has at most 1 MiB.
//!
//! A record that breaks this, or has another number of fields than the header, costs its first physical line: that
//! line is a dead letter, and reading goes on with the next one. So a quote that is never closed costs one line,
//! however long the file is. Its reasons have the stage `decode` and one of the codes `fields`, `unframed` (a quote
//! open at the end of the file, or a closing quote followed by something else), `too_long` and `encoding`.
//!
//! # How it is read
//!
//! Two passes over memory: `framing` finds where records end in the raw bytes, on the blocking pool together with
//! reading the file; csv-async then splits only records that are known to be whole, and deserializes them. By itself
//! csv-async reads on after an unclosed quote to the end of the file, into memory.
//!
//! A position is the number of a row, from 0. A cursor is `{"byte": B, "line": L}`: where in the file that row
//! starts, and its physical line from 1.

mod blocking;
mod compare;
mod dead_letter;
mod decimal;
mod encoding;
mod file;
mod framing;
mod header;
mod layout;
mod mask;
mod open;
mod reader;
mod settings;
mod source;
mod split;
mod window;

pub use dead_letter::decode;
pub use decimal::Amounts;
pub use file::{CsvFile, byte_of};
pub use mask::CsvMask;
pub use settings::{Decimal, Settings};
pub use source::CsvSource;
