//! Values of a record on their way into the texts of a flow's `Wire`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// A value that a format has come to and not read yet.
pub(super) trait Value<'de> {
    /// Its exact text; `None` where it is null.
    fn text(self) -> Result<Option<Cow<'de, str>>, Broken>;

    /// Passes over it.
    fn skip(self) -> Result<(), Broken>;
}

/// A value as serde sees it: an optional text, or nothing where no column has its name.
pub(super) struct Column<V>(pub(super) V);

impl<'de, U: Value<'de>> Deserializer<'de> for Column<U> {
    type Error = Broken;

    fn deserialize_option<R: Visitor<'de>>(self, visitor: R) -> Result<R::Value, Broken> {
        match self.0.text()? {
            None => visitor.visit_none(),
            Some(text) => visitor.visit_some(Text(text)),
        }
    }

    fn deserialize_ignored_any<R: Visitor<'de>>(self, visitor: R) -> Result<R::Value, Broken> {
        self.0.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_any<R: Visitor<'de>>(self, visitor: R) -> Result<R::Value, Broken> {
        self.deserialize_option(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// A text that is there.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Broken;

    fn deserialize_any<R: Visitor<'de>>(self, visitor: R) -> Result<R::Value, Broken> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Why bytes are no record of their format. Never quotes a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken(Cow<'static, str>);

impl Broken {
    pub(super) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }

    /// The same, naming the field, which is the schema's or the table's word and not the record's.
    pub(super) fn of(self, field: &str) -> Self {
        Self(format!("{field}: {}", self.0).into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl de::Error for Broken {
    /// Drops the message: serde's would quote values.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new("does not fit the flow's columns")
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("is there more than once").of(field)
    }
}
