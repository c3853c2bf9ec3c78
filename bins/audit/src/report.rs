//! The report of an audit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};
use tally_audit::{Findings, FlowTotals, Kind, PartitionTotals, Published, PublishedTo};
use tally_ports::audit::{Counts, PassName};
use tally_ports::position::FILE;
use tally_runs::audit::{Audited, ComparedFile, ComparedPartition, NotCompared};

use crate::arguments::Output;

/// The report of an audit.
pub struct Report(pub Audited);

impl Report {
    /// All of it.
    pub fn show(&self, output: Output) -> String {
        match output {
            Output::Text => self.text(),
            Output::Json => self.json().to_string() + "\n",
        }
    }

    /// How many violations of which kinds there are, if any.
    pub fn violations_in_words(&self) -> Option<String> {
        let counts = self.0.findings.violations.counts();
        let all: u64 = counts.values().sum();
        let kinds: Vec<String> =
            counts.iter().map(|(kind, count)| format!("{} {count}", kind.as_str())).collect();
        let noun = if all == 1 { "violation" } else { "violations" };
        (all > 0).then(|| format!("{all} {noun}: {}", kinds.join(", ")))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let Findings { violations, totals, .. } = &self.0.findings;
        for violation in violations.listed() {
            line(&mut text, &format!("{}: {}", violation.kind.as_str(), violation.message));
        }
        for (kind, count) in violations.left_out() {
            line(&mut text, &format!("{}: and {count} more", kind.as_str()));
        }
        if !violations.is_empty() {
            text.push('\n');
        }

        line(&mut text, HEAD);
        for partition in &totals.partitions {
            line(&mut text, &row_of_partition(partition));
        }
        if totals.left_out > 0 {
            line(&mut text, &format!("... and {} more partitions and files", totals.left_out));
        }
        for FlowTotals { flow, batches, sums, .. } in &totals.flows {
            line(&mut text, &row_of("", "", "", *batches, sums, &format!("all of {flow}")));
        }
        let (batches, sums) = totals.all();
        line(&mut text, &row_of("", "", "", batches, &sums, "everything"));

        text.push('\n');
        for FlowTotals { flow, rows, .. } in &totals.flows {
            line(&mut text, &format!("{flow}: {rows} rows"));
        }
        let letters: Vec<String> =
            totals.letters.iter().map(|(state, count)| format!("{count} {state}")).collect();
        if !letters.is_empty() {
            line(&mut text, &format!("dead letters: {}", letters.join(", ")));
        }
        for ComparedFile { path, flow, rows, .. } in &self.0.files {
            let is_one = self.0.files.iter().filter(|file| file.path == *path).count() == 1;
            let of = if is_one { String::new() } else { format!(" of {flow}") };
            line(&mut text, &format!("{path}: {rows} rows{of}"));
        }
        for partition in &self.0.partitions {
            line(&mut text, &in_words(partition));
        }
        if let Some(published) = &self.0.published {
            for words in published_in_words(published) {
                line(&mut text, &words);
            }
        }
        for NotCompared { flow, why } in &self.0.not_compared {
            line(&mut text, &format!("{flow}: the counters were not compared: {why}"));
        }
        if violations.is_empty() {
            let is_all = self.0.partitions.iter().all(|partition| partition.schema_unknown == 0);
            let all = if is_all { "every record" } else { "every record that could be read" };
            line(&mut text, &format!("{all} is accounted for"));
        }
        text
    }

    fn json(&self) -> Value {
        let Findings { violations, totals, .. } = &self.0.findings;
        let (batches, sums) = totals.all();
        let listed: Vec<_> = violations.listed().collect();
        let counts = violations.counts();
        let counts: BTreeMap<&str, u64> =
            counts.iter().map(|(kind, count)| (Kind::as_str(*kind), *count)).collect();
        let flows: Vec<Value> = totals.flows.iter().map(json_of_flow).collect();
        let partitions: Vec<Value> = totals.partitions.iter().map(json_of_partition).collect();
        let all = Totals { of: json!({}), batches, sums: &sums };
        json!({
            "violations": listed,
            "violation_counts": counts,
            "total": all.json(),
            "flows": flows,
            "partitions": partitions,
            "partitions_left_out": totals.left_out,
            "dead_letters": totals.letters,
            "files": self.0.files,
            "log": self.0.partitions,
            "published": self.0.published,
            "not_compared": self.0.not_compared,
        })
    }
}

/// Counts of something, as scripts read them.
struct Totals<'a> {
    of: Value,
    batches: i64,
    sums: &'a Counts,
}

#[derive(Serialize)]
struct Json {
    #[serde(flatten)]
    of: Value,
    batches: i64,
    read: i64,
    written: i64,
    superseded: i64,
    skipped: i64,
    dead_lettered: i64,
}

impl Totals<'_> {
    fn json(self) -> Value {
        let Counts { read, written, superseded, skipped, dead_lettered } = *self.sums;
        let (of, batches) = (self.of, self.batches);
        json!(Json { of, batches, read, written, superseded, skipped, dead_lettered })
    }
}

fn json_of_flow(flow: &FlowTotals) -> Value {
    let of = json!({ "flow": flow.flow, "rows": flow.rows });
    Totals { of, batches: flow.batches, sums: &flow.sums }.json()
}

fn json_of_partition(partition: &PartitionTotals) -> Value {
    let PassName { flow, stream, partition: number, pass } = &partition.last.name;
    let of = json!({
        "flow": flow,
        "stream": stream,
        "label": partition.last.label,
        "partition": number,
        "passes": pass,
        "next": partition.last.next,
        "ended": partition.last.has_ended,
    });
    Totals { of, batches: partition.batches, sums: &partition.sums }.json()
}

const HEAD: &str = "partition pass         next    batches         read      written   superseded      skipped \
    dead letters  stream";

fn row_of_partition(partition: &PartitionTotals) -> String {
    let PassName { stream, partition: number, pass, .. } = &partition.last.name;
    // A file is shown by its path; the hash is for `--output json`.
    let stream = match stream.strip_prefix(FILE) {
        Some(hash) => {
            let short: String = hash.chars().take(12).collect();
            format!("{FILE}{short} {}", partition.last.label)
        }
        None => stream.clone(),
    };
    row_of(
        &number.to_string(),
        &pass.to_string(),
        &partition.last.next.to_string(),
        partition.batches,
        &partition.sums,
        &stream,
    )
}

fn row_of(
    partition: &str,
    pass: &str,
    next: &str,
    batches: i64,
    sums: &Counts,
    stream: &str,
) -> String {
    let Counts { read, written, superseded, skipped, dead_lettered } = sums;
    format!(
        "{partition:>9} {pass:>4} {next:>12} {batches:>10} {read:>12} {written:>12} {superseded:>12} {skipped:>12} \
         {dead_lettered:>12}  {stream}"
    )
}

fn line(text: &mut String, line: &str) {
    let _never_fails = writeln!(text, "{line}");
}

fn in_words(compared: &ComparedPartition) -> String {
    let ComparedPartition {
        topic,
        partition,
        first,
        end,
        batches,
        records,
        compacted,
        schema_unknown,
        ..
    } = compared;
    let log = format!("{topic}/{partition}, whose log is from {first} to {end}");
    match compared.next {
        None => format!("{log}: never read"),
        Some(next) => {
            let text = format!(
                "{log}: read to {next}, {records} records in {batches} batches counted again, {compacted} compacted since"
            );
            match schema_unknown {
                0 => text,
                unknown => format!(
                    "{text}, {unknown} not looked for: their schema is unknown (SCHEMA_REGISTRY_URL)"
                ),
            }
        }
    }
}

fn published_in_words(published: &Published) -> Vec<String> {
    let Published {
        flow,
        topics,
        records,
        repeats,
        others,
        expected,
        unpublished,
        uncommitted,
        deleted,
    } = published;
    let of_topic = |PublishedTo { topic, records, is_whole }: &PublishedTo| {
        let part = if *is_whole { "" } else { ", from which records were deleted" };
        format!("{flow} publishes to {topic}, which holds {records} records{part}")
    };
    let mut lines: Vec<String> = topics.iter().map(of_topic).collect();
    lines.push(format!(
        "{flow}: {records} published records, {repeats} of them repeats, and {others} of others; {expected} are due by the \
         sources"
    ));
    for (count, what) in [
        (unpublished, "records stand in the outbox"),
        (
            uncommitted,
            "records are published and not committed: the next run commits or repeats them",
        ),
        (deleted, "records are not there, and may have been deleted from their topic"),
    ] {
        if *count > 0 {
            lines.push(format!("{flow}: {count} {what}"));
        }
    }
    lines
}
