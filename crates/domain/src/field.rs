//! What a source finds in a record.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::amount::Notation;

/// What a source found in one column of a record. Texts share the record's bytes where they can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Field {
    /// The record does not have the column.
    #[default]
    Absent,
    /// The column holds no value.
    Null,
    /// A text, exactly as it was written.
    Text(ByteString),
    /// A number with the digits it was written with, without an exponent.
    Number(ByteString),
    /// True or false.
    Boolean(bool),
    /// An object or a list: its own JSON text.
    Json(ByteString),
}

impl Field {
    /// The text of a text or a number; `None` for anything else.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Absent | Self::Null | Self::Boolean(_) | Self::Json(_) => None,
        }
    }

    /// As [`Field::text`], leaving [`Field::Absent`] behind.
    pub fn take_text(&mut self) -> Option<ByteString> {
        match std::mem::take(self) {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Absent | Self::Null | Self::Boolean(_) | Self::Json(_) => None,
        }
    }
}

/// The fields of a record in the order of [`Flow::columns`](crate::Flow::columns); none at all for a tombstone.
pub type Fields = Vec<Field>;

/// A record as its source found it. Its `Debug` shows no values.
pub struct Incoming<'a> {
    /// What the source found in the flow's columns.
    pub fields: Fields,
    /// How amounts are written in it.
    pub notation: Notation,
    /// Its bytes as they were.
    pub raw: &'a Raw,
}

impl Incoming<'_> {
    /// Whether the record has a key at most: on a compacted topic it says that the key is gone.
    pub fn is_tombstone(&self) -> bool {
        self.fields.is_empty()
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("raw", self.raw).finish_non_exhaustive()
    }
}

/// Names and values that travel with a record; shared by the records they are the same for.
pub type Headers = Arc<[(String, Bytes)]>;

/// A record's bytes as they were. Cheap to clone. Its `Debug` shows only lengths.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Raw {
    /// What identifies it, where that is known.
    pub key: Option<Bytes>,
    /// Its content; `None` for a tombstone.
    pub payload: Option<Bytes>,
    /// Names and values.
    pub headers: Headers,
    /// The physical line, from 1, where it starts in its file; `None` for a topic's, and for one that was stored.
    pub line: Option<u64>,
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map(Bytes::len);
        f.debug_struct("Raw")
            .field("key_bytes", &length(&self.key))
            .field("payload_bytes", &length(&self.payload))
            .field("headers", &self.headers.len())
            .field("line", &self.line)
            .finish()
    }
}
