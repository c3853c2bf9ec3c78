//! What is wrong with a record.

use std::borrow::Cow;
use std::fmt;

/// Why bytes are no record of their format. Never quotes a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The field, with points between it and those that it is in.
    field: Option<String>,
    what: Cow<'static, str>,
}

impl Broken {
    pub(super) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { field: None, what: what.into() }
    }

    /// The same, naming the field, which is the schema's or the flow's word and not the record's; or the one that the
    /// field named so far is in.
    pub(super) fn of(self, name: &str) -> Self {
        let field = match self.field {
            None => name.to_owned(),
            Some(inner) => format!("{name}.{inner}"),
        };
        Self { field: Some(field), what: self.what }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.what)
    }
}
