//! Kafka, Postgres and the schema registry of the benchmark.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rskafka::client::ClientBuilder;
use tokio::time::sleep;

use crate::measure::{Measured, Usage};
use crate::runner::Sample;
use crate::server::Server;

/// Of each topic.
pub const PARTITIONS: i32 = 6;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/native");

/// A service of the benchmark's own, by one of the scripts; wiped with this value, and by the script's watch when this
/// process is killed.
pub struct Service {
    script: PathBuf,
    state: PathBuf,
    _claim: File,
}

impl Service {
    /// Starts it, with its data in `folder`.
    pub fn start(name: &str, folder: &Path) -> anyhow::Result<Self> {
        let state = folder.join(name);
        std::fs::create_dir(&state)?;
        let claim = File::create(state.join("users"))?;
        claim.lock_shared()?;
        let script = Path::new(SCRIPTS).join(format!("{name}.sh"));
        let service = Self { script, state, _claim: claim };
        service.run(&["start"])?;
        Ok(service)
    }

    /// What a verb of the script prints.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.script)
            .args(words)
            .env("INFRA_STATE", &self.state)
            .envs(
                ["KAFKA", "KAFKA_CONTROLLER", "REGISTRY", "REGISTRY_MANAGEMENT"]
                    .map(|name| (format!("{name}_PORT"), "0")),
            )
            .envs([("KAFKA_WIPE_IDLE", "0"), ("REGISTRY_WIPE_IDLE", "0")])
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("{}: {}", self.script.display(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["wipe"]) {
            eprintln!("a service is left to its watch: {error}");
        }
    }
}

/// What records go through: the services and the folder that they work in.
pub struct Services {
    folder: PathBuf,
    /// Where they end.
    pub server: Server,
    /// The address of the broker.
    pub brokers: String,
    kafka: Service,
}

impl Services {
    /// Starts them, with their data in `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let kafka = Service::start("kafka", folder)?;
        let (server, brokers) = (Server::start(folder)?, kafka.run(&["url"])?);
        Ok(Self { folder: folder.to_owned(), server, brokers, kafka })
    }

    /// Makes a topic.
    pub fn topic(&self, name: &str) -> anyhow::Result<String> {
        self.kafka.run(&["topics", &format!("{name}:{PARTITIONS}")])?;
        Ok(name.to_owned())
    }

    /// Makes a topic with these settings: `KEY=VALUE,...`.
    pub fn topic_with(&self, name: &str, settings: &str) -> anyhow::Result<String> {
        self.kafka.run(&["topics", &format!("{name}:{PARTITIONS}:{settings}")])?;
        Ok(name.to_owned())
    }

    /// Deletes a topic: the disk is not to fill with what nobody reads any more.
    pub async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        let client = ClientBuilder::new(vec![self.brokers.clone()]).build().await?;
        let timeout = Duration::from_secs(10).as_millis().try_into()?;
        Ok(client.controller_client()?.delete_topic(topic, timeout).await?)
    }

    /// Returns when all partitions have an owner in the database.
    pub async fn until_owned(&self, database: &str) -> anyhow::Result<()> {
        let client = self.server.connect(database).await?;
        loop {
            let owned = client
                .query_one("select count(*) from positions where owner is not null", &[])
                .await;
            if owned.is_ok_and(|row| row.get::<_, i64>(0) == i64::from(PARTITIONS)) {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Starts a binary that reads or writes a topic.
    pub fn launch(
        &self,
        binary: &str,
        topic: &str,
        args: &[&str],
        envs: &[(&str, &str)],
    ) -> anyhow::Result<Measured> {
        let own = [("KAFKA_BOOTSTRAP_SERVERS", &*self.brokers), ("TOPIC_NAME", topic)];
        Measured::start(binary, &self.folder, args, &[&own, envs].concat())
    }

    /// Sends all of `sample` and ensures that it is said to be sent.
    pub async fn produce(
        &self,
        topic: &str,
        sample: &Sample,
        flags: &[&str],
        envs: &[(&str, &str)],
    ) -> anyhow::Result<Usage> {
        let path = sample.path.to_str().context("a path that is not UTF-8")?;
        let args = [&[path], flags].concat();
        let usage = self.launch("producer", topic, &args, envs)?.end().await?;
        let said = format!("{0} rows read, {0} sent", sample.rows);
        ensure!(
            usage.output.starts_with(&said),
            "producer does not account for all: {}",
            usage.output
        );
        Ok(usage)
    }
}
