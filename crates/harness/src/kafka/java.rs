use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::background::RUNTIME;
use crate::service::root;

const DEADLINE: Duration = Duration::from_mins(1);

/// Kafka's own producer, a process that ends with this value. What it is sent stays in its memory until the next
/// [`flush`](Self::flush); what is sent between two of these is one batch per partition, up to 512 KiB.
///
/// Every method but [`send`](Self::send) panics with what the broker has refused, or when it has not answered within a
/// minute.
pub struct JavaProducer {
    _child: Child,
    commands: BufWriter<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

/// A record to write. `JavaRecord { topic: &topic, value: Some(b"..."), ..Default::default() }` is enough.
#[derive(Clone, Copy, Default)]
pub struct JavaRecord<'a> {
    /// Where to.
    pub topic: &'a str,
    /// By Kafka's own partitioner when there is none.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// None is a tombstone.
    pub value: Option<&'a [u8]>,
    /// In order, names may be repeated, values may be null.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// In milliseconds; none is now.
    pub timestamp: Option<i64>,
    /// `gzip`, `snappy`, `lz4`, `zstd`; none is none. Inside a transaction it is always none.
    pub compression: Option<&'a str>,
}

/// A record as Kafka's own consumer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it lies.
    pub offset: i64,
    /// In milliseconds.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// None is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In order, as they were written.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a user has rights on.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    Cluster,
    Topic(&'a str),
    TransactionalId(&'a str),
}

impl JavaProducer {
    /// Starts it. Panics, saying what to install, where it cannot be started.
    pub fn start(bootstrap: &str) -> Self {
        let mut child = spawn("run", "Produce.java", &[bootstrap]);
        let commands = BufWriter::new(child.stdin.take().expect("a pipe"));
        let answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { _child: child, commands, answers }
    }

    /// Hands a record over. Outside a transaction it is a plain one.
    pub async fn send(&mut self, record: JavaRecord<'_>) {
        let headers: Vec<_> =
            record.headers.iter().map(|&(name, value)| json!([name, encoded(value)])).collect();
        self.write(&json!({
            "op": "send",
            "topic": record.topic,
            "partition": record.partition,
            "key": encoded(record.key),
            "value": encoded(record.value),
            "headers": headers,
            "timestamp": record.timestamp,
            "compression": record.compression.unwrap_or("none"),
        }))
        .await;
    }

    /// Writes what was sent and returns the offsets since the last time, in the order of the sends.
    pub async fn flush(&mut self) -> Vec<i64> {
        offsets(&self.ask(&json!({ "op": "flush" })).await)
    }

    /// Begins a transaction. One that is neither committed nor aborted when this value goes stays open for a minute.
    pub async fn begin(&mut self) {
        self.begin_within(Duration::from_mins(1)).await;
    }

    /// The same, and the broker aborts it after so long. All transactions of this value have the time of the first.
    pub async fn begin_within(&mut self, time: Duration) {
        let timeout_ms = u64::try_from(time.as_millis()).expect("some minutes at most");
        self.ask(&json!({ "op": "begin", "timeout_ms": timeout_ms })).await;
    }

    /// Flushes and commits; returns what [`flush`](Self::flush) does. The marker takes the offset after the last one.
    pub async fn commit(&mut self) -> Vec<i64> {
        offsets(&self.ask(&json!({ "op": "commit" })).await)
    }

    /// Flushes, so that the records lie in the log, and aborts; otherwise like [`commit`](Self::commit).
    pub async fn abort(&mut self) -> Vec<i64> {
        offsets(&self.ask(&json!({ "op": "abort" })).await)
    }

    /// All that a partition holds; `committed`: without what was aborted or is still open.
    pub async fn read_all(&mut self, topic: &str, partition: i32, committed: bool) -> Vec<Stored> {
        let question = json!({
            "op": "read", "topic": topic, "partition": partition, "committed": committed,
        });
        let answer = self.ask(&question).await;
        answer["records"].as_array().expect("records").iter().map(Stored::decode).collect()
    }

    /// Sums over all partitions of a topic: of the last stable offsets, and of the ends of the logs.
    pub async fn ends(&mut self, topic: &str) -> (i64, i64) {
        let answer = self.ask(&json!({ "op": "ends", "topic": topic })).await;
        let sum = |name: &str| answer[name].as_i64().expect("a sum");
        (sum("stable"), sum("written"))
    }

    /// The offset that a consumer group has committed.
    pub async fn group_offset(&mut self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let question =
            json!({ "op": "group", "group": group, "topic": topic, "partition": partition });
        self.ask(&question).await["offset"].as_i64()
    }

    /// Takes the right to read a topic away from a user, or gives it back.
    pub async fn deny(&mut self, user: &str, topic: &str, denied: bool) {
        let question = json!({ "op": "deny", "user": user, "topic": topic, "denied": denied });
        self.ask(&question).await;
    }

    /// Leaves a user only these rights on a resource, beside those that it was left before: `READ`, `DESCRIBE_CONFIGS`. For a broker that gives every right where there are no rules.
    pub async fn restrict(&mut self, user: &str, resource: Resource<'_>, rights: &[&str]) {
        let (kind, name) = match resource {
            Resource::Cluster => ("CLUSTER", "kafka-cluster"),
            Resource::Topic(name) => ("TOPIC", name),
            Resource::TransactionalId(name) => ("TRANSACTIONAL_ID", name),
        };
        let question = json!({
            "op": "restrict", "user": user, "kind": kind, "name": name, "rights": rights,
        });
        self.ask(&question).await;
    }

    async fn write(&mut self, command: &Value) {
        let line = format!("{command}\n");
        let written = self.commands.write_all(line.as_bytes()).await;
        written.expect("the producer lives: it has said why it does not");
    }

    async fn ask(&mut self, command: &Value) -> Value {
        self.write(command).await;
        self.commands.flush().await.expect("the producer lives");
        let Ok(line) = timeout(DEADLINE, self.answers.next_line()).await else {
            panic!("no answer to {} within {DEADLINE:?}", command["op"])
        };
        let line = line.expect("UTF-8").expect("the producer lives: it has said why it does not");
        let answer: Value = serde_json::from_str(&line).expect("an answer in JSON");
        assert!(answer["error"].is_null(), "{}: {}", command["op"], answer["error"]);
        answer
    }
}

/// Starts a program of `java/` by `kafka.sh`. It ends with this value, and sees the end of its standard input when the
/// test is killed.
pub(super) fn spawn(verb: &str, file: &str, args: &[&str]) -> Child {
    let _runtime = RUNTIME.enter();
    Command::new(root().join("infra/native/kafka.sh"))
        .arg(verb)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("java").join(file))
        .args(args)
        .env_remove("KAFKA_VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("bash and infra/native/kafka.sh")
}

impl Stored {
    fn decode(value: &Value) -> Self {
        let header =
            |header: &Value| (header[0].as_str().expect("a name").to_owned(), decoded(&header[1]));
        Self {
            offset: value["offset"].as_i64().expect("an offset"),
            timestamp: value["timestamp"].as_i64().expect("a timestamp"),
            key: decoded(&value["key"]),
            value: decoded(&value["value"]),
            headers: value["headers"].as_array().expect("headers").iter().map(header).collect(),
        }
    }
}

fn offsets(answer: &Value) -> Vec<i64> {
    let offsets = answer["offsets"].as_array().expect("offsets").iter();
    offsets.map(|offset| offset.as_i64().expect("an offset")).collect()
}

fn encoded(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| STANDARD.encode(bytes))
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| STANDARD.decode(text).expect("base64"))
}
