//! Checks a record's JSON against a JSON Schema.
//!
//! A flow compiles its schema once and checks each record of a topic in [`Flow::read`](tally_domain::Flow::read), as plain
//! JSON and in the schema registry's frame alike:
//!
//! ```
//! use bytes::Bytes;
//! use tally_domain::{Faults, Raw};
//! use tally_json_schema::Schema;
//!
//! let schema = Schema::new(r#"{"properties": {"at": {"type": "integer"}}, "required": ["at", "user"]}"#)?;
//! let raw = Raw { payload: Some(Bytes::from(r#"{"at": "now"}"#)), ..Raw::default() };
//! let mut faults = Faults::default();
//! assert_eq!(schema.check(&raw, &mut faults), None);
//! let reason = faults.into_reason().unwrap();
//! assert_eq!(reason.code, "schema_required");
//! assert_eq!(reason.message, r#""user" is a required property;at: value is not of type "integer""#);
//! # Ok::<(), tally_json_schema::InvalidSchema>(())
//! ```

mod violation;

use std::collections::HashSet;
use std::fmt;

use jsonschema::Validator;
use serde_json::Value;
use tally_domain::json_object::unframed;
use tally_domain::{Faults, Raw};

/// The most violations of a record that are listed.
const LISTED: usize = 50;

/// A JSON Schema, compiled.
pub struct Schema {
    validator: Validator,
    /// Every name in it, as JSON pointers have it.
    names: HashSet<String>,
}

/// A text is not a JSON Schema, or one that refers to another document: none is fetched.
#[derive(Debug, thiserror::Error)]
#[error("the JSON Schema cannot be used: {0}")]
pub struct InvalidSchema(String);

impl Schema {
    /// Compiles the text of a schema; of which draft its `$schema` says, else 2020-12.
    pub fn new(text: &str) -> Result<Self, InvalidSchema> {
        let schema: Value =
            serde_json::from_str(text).map_err(|error| InvalidSchema(error.to_string()))?;
        let validator =
            jsonschema::validator_for(&schema).map_err(|error| InvalidSchema(error.to_string()))?;
        let mut names = HashSet::new();
        violation::collect_names(&schema, &mut names);
        Ok(Self { validator, names })
    }

    /// The record's JSON, unframed, if it is valid. Else each violation is noted, with its path and without a value, under
    /// the code `schema_KEYWORD` (`schema_required`), from 50 on only that there are more; `json` where it is not JSON.
    pub fn check<'a>(&self, raw: &'a Raw, faults: &mut Faults) -> Option<&'a str> {
        let Some((text, document)) = document(raw) else {
            return faults.add("json", "the record is not JSON");
        };
        if self.validator.is_valid(&document) {
            return Some(text);
        }
        let mut violations = self.validator.iter_errors(&document);
        for error in violations.by_ref().take(LISTED) {
            let code = format!("schema_{}", error.kind().keyword());
            faults.note(code, violation::describe(&error, &document, &self.names));
        }
        if violations.next().is_some() {
            faults.note("schema", "and more");
        }
        None
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema { .. }")
    }
}

/// A record's text without the frame and a byte order mark, and what it says.
fn document(raw: &Raw) -> Option<(&str, Value)> {
    let (_, bytes) = unframed(raw.payload.as_ref()?);
    let text = str::from_utf8(bytes).ok()?;
    Some((text, serde_json::from_str(text).ok()?))
}

#[cfg(test)]
mod tests;
