//! The settings of `[flows.NAME]`, which replace those outside of it.

use figment::Figment;
use figment::value::Value;

use super::Single;

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

/// Whether the setting is one value whose members have names of people's own, which may have points in them.
pub(super) fn is_whole(setting: &str) -> bool {
    setting == "csv.columns"
}

/// Whether the setting is only one of a flow: there is none of the same name outside of `[flows.NAME]`.
fn is_of_flow(setting: &str) -> bool {
    setting == "publish"
}

/// The settings, replaced by those of the flow `name`; each value keeps its source.
pub(super) fn overridden(figment: &Figment, name: &str) -> Figment {
    match figment.find_value(&format!("flows.{name}")) {
        Ok(value) => put(figment.clone(), "", &value),
        Err(_) => figment.clone(),
    }
}

fn put(into: Figment, setting: &str, value: &Value) -> Figment {
    if is_of_flow(setting) {
        return into;
    }
    if let Value::Dict(_, members) = value
        && !is_whole(setting)
    {
        return members.iter().fold(into, |into, (name, member)| {
            let setting =
                if setting.is_empty() { name.clone() } else { format!("{setting}.{name}") };
            put(into, &setting, member)
        });
    }
    into.merge(Single { path: plain(setting), value: value.clone() })
}
