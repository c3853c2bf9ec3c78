//! A file, and a topic to send it to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tally_harness::kafka::Broker;
use tally_harness::process::{Launch, Output, Process};
use tempfile::TempDir;

pub const SOON: Duration = Duration::from_secs(40);
pub const HEADER: &str = "id;description;amount;timestamp;merchant;operation_type;side\n";

/// A file in a folder of its own, and a topic to send it to.
pub struct Scene {
    pub folder: TempDir,
    pub broker: &'static Broker,
    pub topic: String,
}

impl Scene {
    pub async fn new(rows: &str) -> Self {
        let broker = Broker::shared().await;
        let scene = Self { folder: TempDir::new().unwrap(), broker, topic: broker.topic(3).await };
        fs::write(scene.path(), format!("{HEADER}{rows}")).unwrap();
        scene
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("rows.csv")
    }

    pub fn start(&self, flags: &[&str]) -> Process {
        self.start_file(&self.path(), flags)
    }

    pub fn start_file(&self, file: &Path, flags: &[&str]) -> Process {
        Launch::new(env!("CARGO_BIN_EXE_producer"))
            .args([file.to_str().unwrap(), "--brokers", self.broker.bootstrap()])
            .args(["--topic", &self.topic])
            .args(flags)
            .spawn()
    }

    #[track_caller]
    pub fn ended_with(&self, flags: &[&str], code: i32) -> Output {
        let output = self.start(flags).wait(SOON);
        assert_eq!(output.code, Some(code), "{output}");
        output
    }

    /// Key and value of every record, by partition.
    pub async fn records(&self) -> BTreeMap<i32, Vec<(String, Value)>> {
        let mut records = BTreeMap::new();
        for partition in 0..3 {
            let found = self.broker.read_all(&self.topic, partition).await;
            let pairs = found.into_iter().map(|found| {
                let key = String::from_utf8(found.record.key.unwrap()).unwrap();
                (key, serde_json::from_slice(&found.record.value.unwrap()).unwrap())
            });
            records.insert(partition, pairs.collect());
        }
        records
    }
}

pub fn row(id: u32) -> String {
    format!("{id};CB;-1,50;2024-01-15 08:30:00;;payment;debit\n")
}
