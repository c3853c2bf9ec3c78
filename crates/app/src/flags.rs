//! Flags that several binaries share.

use std::path::PathBuf;

use clap::Args;
use figment::value::Value;

use crate::span::Span;

/// The flags of every binary.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// The settings' file [default: tally.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print every setting and where it comes from, and exit
    #[arg(long, global = true)]
    pub print_config: bool,
    /// Refuse a database whose tables are not up to date instead of migrating them
    #[arg(long, global = true)]
    pub(crate) no_migrate: bool,
}

/// The flags of binaries that write records to a store.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// The database to write to: sqlite:PATH, postgres:// or postgresql:// [default: sqlite:tally.db]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// The model's address [default: <http://127.0.0.1:8000>]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) ml_url: Option<String>,
    /// The most records of a batch [default: 1000; 4000 for a flow without a model]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    /// How long a dependency may stay unavailable, like 30s, 5m or never [default: 5m; kafka-consumer: never]
    #[arg(long, global = true, value_name = "TIME")]
    pub(crate) max_outage: Option<Span>,
    /// How long an owner of a partition may be silent before another takes over [default: 5s]
    #[arg(long, global = true, value_name = "TIME")]
    pub(crate) lease: Option<Span>,
    /// The flags of every binary.
    #[command(flatten)]
    pub common: Common,
}

/// The flags of binaries that read a store.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreFlags {
    /// The database to read: sqlite:PATH, postgres:// or postgresql:// [default: sqlite:tally.db]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// The flags of every binary.
    #[command(flatten)]
    pub common: Common,
}

/// The flags of the topic.
#[derive(Args, Clone, Debug, Default)]
pub struct TopicFlags {
    /// Some of the brokers, host:port separated by commas [default: 127.0.0.1:9092]
    #[arg(long, global = true, value_name = "LIST")]
    brokers: Option<String>,
    /// The topic [default: transactions]
    #[arg(long, global = true, value_name = "TOPIC")]
    topic: Option<String>,
}

/// The flags of a reader of topics.
#[derive(Args, Clone, Debug, Default)]
pub struct ConsumerFlags {
    /// The flags of the topic.
    #[command(flatten)]
    topic: TopicFlags,
    /// The group whose positions are kept [default: tally]
    #[arg(long, global = true, value_name = "GROUP")]
    group: Option<String>,
    /// Where a new group begins: earliest, latest or a timestamp [default: earliest]
    #[arg(long, global = true, value_name = "START")]
    start: Option<String>,
    /// The topic that dead letters are published to [default: none]
    #[arg(long, global = true, value_name = "TOPIC")]
    dlq_topic: Option<String>,
}

/// Which brokers.
#[derive(Args, Clone, Debug, Default)]
pub struct BrokersFlag {
    /// Some of the brokers, host:port separated by commas [default: 127.0.0.1:9092]
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
}

/// The flags for comparing a group's positions with its topic.
#[derive(Args, Clone, Debug, Default)]
pub struct GroupFlags {
    /// Also compare with the topics at these brokers: host:port separated by commas
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// The topic [default: transactions]
    #[arg(long, requires = "brokers", value_name = "TOPIC")]
    topic: Option<String>,
    /// The group that has read it [default: tally]
    #[arg(long, requires = "brokers", value_name = "GROUP")]
    group: Option<String>,
}

/// A flag that was given.
pub struct Given {
    /// As it is written.
    pub(crate) flag: &'static str,
    /// The setting's path.
    pub(crate) path: &'static str,
    /// What was given.
    pub(crate) value: Value,
}

impl Given {
    fn some<const N: usize>(values: [(&'static str, &'static str, Option<Value>); N]) -> Vec<Self> {
        let given = |(flag, path, value): (_, _, Option<Value>)| {
            value.map(|value| Self { flag, path, value })
        };
        values.into_iter().filter_map(given).collect()
    }
}

impl Common {
    /// Those that were given and are settings.
    pub fn given(&self) -> Vec<Given> {
        Given::some([("--no-migrate", "migrate", self.no_migrate.then(|| Value::from(false)))])
    }
}

impl Flags {
    /// Those that were given.
    pub fn given(&self) -> Vec<Given> {
        let text = |span: &Span| Value::from(span.to_string());
        let mut given = Given::some([
            ("--database-url", "database_url", self.database_url.clone().map(Value::from)),
            ("--ml-url", "ml.url", self.ml_url.clone().map(Value::from)),
            ("--batch-size", "batch_size", self.batch_size.map(Value::from)),
            ("--max-outage", "max_outage", self.max_outage.as_ref().map(text)),
            ("--lease", "lease", self.lease.as_ref().map(text)),
        ]);
        given.extend(self.common.given());
        given
    }
}

impl StoreFlags {
    /// Those that were given.
    pub fn given(&self) -> Vec<Given> {
        let mut given = Given::some([(
            "--database-url",
            "database_url",
            self.database_url.clone().map(Value::from),
        )]);
        given.extend(self.common.given());
        given
    }
}

impl GroupFlags {
    /// Whether brokers are named.
    pub const fn has_brokers(&self) -> bool {
        self.brokers.is_some()
    }

    /// Whether the topic is named.
    pub const fn has_topic(&self) -> bool {
        self.topic.is_some()
    }

    /// Those that were given.
    pub fn given(&self) -> Vec<Given> {
        Given::some([
            ("--brokers", "kafka.brokers", self.brokers.clone().map(Value::from)),
            ("--topic", "kafka.topic", self.topic.clone().map(Value::from)),
            ("--group", "kafka.group", self.group.clone().map(Value::from)),
        ])
    }
}

impl BrokersFlag {
    /// Those that were given.
    pub fn given(&self) -> Vec<Given> {
        Given::some([("--brokers", "kafka.brokers", self.brokers.clone().map(Value::from))])
    }
}

impl TopicFlags {
    /// Those that were given.
    pub fn given(&self) -> Vec<Given> {
        Given::some([
            ("--brokers", "kafka.brokers", self.brokers.clone().map(Value::from)),
            ("--topic", "kafka.topic", self.topic.clone().map(Value::from)),
        ])
    }
}

impl ConsumerFlags {
    /// Those that were given.
    pub fn given(&self) -> Vec<Given> {
        let mut given = Given::some([
            ("--group", "kafka.group", self.group.clone().map(Value::from)),
            ("--start", "kafka.start", self.start.clone().map(Value::from)),
            ("--dlq-topic", "kafka.dlq_topic", self.dlq_topic.clone().map(Value::from)),
        ]);
        given.extend(self.topic.given());
        given
    }
}
