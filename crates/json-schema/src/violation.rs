//! What a violation says: nothing that only the record says.

use std::collections::HashSet;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

/// The path with points and what is wrong there.
pub(crate) fn describe(
    error: &ValidationError<'_>,
    document: &Value,
    names: &HashSet<String>,
) -> String {
    let pointer = error.instance_path().as_str();
    // A name that the schema does not have is the record's.
    let shown = pointer.match_indices('/').map(|(start, _)| {
        let name = pointer[start + 1..].split('/').next().unwrap_or_default();
        let is_index = document.pointer(&pointer[..start]).is_some_and(Value::is_array);
        if is_index || names.contains(name) { name } else { "*" }
    });
    let path = shown.collect::<Vec<_>>().join(".");
    let what = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            format!("has {} fields that are not allowed", unexpected.len())
        }
        ValidationErrorKind::PropertyNames { error } => {
            error.masked_with("the name of a field").to_string()
        }
        _ => error.masked().to_string(),
    };
    if path.is_empty() { what } else { format!("{path}: {what}") }
}

/// All names of objects in a schema, as JSON pointers have them.
pub(crate) fn collect_names(schema: &Value, names: &mut HashSet<String>) {
    match schema {
        Value::Object(members) => {
            for (name, inner) in members {
                names.insert(name.replace('~', "~0").replace('/', "~1"));
                collect_names(inner, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}
