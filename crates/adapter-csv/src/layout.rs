//! From a record's fields to the flow's wire.

use csv_async::{ByteRecord, StringRecord};
use encoding_rs::Encoding;
use tally_domain::{Flow, Reason, Stage};

use crate::encoding::decode;
use crate::framing::{Flaw, Framing, Width};
use crate::header::Header;

/// How the rows of a file are read.
#[derive(Debug)]
pub struct Layout {
    pub encoding: &'static Encoding,
    pub framing: Framing,
    width: Width,
    /// A name for each column.
    names: StringRecord,
    /// The field with the record's id.
    id: Option<usize>,
}

/// Why a record is none: a code and words for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    code: &'static str,
    message: String,
}

impl Layout {
    pub fn new(header: Header, encoding: &'static Encoding) -> Self {
        Self {
            encoding,
            framing: header.framing(),
            width: header.width,
            names: header.names,
            id: header.id,
        }
    }

    /// Decodes the fields and deserializes them; gives them back for the next record, as text where they are.
    pub fn wire<F: Flow>(&self, fields: ByteRecord) -> (ByteRecord, Result<F::Wire, Refusal>) {
        let text = match decode(self.encoding, fields) {
            Ok(text) => text,
            Err(undecodable) => {
                let (column, encoding) = (self.column(undecodable.field), self.encoding.name());
                let refusal = Refusal::new("encoding", format!("{column} is not valid {encoding}"));
                return (undecodable.record, Err(refusal));
            }
        };
        let wire = text
            .deserialize(Some(&self.names))
            .map_err(|_| Refusal::new("fields", "its fields are not of the flow's types"));
        (text.into_byte_record(), wire)
    }

    /// The text of the id in fields that were given back, unless there is none or it is no text.
    pub fn id<'a>(&self, fields: &'a ByteRecord) -> Option<&'a [u8]> {
        let id = fields.get(self.id?)?;
        (!id.is_empty() && std::str::from_utf8(id).is_ok()).then_some(id)
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
