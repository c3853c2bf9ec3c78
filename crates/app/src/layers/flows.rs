//! What `[flows.NAME]` says in the place of the settings outside of it.

use figment::Figment;
use figment::value::Value;

use super::{Named, Single};

/// The flow and its setting that a path names: `flows.NAME.SETTING`.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("flows.")?.split_once('.')
}

/// The path of a flow's setting outside of `[flows.NAME]`.
pub(super) fn plain(setting: &str) -> String {
    match setting {
        "topic" | "group" | "dlq_topic" => format!("kafka.{setting}"),
        other => other.to_owned(),
    }
}

/// The settings with those of the flow `name` in their place.
pub(super) fn overridden(figment: &Figment, name: &str) -> Figment {
    let path = format!("flows.{name}");
    match figment.find_value(&path) {
        Ok(value) => put(figment.clone(), figment, &path, "", &value),
        Err(_) => figment.clone(),
    }
}

fn put(into: Figment, from: &Figment, of_flow: &str, setting: &str, value: &Value) -> Figment {
    if let Value::Dict(_, members) = value {
        return members.iter().fold(into, |into, (name, member)| {
            let setting =
                if setting.is_empty() { name.clone() } else { format!("{setting}.{name}") };
            put(into, from, of_flow, &setting, member)
        });
    }
    let source = from.find_metadata(&format!("{of_flow}.{setting}"));
    let source = source.map_or("default", |metadata| &metadata.name);
    let single = Single { path: plain(setting), value: value.clone() };
    into.merge(Named::new(format!("{source}, {of_flow}"), single))
}
