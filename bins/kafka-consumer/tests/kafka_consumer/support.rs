//! A topic, what reads and feeds it, and what the database must hold in the end.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::job::{Job, LONG, ModelService, Target};
use tally_harness::kafka::Broker;
use tally_harness::process::{Launch, Output, Process, Signal, binary};
use tally_harness::sample::{Sample, assert_same_rows, rows};
use uuid::Uuid;

/// The lease of the consumers.
pub const LEASE: Duration = Duration::from_secs(2);
/// That of those whose leases nobody may have to wait for, however busy the machine is.
pub const LONG_LEASE: Duration = Duration::from_secs(30);
/// How long whole streams may take on a machine that is busy with other tests.
pub const VERY_LONG: Duration = Duration::from_mins(3);

/// A topic of six partitions on its way into a database.
pub struct Stream {
    pub brokers: String,
    pub topic: String,
    pub target: Target,
    pub model: ModelService,
}

impl Stream {
    /// On the shared broker, into a Postgres database of its own.
    pub async fn new() -> Self {
        Self::into(Target::postgres().await).await
    }

    /// On the shared broker.
    pub async fn into(target: Target) -> Self {
        let broker = Broker::shared().await;
        let topic = broker.topic(6).await;
        let model = ModelService::start();
        Self { brokers: broker.bootstrap().to_owned(), topic, target, model }
    }

    /// A consumer with small batches and a short lease.
    pub fn consumer(&self) -> Job {
        self.consumer_with(self.model.url())
    }

    /// One that asks another model.
    pub fn consumer_with(&self, model: &str) -> Job {
        self.consumer_for(LEASE, model)
    }

    /// One with another lease.
    pub fn consumer_for(&self, lease: Duration, model: &str) -> Job {
        Job::consumer(&self.target.url(), &self.brokers, &self.topic)
            .model(model)
            .flags(["--batch-size=200", &format!("--lease={lease:?}")])
            .env("LOG_FORMAT", "pretty")
    }

    /// The real producer with `flags`, sending `sample`.
    pub fn producer(&self, sample: &Sample, flags: &[&str]) -> Process {
        self.producer_to(&self.topic, sample, flags)
    }

    /// The same to another topic.
    pub fn producer_to(&self, topic: &str, sample: &Sample, flags: &[&str]) -> Process {
        Launch::new(binary("producer"))
            .args([sample.path().to_str().unwrap(), "--brokers", &self.brokers])
            .args(["--topic", topic])
            .args(flags)
            .spawn()
    }

    /// Sends all of `sample`.
    pub fn feed(&self, sample: &Sample) {
        let output = self.producer(sample, &[]).wait(VERY_LONG);
        assert_eq!(output.code, Some(0), "{output}");
    }

    /// Consumes up to where the topic ends now.
    #[track_caller]
    pub fn consume_to_end(&self) {
        let output = self.consumer().flag("--until-end").spawn().wait(VERY_LONG);
        assert_eq!(output.code, Some(0), "{output}");
    }

    /// How many records the ledger tells of.
    pub async fn read(&self) -> i64 {
        if !self.target.has_tables().await {
            return 0;
        }
        self.target.number("select coalesce(sum(read), 0) from batches").await
    }

    /// Returns when the ledger tells of so many records.
    pub async fn until_read(&self, records: i64) {
        eventually(VERY_LONG, async || self.read().await >= records).await;
    }

    /// Returns when exactly these processes hold all six partitions, each as many as the others. The lease of one that
    /// was killed lives on, so how many somebody holds does not tell who.
    pub async fn until_shared_by(&self, running: impl IntoIterator<Item = &Process>) {
        let mut running: Vec<String> =
            running.into_iter().map(|process| process.id().to_string()).collect();
        running.sort();
        let each = (6 / running.len()).to_string();
        let expected: Vec<_> =
            running.into_iter().map(|pid| [Some(pid), Some(each.clone())]).collect();
        let sql = "select split_part(owner, ':', 2), count(*) from positions \
            where lease_until > clock_timestamp() group by 1 order by 1";
        eventually(LONG, async || {
            self.target.has_tables().await && self.target.query(sql).await == expected
        })
        .await;
    }

    /// Each row of the sample was written once and nothing became a dead letter; the ledger has neither gap nor
    /// overlap and tells of each record once.
    pub async fn check_taken(&self, sample: &Sample) {
        assert_same_rows(&rows(&self.target).await, &sample.expected_rows());
        self.check_ledger().await;
        let sums =
            "select sum(read), sum(written), sum(superseded), sum(dead_lettered) from batches";
        let sums = self.target.query(sums).await.remove(0);
        let expected = [sample.rows(), sample.rows(), 0, 0].map(|sum| Some(sum.to_string()));
        assert_eq!(sums, expected, "read, written, superseded, dead-lettered");
        assert_eq!(self.target.number("select count(*) from dead_letters").await, 0);
    }

    /// Sums over the ledger: records, and offsets without one by why.
    pub async fn counted(&self, whys: &[&str]) -> Vec<i64> {
        let passed = |why: &&str| format!("coalesce(sum((passed->>'{why}')::bigint), 0)");
        let columns: Vec<_> =
            ["sum(read)".to_owned()].into_iter().chain(whys.iter().map(passed)).collect();
        let sums = format!("select {} from batches", columns.join(", "));
        let sums = self.target.query(&sums).await.remove(0);
        sums.into_iter().map(|sum| sum.unwrap().parse().unwrap()).collect()
    }

    /// Neither gap nor overlap, all batches and offsets accounted for, positions behind the last of them.
    pub async fn check_ledger(&self) {
        let passed = match self.target {
            Target::Sqlite(_) => "select coalesce(sum(value), 0) from json_each(passed)",
            Target::Postgres(_) => {
                "select coalesce(sum(value::bigint), 0) from json_each_text(passed)"
            }
        };
        let offsets =
            format!("select first from batches where last - first + 1 <> read + ({passed})");
        let wrong = [
            &*offsets,
            "select first from (select first, lag(last) over (partition by stream, partition, pass order by first) \
             as before from batches) b where first <> before + 1",
            "select first from batches where read <> written + superseded + skipped + dead_lettered",
            "select first from batches b where dead_lettered <> \
             (select count(*) from dead_letters d where d.batch_id = b.id)",
            "select next from positions p where next <> (select max(last) + 1 from batches b \
             where b.stream = p.stream and b.partition = p.partition and b.pass = p.pass)",
        ];
        for sql in wrong {
            assert_eq!(self.target.query(sql).await, Vec::<Vec<Option<String>>>::new(), "{sql}");
        }
    }
}

/// Where the process answers for itself.
#[track_caller]
pub fn address(process: &Process) -> String {
    let line = process.wait_for_line("readiness on http://", LONG);
    line.rsplit_once("http://").unwrap().1.trim().to_owned()
}

/// The status with which it answers to `GET /ready`.
pub fn ready(address: &str) -> u16 {
    let answer = get(address, "/ready");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The whole answer to `GET path`.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: tally\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns when it answers to `GET /ready` with `status`.
pub async fn until_ready_is(address: &str, status: u16) {
    eventually(LONG, async || ready(address) == status).await;
}

/// A good record as JSON, with `id` 1 and so on.
pub fn good(id: u32) -> Value {
    json!({
        "id": Uuid::from_u128(id.into()).to_string(), "description": "CB", "amount": -1.5, "merchant": null,
        "timestamp": "2024-01-15T08:30:00", "operation_type": "payment", "side": "debit", "more": {"x": 1},
    })
}

/// It ended with this exit code.
#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.code, Some(code), "{output}");
}

/// Stops a producer amid its rows; what it has sent by then.
pub fn stop_producer(producer: &Process) -> Sample {
    producer.signal(Signal::SIGINT);
    let output = producer.wait(LONG);
    assert_eq!(output.code, Some(130), "{output}");
    let (_, rest) = output.stdout.split_once("rows read, ").unwrap();
    let (sent, _) = rest.split_once(' ').unwrap();
    Sample::new(sent.parse().unwrap())
}

/// Each ends as it was asked to, with all that it had in flight committed.
#[track_caller]
pub fn end_all(consumers: &[Process]) {
    for consumer in consumers {
        // One that has only been started does not listen to signals yet.
        consumer.wait_for_line("metrics, health and readiness on", LONG);
        consumer.signal(Signal::SIGTERM);
    }
    for consumer in consumers {
        let output = consumer.wait(LONG);
        assert_eq!(output.code, Some(143), "{output}");
    }
}

/// The most memory that it has held so far, in bytes.
pub fn peak_memory(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1024
}
