//! The layers of settings: defaults, the file, the environment, the flow's section of these, then flags.

mod flows;

use std::ffi::OsString;
use std::fmt::Write;

use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Num, Value};
use figment::{Figment, Metadata, Profile, Provider};
use tally_domain::Flow;
use tally_ports::Stop;

use crate::Flows;
use crate::flags::{Common, Given};
use crate::settings::{Settings, wrong};
use crate::url::Url;

const DEFAULT_FILE: &str = "tally.toml";
/// Names that other tools use too; every other setting is [`PREFIX`] and its path.
const ENVIRONMENT: [(&str, &str); 11] = [
    ("DATABASE_URL", "database_url"),
    ("ML_API_URL", "ml.url"),
    ("KAFKA_BOOTSTRAP_SERVERS", "kafka.brokers"),
    ("TOPIC_NAME", "kafka.topic"),
    ("GROUP_ID", "kafka.group"),
    ("DLQ_TOPIC", "kafka.dlq_topic"),
    ("SCHEMA_REGISTRY_URL", "kafka.registry_url"),
    ("LOG_LEVEL", "log.level"),
    ("LOG_FORMAT", "log.format"),
    ("OBS_HOST", "obs.host"),
    ("OBS_PORT", "obs.port"),
];
const PREFIX: &str = "TALLY_";
const DEFAULT: &str = "default";
/// No request grows with the batch, and each commit and each transaction has a fixed cost that a larger batch shares.
const BATCH_SIZE_WITHOUT_MODEL: usize = 4000;
/// The settings below have names that people choose.
const HEADERS: &str = "ml.headers.";
/// Their values are topics.
const OUTPUTS: &str = "publish.";

/// The settings, and where each came from.
pub struct Layers {
    /// The result.
    pub settings: Settings,
    figment: Figment,
}

impl Layers {
    /// Merges all layers for `flow`, one of the `flows`: a binary's `defaults` (with the flow's own topic and batch size), the
    /// file that `common` names, the environment, the flow's section of these, the flags that were `given`.
    ///
    /// # Errors
    /// For an unknown name, a value that cannot be read or is out of range, a file that cannot be read.
    pub fn load(
        defaults: Settings,
        common: &Common,
        given: &[Given],
        flows: &Flows,
        flow: &dyn Flow,
    ) -> Result<Self, Stop> {
        let environment: Vec<_> =
            std::env::vars_os().filter_map(named).collect::<Result<_, _>>()?;
        Self::from_parts(defaults, common, environment.into_iter(), given, flows, flow)
    }

    fn from_parts(
        defaults: Settings,
        common: &Common,
        environment: impl Iterator<Item = (String, String)>,
        given: &[Given],
        flows: &Flows,
        flow: &dyn Flow,
    ) -> Result<Self, Stop> {
        let mut defaults = defaults;
        flow.topic().clone_into(&mut defaults.kafka.topic);
        flow.dead_letter_topic().unwrap_or_default().clone_into(&mut defaults.kafka.dlq_topic);
        if flow.model().is_none() {
            defaults.batch_size = BATCH_SIZE_WITHOUT_MODEL;
        }
        let of_flow = defaults.kafka.clone();
        let defaults = Figment::from(Named::new(DEFAULT, Serialized::defaults(defaults)));
        let mut figment = defaults.clone().merge(file(common)?);
        let mut environment: Vec<_> = environment.filter(|(_, value)| !value.is_empty()).collect();
        environment.sort();
        for (name, value) in environment {
            if let Some(path) = path_of(&name) {
                if path.split('.').any(str::is_empty) {
                    return Err(wrong(format!("the environment variable {name} is not a setting")));
                }
                // A topic may be called 7.
                let plain = flows::split(&path).map(|(_, setting)| flows::plain(setting));
                let known = plain.as_deref().unwrap_or(&path);
                let is_text = known.starts_with(HEADERS)
                    || known.starts_with(OUTPUTS)
                    || matches!(defaults.find_value(known), Ok(Value::String(..)));
                let typed = if is_text { None } else { value.parse().ok() };
                let value = typed.unwrap_or_else(|| Value::from(value));
                figment = figment
                    .merge(Named::new(format!("environment {name}"), Single { path, value }));
            }
        }
        // Every flow's section is checked, not only that of the chosen flow.
        let extracted = |figment: &Figment| -> Result<Settings, Stop> {
            figment.extract().map_err(|error| explained(&error))
        };
        let written = extracted(&figment)?.flows;
        for name in written.keys() {
            let Some(known) = flows.named(name) else {
                let names = flows.names().join(", ");
                return Err(wrong(format!("flows.{name} is not a flow; the flows are {names}")));
            };
            let of_flow = extracted(&flows::overridden(&figment, name))?;
            of_flow.check(&flows.rules())?;
            of_flow.check_effects(&*known.flow)?;
        }

        if flow.name() != flows.first().flow.name() {
            // The topic settings outside of [flows.NAME] belong to the default flow.
            for (path, value) in [
                ("kafka.topic", of_flow.topic),
                ("kafka.group", of_flow.group),
                ("kafka.dlq_topic", of_flow.dlq_topic),
            ] {
                let single = Single { path: path.to_owned(), value: Value::from(value) };
                figment = figment.merge(Named::new(DEFAULT, single));
            }
        }
        figment = flows::overridden(&figment, flow.name());
        for Given { flag, path, value } in given {
            let (path, value) = ((*path).to_owned(), value.clone());
            figment = figment.merge(Named::new(format!("flag {flag}"), Single { path, value }));
        }

        let settings = extracted(&figment)?;
        settings.check(&flows.rules())?;
        settings.check_columns(flow)?;
        settings.check_effects(flow)?;
        Ok(Self { settings, figment })
    }

    /// Every setting with its source, in TOML. Secrets are not shown.
    ///
    /// # Errors
    /// When a layer cannot be read again.
    pub fn show(&self) -> Result<String, Stop> {
        let all = self.figment.find_value("").map_err(|error| explained(&error))?;
        let mut lines = String::new();
        self.show_below("", &all, &mut lines);
        Ok(lines)
    }

    fn show_below(&self, path: &str, value: &Value, lines: &mut String) {
        if let Value::Dict(_, members) = value
            && !flows::is_whole(path)
        {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.show_below(&path, member, lines);
            }
            return;
        }
        let shown = match value {
            Value::String(_, text) if is_secret(path) && !text.is_empty() => "***".into(),
            Value::String(_, text) if path.ends_with("url") => format!("{:?}", Url::new(text)),
            Value::String(_, text) => format!("{text:?}"),
            Value::Num(_, number) => shown_number(*number),
            Value::Bool(_, flag) => flag.to_string(),
            Value::Array(_, items) => {
                let items: Vec<String> = items.iter().map(shown_text).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Dict(_, members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|(name, value)| format!("{name:?} = {}", shown_text(value)))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }
            other => format!("{other:?}"),
        };
        let source = self.figment.find_metadata(path).map_or(DEFAULT, |metadata| &metadata.name);
        let _never_fails = writeln!(lines, "{path} = {shown} # {source}");
    }
}

fn file(common: &Common) -> Result<impl Provider, Stop> {
    let path = common.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if common.config.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            String::new()
        }
        Err(error) => {
            return Err(wrong(format!(
                "cannot read the settings' file {}: {error}",
                path.display()
            )));
        }
    };
    Ok(Named::new(format!("file {}", path.display()), Toml::string(&text)))
}

/// Whether the value at a path is never shown.
fn is_secret(path: &str) -> bool {
    path.ends_with("password") || path.ends_with("bearer_token") || path.contains(HEADERS)
}

/// A text of a list.
fn shown_text(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("{value:?}"), |text| format!("{text:?}"))
}

/// The number in the first of the types that fits.
fn shown_number(number: Num) -> String {
    let unsigned = number.to_u128().map(|number| number.to_string());
    let signed = || number.to_i128().map(|number| number.to_string());
    let float = || number.to_f64().map(|number| number.to_string());
    unsigned.or_else(signed).or_else(float).unwrap_or_default()
}

/// A variable that names a setting.
fn named((name, value): (OsString, OsString)) -> Option<Result<(String, String), Stop>> {
    let name = name.into_string().ok().filter(|name| path_of(name).is_some())?;
    Some(match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(wrong(format!("the environment variable {name} is not UTF-8"))),
    })
}

/// The path of the setting that an environment variable names.
fn path_of(name: &str) -> Option<String> {
    if let Some((_, path)) = ENVIRONMENT.iter().find(|(known, _)| *known == name) {
        return Some((*path).to_owned());
    }
    let path = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
    let path = match flows::split(&path) {
        Some((flow, setting)) => format!("flows.{}.{setting}", flow.replace('_', "-")),
        None => path,
    };
    Some(match path.split_once(HEADERS) {
        Some((before, header)) => format!("{before}{HEADERS}{}", header.replace('_', "-")),
        None => path,
    })
}

/// One setting.
struct Single {
    path: String,
    value: Value,
}

impl Provider for Single {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.path, self.value.clone());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

/// A layer with a name for messages.
struct Named<P> {
    name: String,
    layer: P,
}

impl<P> Named<P> {
    fn new(name: impl Into<String>, layer: P) -> Self {
        Self { name: name.into(), layer }
    }
}

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut profiles = self.layer.data()?;
        for (name, value) in profiles.values_mut().flatten() {
            trim(name, value).map_err(|error| *error)?;
        }
        Ok(profiles)
    }
}

/// Blanks around a text, such as the line end of a file that a shell has read, do not belong to it.
fn trim(path: &str, value: &mut Value) -> Result<(), Box<figment::Error>> {
    match value {
        Value::String(_, text) => {
            if let Some(character) = text.trim().chars().find(|character| character.is_control()) {
                let found = format!("it has the control character {character:?}");
                return Err(figment::Error::from(found).with_path(path).into());
            }
            *text = text.trim().to_owned();
        }
        Value::Dict(_, members) => {
            for (name, member) in members {
                trim(&format!("{path}.{name}"), member)?;
            }
        }
        Value::Array(_, items) => {
            items.iter_mut().try_for_each(|item| trim(path, item))?;
        }
        _ => {}
    }
    Ok(())
}

/// The first of figment's errors: which setting, from where, and what is wrong with it.
fn explained(error: &figment::Error) -> Stop {
    let source = error
        .metadata
        .as_ref()
        .map_or_else(String::new, |metadata| format!(" ({})", metadata.name));
    let path = error.path.join(".");
    wrong(match &error.kind {
        Kind::UnknownField(name, known) => {
            let parent = error.path.split_last().map_or(String::new(), |(last, parents)| {
                if last == name { parents.join(".") } else { path.clone() }
            });
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            format!("unknown setting {path}{source}: known here are {}", known.join(", "))
        }
        Kind::UnknownVariant(found, known) => {
            format!("setting {path}{source}: {found} is not one of {}", known.join(", "))
        }
        // The value may be a password: only its type is shown.
        Kind::InvalidType(found, expected) if !path.is_empty() => {
            let found = found.to_string();
            let kind = found.split(['`', '"']).next().unwrap_or_default().trim_end();
            format!("setting {path}{source}: invalid type: found {kind}, expected {expected}")
        }
        // The lines between quote the file, which may hold a password.
        kind if path.is_empty() => {
            let text = kind.to_string();
            let (first, last) = (text.lines().next(), text.lines().next_back());
            let first = first.unwrap_or_default();
            let last = last
                .filter(|last| *last != first)
                .map_or(String::new(), |last| format!(": {last}"));
            format!("cannot read the settings{source}: {first}{last}")
        }
        kind => format!("setting {path}{source}: {kind}"),
    })
}

#[cfg(test)]
mod tests;
