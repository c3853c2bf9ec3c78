use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::Broker;
use crate::background::blocking;
use crate::service::own_folder;

/// Who may log in to a secured broker, by any mechanism.
pub const USER: &str = "tally";
/// With which password.
pub const PASSWORD: &str = "secret";

/// Where its process is noted.
const PID: &str = "kafka/pid";

/// A broker of the test's own; wiped with this value, and a few seconds after the test is killed.
pub struct OwnKafka {
    broker: Broker,
}

impl OwnKafka {
    /// Takes some four seconds. Panics, saying what to install, where it cannot be started.
    pub async fn start() -> Self {
        Self::launch(Vec::new()).await
    }

    /// With listeners for TLS, for SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) and for both.
    pub async fn secured() -> Self {
        Self::secured_with(&[]).await
    }

    /// The same with more settings of `kafka.sh`: `("KAFKA_CERTIFICATE_DAYS", "0")`.
    pub async fn secured_with(settings: &[(&'static str, &str)]) -> Self {
        let more = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self::launch([("KAFKA_SECURITY", "1".to_owned())].into_iter().chain(more).collect()).await
    }

    pub(super) async fn launch(settings: Vec<(&'static str, String)>) -> Self {
        let start = move || Broker::start(own_folder(), Duration::ZERO, settings);
        Self { broker: blocking(start).await }
    }

    /// Where a secured broker takes SASL without TLS.
    pub fn sasl(&self) -> String {
        self.service.run(&["url", "sasl"])
    }

    /// Where a secured broker takes TLS without SASL; by the names `127.0.0.1` and `localhost`.
    pub fn tls(&self) -> String {
        self.service.run(&["url", "tls"])
    }

    /// Where a secured broker takes SASL inside TLS.
    pub fn sasl_tls(&self) -> String {
        self.service.run(&["url", "sasl_tls"])
    }

    /// The authority to trust, a file of PEM.
    pub fn ca(&self) -> PathBuf {
        self.service.run(&["ca"]).into()
    }

    /// Stops it as an administrator would.
    pub async fn stop(&self) {
        self.run("stop").await;
    }

    /// Up again on the same ports with the same data, after [`stop`](Self::stop) or [`kill9`](Self::kill9).
    pub async fn start_again(&self) {
        self.run("start").await;
    }

    /// Changes one of the batches that a partition keeps on disk, counted from 0. Only after [`stop`](Self::stop): a
    /// broker that was killed mends its logs.
    pub fn edit_batch(
        &self,
        topic: &str,
        partition: i32,
        batch: usize,
        edit: impl FnOnce(&mut [u8]),
    ) {
        let path = self.segment_path(topic, partition);
        let mut segment = self.segment(topic, partition);
        let mut at = 0;
        for _ in 0..batch {
            at += length(&segment[at..]);
        }
        let end = at + length(&segment[at..]);
        edit(&mut segment[at..end]);
        fs::write(&path, segment).expect("write the segment");
    }

    /// SIGKILL; returns when it is dead. Starting it again takes three seconds more than after a stop.
    pub async fn kill9(&self) {
        self.service.kill9(PID).await;
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub fn freeze(&self) {
        kill(self.service.pid(PID), Signal::SIGSTOP).expect("the broker lives");
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        kill(self.service.pid(PID), Signal::SIGCONT).expect("the broker lives");
    }

    async fn run(&self, verb: &'static str) {
        let service = Arc::clone(&self.service);
        blocking(move || service.run(&[verb])).await;
    }
}

/// All that a broker does.
impl Deref for OwnKafka {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        self.service.wipe();
    }
}

/// How many bytes the batch at the start takes.
fn length(segment: &[u8]) -> usize {
    let length = segment.get(8..12).and_then(<[u8]>::first_chunk).expect("the start of a batch");
    12 + usize::try_from(i32::from_be_bytes(*length)).expect("a length")
}
