//! `tail`: the records of a topic as they come.

mod filters;
mod line;
mod newest;
mod reading;

use std::collections::BTreeSet;

use chrono::Utc;
use tally_adapter_kafka::Cluster;
use tally_adapter_kafka::wire::View;
use tally_app::{Settings, Worker, print_logged};
use tally_ports::{Fault, KnownFlow, Stop};
use tally_runs::Process;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

pub use self::filters::Filters;
use self::newest::newest;
use self::reading::{Ends, Record, Topic};
use crate::arguments::{Output, Tail};

/// Prints the records that `tail` asks for, with `until_end` only up to where the partitions end now; returns the exit code.
///
/// # Errors
/// When a setting is wrong, there is no such topic, the brokers are unavailable at the start, or later for longer than
/// allowed.
pub async fn run(
    known: &KnownFlow,
    tail: &Tail,
    until_end: bool,
    settings: &Settings,
) -> Result<u8, Stop> {
    let registry = tally_app::kafka::registry(settings)?;
    let view = View::new(&settings.privacy.masked, known.flow.columns(), registry);
    tail.filters.check(&view)?;
    let of_kafka = tally_app::kafka::settings(settings)?;
    let cluster = Cluster::new(&of_kafka).map_err(Fault::into_stop)?;
    let Worker { process, shutdown, .. } = tally_app::console("kafka-consumer", "kafka", settings)?;
    let printer = Printer { tail, view, process: &process, printed: 0, said: BTreeSet::new() };
    let printing = printer.run(cluster, until_end);
    let code = process.unless_stopped(printing).await.transpose()?;
    Ok(shutdown.exit_code().or(code).unwrap_or(0))
}

/// Prints records.
struct Printer<'a> {
    tail: &'a Tail,
    view: View,
    process: &'a Process,
    printed: usize,
    /// Why values are not shown as JSON: the codes of the reasons that were told.
    said: BTreeSet<String>,
}

impl Printer<'_> {
    async fn run(mut self, cluster: Cluster, until_end: bool) -> Result<u8, Stop> {
        let topic = Topic::new(self.process, cluster, &self.tail.name);
        let ends = topic.ends().await.map_err(Fault::into_stop)?;
        let (name, partitions) = (&self.tail.name, ends.len());
        if until_end {
            tracing::info!(partitions, "reading {name} up to its end");
        } else {
            tracing::info!(partitions, "following {name}; Ctrl-C stops");
        }
        if let Some(count) = self.tail.last {
            let records = newest(&topic, &ends, count.get()).await?;
            if let Some(code) = self.print(records).await? {
                return Ok(code);
            }
        }
        let (sender, mut batches) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for Ends { partition, first, end } in ends {
            let from = if self.tail.from_beginning { first } else { end };
            let reading = topic.read(partition, from, until_end.then_some(end));
            tasks.spawn(reading.send_to(sender.clone()));
        }
        drop(sender);
        loop {
            let batch = tokio::select! {
                biased;
                () = self.process.stop.cancelled() => return Ok(0),
                batch = batches.recv() => batch,
            };
            let Some(records) = batch else { return Ok(0) };
            if let Some(code) = self.print(records?).await? {
                return Ok(code);
            }
        }
    }

    /// Prints those that the filters let through; the exit code where that was the last of it.
    async fn print(&mut self, records: Vec<Record>) -> Result<Option<u8>, Stop> {
        let limit = self.tail.limit.map_or(usize::MAX, Into::into);
        let mut text = String::new();
        for record in &records {
            let viewing = || self.view.show(&record.raw);
            let viewed = self.process.gates.source.pass(viewing).await?;
            if !self.tail.filters.let_through(&viewed) {
                continue;
            }
            text += &match self.tail.output {
                Output::Text => line::text(record, &viewed, Utc::now()),
                Output::Json => line::json(&self.tail.name, record, &viewed),
            };
            if let Some(reason) = viewed.why
                && self.said.insert(reason.code.to_string())
            {
                let at = format!("{}/{}@{}", self.tail.name, record.partition, record.offset);
                let message = reason.message;
                tracing::warn!("{at} and others like it are not shown as JSON: {message}");
            }
            self.printed += 1;
            if self.printed == limit {
                break;
            }
        }
        // On a thread of its own, as a reader that does not read on would hold up a signal.
        let code = match spawn_blocking(move || print_logged(&text)).await {
            Ok(code) => code,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let is_last = code != 0 || self.printed == limit;
        Ok(is_last.then_some(code))
    }
}
