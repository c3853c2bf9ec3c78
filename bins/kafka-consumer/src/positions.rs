//! `positions show` and `positions set`.

use std::fmt::Write as _;
use std::slice;
use std::sync::Arc;

use serde_json::{Value, json};
use tally_adapter_kafka::{Cluster, Start, is_recreated};
use tally_app::{Settings, Store, print, say};
use tally_ports::{
    Act, DeliveryGuarantee, Fault, KnownFlow, Lease, PartitionState, PositionAdmin, SetTo, Stop,
    Stream,
};
use tally_runs::Process;
use tally_runs::stream::{self, ExistingTopic, Settled, stream_name};

use crate::arguments::Positions;
use crate::compose::{reading, wrong};

/// Runs `command` and prints the result, partition by partition; returns the exit code.
///
/// # Errors
/// When the store or the brokers are unavailable, the target is invalid, or a partition to be moved has an owner.
pub async fn run(known: &KnownFlow, command: &Positions, settings: &Settings) -> Result<u8, Stop> {
    let cluster = Cluster::new(&tally_app::kafka::settings(settings)?).map_err(Fault::into_stop)?;
    let topic = &settings.kafka.topic;
    let partitions = cluster.partitions(topic).await.map_err(Fault::into_stop)?;
    let cursor = cluster.cursor(topic).await.map_err(Fault::into_stop)?;
    let store = Store::open(settings, slice::from_ref(known)).await.map_err(Fault::into_stop)?;
    let group = Group { known, settings, cluster, cursor, store: Arc::new(store) };
    match command {
        Positions::Show => Ok(print(&group.show(&partitions).await?)),
        Positions::Set { partition, to, reason } => {
            let chosen = match partition {
                None => partitions,
                Some(number) if partitions.contains(number) => vec![*number],
                Some(number) => {
                    let (topic, count) = (&settings.kafka.topic, partitions.len());
                    return Err(wrong(format!(
                        "{topic} has {count} partitions, but no partition {number}"
                    )));
                }
            };
            let target = Target::parse(to)?;
            for number in chosen {
                let code = print(&group.set(number, target, reason).await?);
                if code != 0 {
                    return Ok(code);
                }
            }
            Ok(0)
        }
    }
}

/// A group of a topic.
struct Group<'a> {
    known: &'a KnownFlow,
    settings: &'a Settings,
    cluster: Cluster,
    /// The cursor of a position in the topic as it is now.
    cursor: Value,
    store: Arc<Store>,
}

impl Group<'_> {
    fn stream(&self) -> String {
        stream_name(&self.settings.kafka.group, &self.settings.kafka.topic)
    }

    async fn partition_states(&self) -> Result<Vec<PartitionState>, Stop> {
        let states = self.store.partition_states(self.known.flow.name(), &self.stream()).await;
        states.map_err(Fault::into_stop)
    }

    async fn show(&self, partitions: &[i32]) -> Result<String, Stop> {
        let mut text = String::new();
        let columns = ["partition", "pass", "next", "end", "lag", "owner"];
        let [partition, pass, next, end, lag, owner] = columns;
        line(
            &mut text,
            format_args!("{partition:>9} {pass:>5} {next:>12} {end:>12} {lag:>10}  {owner}"),
        );
        let partition_states = self.partition_states().await?;
        for number in partitions {
            let end = self.offset(*number, Start::Latest).await?;
            let state = partition_states.iter().find(|state| state.partition == *number);
            match state {
                Some(PartitionState { pass, next, owner, .. }) => {
                    let (lag, owner) = (end - next, owner.as_deref().unwrap_or("-"));
                    line(
                        &mut text,
                        format_args!(
                            "{number:>9} {pass:>5} {next:>12} {end:>12} {lag:>10}  {owner}"
                        ),
                    );
                }
                None => line(
                    &mut text,
                    format_args!("{number:>9} {0:>5} {0:>12} {end:>12} {0:>10}  {0}", "-"),
                ),
            }
        }
        Ok(text)
    }

    async fn set(&self, number: i32, target: Target, reason: &str) -> Result<String, Stop> {
        let topic = &self.settings.kafka.topic;
        let (first, end) = (
            self.offset(number, Start::Earliest).await?,
            self.offset(number, Start::Latest).await?,
        );
        let to = match target {
            Target::Offset(offset) if (first..=end).contains(&offset) => offset,
            Target::Offset(offset) => {
                return Err(wrong(format!(
                    "offset {offset} is not in {topic}/{number}, which reaches from {first} to {end}"
                )));
            }
            Target::Start(start) => self.offset(number, start).await?,
        };
        let stream = Stream {
            flow: self.known.flow.name().to_owned(),
            name: self.stream(),
            partition: number,
            label: topic.clone(),
        };
        let lease = self.settle(number).await?;
        let partition_states = self.partition_states().await?;
        let state = partition_states.iter().find(|state| state.partition == number);
        let from = state.map(|state| state.next);
        let act = Act {
            who: who(),
            verb: "positions set",
            flow: stream.flow.clone(),
            target: format!("{}/{number}", stream.name),
            reason: format!("positions set: {reason}"),
            result: json!({ "from": from, "to": to }),
        };
        let is_recreated = match state {
            Some(PartitionState { next, cursor, .. }) => {
                let is_recreated = is_recreated(&self.cluster, topic, number, *next, cursor).await;
                is_recreated.map_err(Fault::into_stop)?
            }
            None => false,
        };
        // Whether the log is another one holds for this position only.
        let seen = Some(state.map_or((0, 0), |state| (state.pass, state.next)));
        let set_to = SetTo { next: to, is_recreated, cursor: self.cursor.clone(), seen };
        self.store.set(&stream, set_to, lease.as_ref(), &act).await.map_err(Fault::into_stop)?;
        let from = from.map_or_else(|| "the start".to_owned(), |from| from.to_string());
        Ok(format!("{topic}/{number}: from {from} to {to}\n"))
    }

    /// Settles what was published in a transaction and not committed, and says so; the lease under which the position is set then.
    async fn settle(&self, number: i32) -> Result<Option<Lease>, Stop> {
        let Self { known, settings, .. } = self;
        let (flow, topic) = (&known.flow, &settings.kafka.topic);
        let was_read = self.partition_states().await?.iter().any(|state| state.partition == number);
        let is_settled = !was_read || settings.kafka.delivery != DeliveryGuarantee::ExactlyOnce;
        if is_settled {
            return Ok(None);
        }
        let outputs = tally_app::kafka::outputs(settings, &**flow)?;
        let process = Process::new("kafka-consumer", "kafka", settings.max_outage.limit());
        let (decoder, of_run) = reading(known, settings, who())?;
        let found = ExistingTopic::look_up(self.cluster.clone(), decoder, &of_run).await;
        let found = found.map_err(Fault::into_stop)?;
        let store = &self.store;
        let (settled, lease) =
            stream::settle(&process, flow, outputs, store, &found, of_run, number).await?;
        match settled {
            Settled::Nothing => {}
            Settled::Committed { next } => {
                say(&format!(
                    "{topic}/{number}: committed what was published, up to before {next}"
                ));
            }
            Settled::Forgotten(why) => {
                say(&format!("{topic}/{number}: forgot what was published: {why}"));
            }
        }
        Ok(Some(lease))
    }

    async fn offset(&self, partition: i32, at: Start) -> Result<i64, Stop> {
        self.cluster
            .offset(&self.settings.kafka.topic, partition, at)
            .await
            .map_err(Fault::into_stop)
    }
}

fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    tally_app::who(host.trim())
}

/// The target of `positions set`.
#[derive(Clone, Copy)]
enum Target {
    Offset(i64),
    Start(Start),
}

impl Target {
    fn parse(text: &str) -> Result<Self, Stop> {
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        let start =
            text.parse().map_err(|error| wrong(format!("--to {text}: {error}, nor an offset")))?;
        Ok(Self::Start(start))
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _never_fails = writeln!(text, "{line}");
}
