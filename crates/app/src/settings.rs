//! Every setting, its default and its range.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use figment::value::Dict;
use serde::{Deserialize, Serialize};
use tally_domain::quality::Rules;
use tally_domain::{Flow, Kind, Output, TimeUnit};
use tally_pipeline::Budget;
use tally_ports::{DeliveryGuarantee, Stop, StopKind, Topics};
use tally_telemetry::Format;

use crate::secret::Secret;
use crate::span::Span;
use crate::url::Url;

/// Every setting. Settings come from these defaults, then the file, then the environment, then flags.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite:PATH`, `postgres://` or `postgresql://`.
    pub database_url: Url,
    /// The most records of a batch; by default more where the flow has no model.
    pub batch_size: usize,
    /// How long an owner of a partition may be silent before another takes over.
    pub lease: Span,
    /// How long a dependency may stay unavailable before the run gives up.
    pub max_outage: Span,
    /// How long what is in flight may take after a signal.
    pub drain: Span,
    /// Whether pending migrations are applied at the start, or refused.
    pub migrate: bool,
    /// The model.
    pub ml: Ml,
    /// CSV files.
    pub csv: tally_adapter_csv::Settings,
    /// Places that are watched.
    pub watch: Watch,
    /// Columns of the flow, by name.
    pub columns: BTreeMap<String, OfColumn>,
    /// Topics.
    pub kafka: Kafka,
    /// The quality rules, by name.
    pub quality: Rules,
    /// How many records may become dead letters.
    pub budget: Budget,
    /// How long a flow's history is kept, in whole days; `never` is it deleted by default.
    pub retention: Span,
    /// Masked fields.
    pub privacy: Privacy,
    /// Log lines.
    pub log: Log,
    /// `/metrics`, `/health` and `/ready`.
    pub obs: Obs,
    /// Settings of single flows, by name.
    pub flows: BTreeMap<String, OfFlow>,
}

/// Settings of one flow: those of the same names, and `kafka.topic`, `kafka.group` and `kafka.dlq_topic`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfFlow {
    topic: Option<String>,
    group: Option<String>,
    dlq_topic: Option<String>,
    ml: Option<Dict>,
    quality: Option<Dict>,
    budget: Option<Dict>,
    retention: Option<Span>,
    privacy: Option<Dict>,
    csv: Option<Dict>,
    columns: Option<Dict>,
    /// The topics of its outputs, by the outputs' names.
    #[serde(default)]
    publish: BTreeMap<String, String>,
}

/// Places that are watched.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// How long a file must be unchanged to be complete.
    pub settle: Span,
    /// How often it is looked for files.
    pub poll: Span,
    /// How long after its first failure a file is tried again.
    pub retry: Span,
    /// Whether instead of `settle` a marker `NAME.done` says that a file is complete.
    pub done_marker: bool,
}

/// A column.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OfColumn {
    /// The unit of its times that are numbers, on a topic.
    pub unit: Option<TimeUnit>,
}

/// The model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ml {
    /// Its address; the flow's path is appended, such as `/predict`.
    pub url: Url,
    /// Headers of each request besides its own.
    pub headers: BTreeMap<String, Secret>,
    /// Sent as `Authorization: Bearer …`; empty for none.
    pub bearer_token: Secret,
    /// The file that holds this token; read at the start, empty for none.
    pub bearer_token_file: String,
    /// How long connecting may take.
    pub connect_timeout: Span,
    /// How long a whole answer may take.
    pub answer_timeout: Span,
    /// How many batches may be at the model at once.
    pub concurrency: usize,
    /// The most records of a request; fewer while answers time out.
    pub request_size: usize,
    /// The most requests per second, of all batches together; 0 for no limit.
    pub max_requests_per_second: f64,
    /// Whether a record on which the model answers 500, while it answers for its neighbours, becomes a dead letter.
    pub isolate_errors: bool,
}

/// Topics.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Some of the brokers: host:port, separated by commas.
    pub brokers: String,
    /// The topic that is read, or written by `producer`.
    pub topic: String,
    /// The group whose positions are kept.
    pub group: String,
    /// Where a new group begins: `earliest`, `latest` or a timestamp.
    pub start: String,
    /// The topic that dead letters are published to; empty for none.
    pub dlq_topic: String,
    /// The schema registry's base URL; empty for none.
    pub registry_url: Url,
    /// The client id sent to the brokers.
    pub client_id: String,
    /// How long a batch waits for more records after its first one.
    pub linger: Span,
    /// How long an answer of a broker may take.
    pub timeout: Span,
    /// How many bytes the records of one batch of a log may take unpacked.
    pub max_batch_bytes: usize,
    /// How often a record of a flow's outputs may be published: `at-least-once` or `exactly-once`.
    pub delivery: DeliveryGuarantee,
    /// What transactional ids begin with.
    pub transactional_id_prefix: String,
    /// The topic that says how far transactions go; made where it is missing.
    pub progress_topic: String,
    /// Whether committed positions are reported to Kafka's consumer group, for tools that show its lag.
    pub report_offsets: bool,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// The authorities to trust, a PEM file; empty for the system's.
    pub ca_file: String,
    /// Authentication.
    pub sasl: Sasl,
}

/// Authentication to brokers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// `none`, `plain`, `scram-sha-256` or `scram-sha-512`.
    pub mechanism: Mechanism,
    pub username: String,
    pub password: Secret,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// No SASL.
    None,
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// Masked fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// The fields that are masked in dead letters, and where records are shown.
    pub masked: Vec<String>,
}

/// Log lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or levels by crate: `info,tally_pipeline=debug`.
    pub level: String,
    /// Pretty, JSON, or automatic: pretty on a terminal, JSON otherwise.
    pub format: Format,
}

/// `/metrics`, `/health` and `/ready`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obs {
    /// The address to listen on.
    pub host: String,
    /// The port; 0 takes a free one, which is printed.
    pub port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: Url::new("sqlite:tally.db"),
            batch_size: 1000,
            lease: Span::seconds(5),
            max_outage: Span::seconds(300),
            drain: Span::seconds(10),
            migrate: true,
            ml: Ml {
                url: Url::new("http://127.0.0.1:8000"),
                headers: BTreeMap::new(),
                bearer_token: Secret::default(),
                bearer_token_file: String::new(),
                connect_timeout: Span::seconds(2),
                answer_timeout: Span::seconds(5),
                concurrency: 4,
                request_size: 1000,
                max_requests_per_second: 0.0,
                isolate_errors: false,
            },
            csv: tally_adapter_csv::Settings::default(),
            watch: Watch {
                settle: Span::seconds(10),
                poll: Span::seconds(5),
                retry: Span::seconds(60),
                done_marker: false,
            },
            columns: BTreeMap::new(),
            kafka: Kafka {
                brokers: "127.0.0.1:9092".into(),
                topic: String::new(), // the flow's
                group: "tally".into(),
                start: "earliest".into(),
                dlq_topic: String::new(),
                registry_url: Url::new(""),
                client_id: "tally".into(),
                linger: Span::milliseconds(50),
                timeout: Span::seconds(10),
                max_batch_bytes: 64 * 1024 * 1024,
                delivery: DeliveryGuarantee::AtLeastOnce,
                transactional_id_prefix: "tally".into(),
                progress_topic: "tally-progress".into(),
                report_offsets: false,
                tls: false,
                ca_file: String::new(),
                sasl: Sasl {
                    mechanism: Mechanism::None,
                    username: String::new(),
                    password: Secret::default(),
                },
            },
            quality: Rules::default(),
            budget: Budget::default(),
            retention: Span::never(),
            privacy: Privacy::default(),
            log: Log { level: "info".into(), format: Format::Auto },
            obs: Obs { host: "127.0.0.1".into(), port: 0 },
            flows: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Refuses columns that the flow does not have.
    pub(crate) fn check_columns(&self, flow: &dyn Flow) -> Result<(), Stop> {
        for name in self.columns.keys() {
            let times = flow.columns().iter().filter(|column| column.kind == Kind::Timestamp);
            let times: Vec<&str> = times.map(|column| &*column.name).collect();
            if !times.contains(&name.as_str()) {
                let (flow, times) = (flow.name(), times.join(", "));
                return Err(wrong(format!(
                    "columns.{name} is no column of {flow} that holds times; these are {times}"
                )));
            }
        }
        Ok(())
    }

    /// Refuses a retention where the flow keeps no history, outputs that it does not have, and topics that it reads.
    pub(crate) fn check_effects(&self, flow: &dyn Flow) -> Result<(), Stop> {
        let name = flow.name();
        let of_flow = self.flows.get(name);
        if flow.histories().is_empty() && of_flow.is_some_and(|of_flow| of_flow.retention.is_some())
        {
            return Err(wrong(format!(
                "flows.{name}.retention is set, and the flow keeps no history"
            )));
        }
        let outputs: Vec<&str> = flow.outputs().iter().map(|output| &*output.name).collect();
        let set = of_flow.into_iter().flat_map(|of_flow| of_flow.publish.keys());
        if let Some(output) = set.into_iter().find(|output| !outputs.contains(&output.as_str())) {
            let known = match &outputs[..] {
                [] => "it publishes nothing".to_owned(),
                outputs => format!("these are {}", outputs.join(", ")),
            };
            let setting = format!("flows.{name}.publish.{output}");
            return Err(wrong(format!("{setting} is no output of the flow: {known}")));
        }
        for (output, topic) in outputs.into_iter().zip(&*self.topics(flow)) {
            let setting = format!("flows.{name}.publish.{output}");
            if topic.is_empty() {
                return Err(wrong(format!("{setting} is empty")));
            }
            if **topic == *self.kafka.topic {
                return Err(wrong(format!(
                    "{setting} is {topic}, as kafka.topic is: each record would be read again"
                )));
            }
        }
        Ok(())
    }

    /// The topics of the flow's outputs.
    pub fn topics(&self, flow: &dyn Flow) -> Topics {
        let set = self.flows.get(flow.name()).map(|of_flow| &of_flow.publish);
        let topic = |output: &Output| {
            let set = set.and_then(|topics| topics.get(&*output.name)).map(String::as_str);
            Arc::from(set.unwrap_or(&output.topic))
        };
        flow.outputs().iter().map(topic).collect()
    }

    /// Refuses values out of range. `rules` are the names of all quality rules.
    pub(crate) fn check(&self, rules: &[&str]) -> Result<(), Stop> {
        range("batch_size", self.batch_size, 1, 100_000)?;
        range("ml.concurrency", self.ml.concurrency, 1, 64)?;
        range("ml.request_size", self.ml.request_size, 1, 100_000)?;
        let rate = self.ml.max_requests_per_second;
        if !(0.001..=1_000_000.0).contains(&rate) && rate != 0.0 {
            return Err(wrong(format!(
                "ml.max_requests_per_second is {rate}: must be between 0.001 and 1000000, or 0 for no limit"
            )));
        }
        span("lease", self.lease, "100ms", "1h")?;
        span("drain", self.drain, "0s", "1h")?;
        span("ml.connect_timeout", self.ml.connect_timeout, "1ms", "10m")?;
        span("ml.answer_timeout", self.ml.answer_timeout, "1ms", "10m")?;
        let day = Duration::from_hours(24);
        if self.retention.limit().is_some_and(|kept| kept < day) {
            let retention = self.retention;
            return Err(wrong(format!("retention is {retention}: must be at least 1d, or never")));
        }
        span("watch.settle", self.watch.settle, "0s", "1h")?;
        span("watch.poll", self.watch.poll, "10ms", "1h")?;
        span("watch.retry", self.watch.retry, "1s", "1d")?;
        span("kafka.linger", self.kafka.linger, "0s", "1m")?;
        span("kafka.timeout", self.kafka.timeout, "100ms", "10m")?;
        range("kafka.max_batch_bytes", self.kafka.max_batch_bytes, 1_024, 1024 * 1024 * 1024)?;
        for (name, value) in [
            ("brokers", &self.kafka.brokers),
            ("topic", &self.kafka.topic),
            ("group", &self.kafka.group),
            ("transactional_id_prefix", &self.kafka.transactional_id_prefix),
            ("progress_topic", &self.kafka.progress_topic),
        ] {
            if value.trim().is_empty() {
                return Err(wrong(format!("kafka.{name} is empty")));
            }
        }
        let Kafka { group, topic, dlq_topic, .. } = &self.kafka;
        if group == "file" || group.starts_with("file/") {
            let meaning = "which stands for files: choose another name";
            return Err(wrong(format!("kafka.group is {group}, {meaning}")));
        }
        if dlq_topic == topic {
            return Err(wrong(format!(
                "kafka.dlq_topic is {topic}, as kafka.topic is: each dead letter would be read again"
            )));
        }
        range("quality.window", self.quality.window, 1, 10_000)?;
        self.csv.check()?;
        range("budget.window", self.budget.window, 1, 100_000)?;
        range("budget.in_a_row", self.budget.in_a_row, 1, 100_000)?;
        if !(0.0..=1.0).contains(&self.budget.ratio) {
            let ratio = self.budget.ratio;
            return Err(wrong(format!("budget.ratio is {ratio}: must be between 0 and 1")));
        }
        for (name, rule) in &self.quality.by_name {
            if !rules.contains(&name.as_str()) {
                return Err(wrong(format!(
                    "quality.{name} is not a rule; the rules are {}",
                    rules.join(", ")
                )));
            }
            if !(0.0..=1.0).contains(&rule.threshold) {
                return Err(wrong(format!(
                    "quality.{name}.threshold is {}: must be between 0 and 1",
                    rule.threshold
                )));
            }
        }
        Ok(())
    }
}

fn range(name: &str, value: usize, least: usize, most: usize) -> Result<(), Stop> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(wrong(format!("{name} is {value}: must be between {least} and {most}")))
}

fn span(name: &str, value: Span, least: &str, most: &str) -> Result<(), Stop> {
    let bound = |text: &str| text.parse::<Span>().ok().and_then(Span::limit);
    match value.limit() {
        Some(value) if Some(value) >= bound(least) && Some(value) <= bound(most) => Ok(()),
        _ => Err(wrong(format!("{name} is {value}: must be between {least} and {most}"))),
    }
}

pub(crate) fn wrong(message: impl Into<String>) -> Stop {
    Stop { kind: StopKind::Setting, message: message.into() }
}
