//! Where settings come from: defaults, then the file, then the environment, then flags.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Num, Value};
use figment::{Figment, Metadata, Profile, Provider};
use tally_ports::Stop;

use crate::settings::{Settings, wrong};
use crate::span::Span;
use crate::url::Url;

const DEFAULT_FILE: &str = "tally.toml";
/// Names that other tools know too; every other setting is [`PREFIX`] and its path.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("DATABASE_URL", "database_url"),
    ("ML_API_URL", "ml.url"),
    ("LOG_LEVEL", "log.level"),
    ("LOG_FORMAT", "log.format"),
    ("OBS_HOST", "obs.host"),
    ("OBS_PORT", "obs.port"),
];
const PREFIX: &str = "TALLY_";
const DEFAULT: &str = "default";

/// The flags that every binary has which works on records.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Where to write: sqlite:PATH, postgres:// or postgresql:// [default: sqlite:tally.db]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The model's address [default: <http://127.0.0.1:8000>]
    #[arg(long, value_name = "URL")]
    ml_url: Option<String>,
    /// The most records of a batch [default: 1000]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// How long a dependency may stay away, like 30s, 5m or never [default: 5m]
    #[arg(long, value_name = "TIME")]
    max_outage: Option<Span>,
    /// How long a partition stays ours without a sign of life [default: 5s]
    #[arg(long, value_name = "TIME")]
    lease: Option<Span>,
    /// The settings' file [default: tally.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every setting and where it comes from, and exit
    #[arg(long)]
    pub print_config: bool,
    /// Refuse a database whose tables are not up to date instead of migrating them
    #[arg(long)]
    no_migrate: bool,
}

/// The settings, and where each came from.
pub struct Layers {
    /// The result.
    pub settings: Settings,
    figment: Figment,
}

impl Layers {
    /// Puts all layers together. `rules` are the names of the flow's quality rules.
    ///
    /// # Errors
    /// For an unknown name, a value that cannot be read or is out of range, a file that cannot be read.
    pub fn load(flags: &Flags, rules: &[&str]) -> Result<Self, Stop> {
        let environment: Vec<_> =
            std::env::vars_os().filter_map(named).collect::<Result<_, _>>()?;
        Self::from_parts(flags, environment.into_iter(), rules)
    }

    fn from_parts(
        flags: &Flags,
        environment: impl Iterator<Item = (String, String)>,
        rules: &[&str],
    ) -> Result<Self, Stop> {
        let defaults = Named::new(DEFAULT, Serialized::defaults(Settings::default()));
        let mut figment = Figment::from(defaults).merge(file(flags)?);
        let mut environment: Vec<_> = environment.filter(|(_, value)| !value.is_empty()).collect();
        environment.sort();
        for (name, value) in environment {
            if let Some(path) = path_of(&name) {
                if path.split('.').any(str::is_empty) {
                    return Err(wrong(format!("the environment's {name} names no setting")));
                }
                let value = value.parse().unwrap_or(Value::from(value));
                figment = figment
                    .merge(Named::new(format!("environment {name}"), Single { path, value }));
            }
        }
        for (flag, path, value) in flags.values() {
            let path = path.to_owned();
            figment = figment.merge(Named::new(format!("flag {flag}"), Single { path, value }));
        }

        let settings: Settings = figment.extract().map_err(|error| explained(&error))?;
        settings.check(rules)?;
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
        if let Value::Dict(_, members) = value {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.show_below(&path, member, lines);
            }
            return;
        }
        let shown = match value {
            Value::String(_, text) if path.ends_with("url") => format!("{:?}", Url::new(text)),
            Value::String(_, text) => format!("{text:?}"),
            Value::Num(_, number) => shown_number(*number),
            Value::Bool(_, flag) => flag.to_string(),
            other => format!("{other:?}"),
        };
        let source = self.figment.find_metadata(path).map_or(DEFAULT, |metadata| &metadata.name);
        let _never_fails = writeln!(lines, "{path} = {shown} # {source}");
    }
}

impl Flags {
    fn values(&self) -> Vec<(&'static str, &'static str, Value)> {
        let text = |span: &Span| Value::from(span.to_string());
        let no_migrate = self.no_migrate.then(|| Value::from(false));
        [
            ("--database-url", "database_url", self.database_url.clone().map(Value::from)),
            ("--ml-url", "ml.url", self.ml_url.clone().map(Value::from)),
            ("--batch-size", "batch_size", self.batch_size.map(Value::from)),
            ("--max-outage", "max_outage", self.max_outage.as_ref().map(text)),
            ("--lease", "lease", self.lease.as_ref().map(text)),
            ("--no-migrate", "migrate", no_migrate),
        ]
        .into_iter()
        .filter_map(|(flag, path, value)| value.map(|value| (flag, path, value)))
        .collect()
    }
}

fn file(flags: &Flags) -> Result<impl Provider, Stop> {
    let path = flags.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if flags.config.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
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

/// One of the three is what the number is.
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
        Err(_) => Err(wrong(format!("the environment's {name} is not UTF-8"))),
    })
}

/// The path of the setting that an environment variable names.
fn path_of(name: &str) -> Option<String> {
    if let Some((_, path)) = ENVIRONMENT.iter().find(|(known, _)| *known == name) {
        return Some((*path).to_owned());
    }
    name.strip_prefix(PREFIX).map(|path| path.to_lowercase().replace("__", "."))
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

/// A layer under the name that people are told.
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
        self.layer.data()
    }
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
            format!("setting {path}{source}: {found} is none of {}", known.join(", "))
        }
        // The lines between quote the file, and with it perhaps a password.
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
mod tests {
    use super::*;

    const RULES: &[&str] = &["outlier"];

    fn load(
        file: &str,
        environment: &[(&str, &str)],
        change: impl FnOnce(&mut Flags),
    ) -> Result<Layers, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, file).unwrap();
        let mut flags = Flags { config: Some(path.clone()), ..Flags::default() };
        change(&mut flags);
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let shown = path.display().to_string();
        Layers::from_parts(&flags, environment, RULES)
            .map_err(|stop| stop.message.replace(&shown, "FILE"))
    }

    #[track_caller]
    fn check_error(file: &str, environment: &[(&str, &str)], message: &str) {
        assert_eq!(load(file, environment, |_| {}).err().as_deref(), Some(message));
    }

    #[test]
    fn later_layers_win() {
        let file = "batch_size = 1\nlease = '1s'\n[ml]\nconcurrency = 2";
        let environment = [
            ("TALLY_LEASE", "2s"),
            ("ML_API_URL", "http://a"),
            ("TALLY_QUALITY__OUTLIER__POLICY", "stop"),
            ("TALLY_QUALITY__OUTLIER__THRESHOLD", "0.25"),
        ];
        let layers =
            load(file, &environment, |flags| flags.ml_url = Some("http://b".into())).unwrap();
        let Settings { batch_size, lease, ml, quality, .. } = layers.settings.clone();
        assert_eq!(
            (batch_size, lease, ml.url.expose(), ml.concurrency),
            (1, Span::seconds(2), "http://b", 2)
        );
        assert_eq!(quality["outlier"].policy, tally_domain::quality::Policy::Stop);

        let shown = layers.show().unwrap();
        for line in [
            "drain = \"10s\" # default",
            "lease = \"2s\" # environment TALLY_LEASE",
            "ml.url = \"http://b\" # flag --ml-url",
            "quality.outlier.policy = \"stop\" # environment TALLY_QUALITY__OUTLIER__POLICY",
            "migrate = true # default",
            "obs.port = 0 # default",
            "quality.outlier.threshold = 0.25 # environment TALLY_QUALITY__OUTLIER__THRESHOLD",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} not in\n{shown}");
        }
        assert!(shown.contains("batch_size = 1 # file "), "{shown}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let layers = load("", &[("DATABASE_URL", "postgres://me:hidden@db/x")], |_| {}).unwrap();
        assert!(layers.show().unwrap().contains("postgres://***@db/x"));
        assert!(!format!("{:?}{}", layers.settings, layers.show().unwrap()).contains("hidden"));
    }

    #[test]
    fn unknown_names_are_errors() {
        let known = "database_url, batch_size, lease, max_outage, drain, migrate, ml, csv, quality, log, obs";
        check_error(
            "bach_size = 1",
            &[],
            &format!("unknown setting bach_size (file FILE): known here are {known}"),
        );
        check_error(
            "",
            &[("TALLY_FOO", "1")],
            &format!("unknown setting foo (environment TALLY_FOO): known here are {known}"),
        );
        check_error(
            "",
            &[("TALLY_ML__FOO", "1")],
            "unknown setting ml.foo (environment TALLY_ML__FOO): known here are url, connect_timeout, answer_timeout, concurrency",
        );
        check_error(
            "[quality.foo]\npolicy='warn'",
            &[],
            "quality.foo is no rule; the rules are outlier",
        );
        assert!(load("", &[("OTHER", "1"), ("TALLY_LEASE", "")], |_| {}).is_ok());
    }

    #[test]
    fn values_out_of_range_are_errors() {
        check_error("batch_size = 0", &[], "batch_size is 0: must be between 1 and 100000");
        check_error("lease = '1ms'", &[], "lease is 1ms: must be between 100ms and 1h");
        check_error("lease = 'never'", &[], "lease is never: must be between 100ms and 1h");
        check_error("ml.concurrency = 65", &[], "ml.concurrency is 65: must be between 1 and 64");
        check_error(
            "quality.outlier.threshold = 1.5",
            &[],
            "quality.outlier.threshold is 1.5: must be between 0 and 1",
        );
    }

    #[test]
    fn values_that_cannot_be_read_are_errors_that_name_their_source() {
        for (file, environment) in [
            ("lease = '5 parsecs'", ("X", "")),
            ("log.format = 'loud'", ("X", "")),
            ("", ("OBS_PORT", "70000")),
            ("", ("TALLY_BATCH_SIZE", "-1")),
            ("batch_size = ", ("X", "")),
            ("csv.decimal = 'dot'", ("X", "")),
        ] {
            let message = load(file, &[environment], |_| {}).err().unwrap();
            let source = if file.is_empty() { environment.0 } else { "FILE" };
            assert!(message.contains(source), "{message}");
        }
    }

    #[test]
    fn a_file_that_is_no_toml_is_not_quoted() {
        let error =
            load("database_url = \"postgres://u:hidden@h/db\nx = 1", &[], |_| {}).err().unwrap();
        assert!(error.contains("line 1") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error =
            load("", &[], |flags| flags.config = Some("/nowhere/x.toml".into())).err().unwrap();
        assert!(
            error.starts_with("cannot read the settings' file /nowhere/x.toml: No such file"),
            "{error}"
        );
    }
}
