//! A batch on its way from a source to the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tally_domain::amount::Notation;
use tally_domain::quality::Report;
use tally_domain::{Fields, Flow, Raw, Reason, Record};
use uuid::Uuid;

use crate::publish::Outgoing;
use crate::{
    DeadLetter, Lease, Mask, Origin, Outcome, OutgoingRecord, Passed, Refusal, Stop, StopKind,
    Stream, Topics, Way,
};

/// What a source read at once.
#[derive(Debug)]
pub struct Batch {
    /// The position asked for.
    pub first: i64,
    /// The last position passed; the next batch starts at `last + 1`.
    pub last: i64,
    /// What was read there, in order of position.
    pub items: Vec<Item>,
    /// How amounts are written in them.
    pub notation: Notation,
    /// Where to go on, in the source's own words.
    pub cursor: Value,
    /// The positions without a record.
    pub passed: Passed,
    /// Whether the source is known to end with it.
    pub is_last: bool,
}

impl Batch {
    /// Nothing was there to read at `next` yet.
    pub fn idle(next: i64) -> Self {
        Self {
            first: next,
            last: next - 1,
            items: Vec::new(),
            notation: Notation::Plain,
            cursor: Value::Null,
            passed: Passed::default(),
            is_last: false,
        }
    }

    /// Whether it passes no position, so that there is nothing to commit.
    pub const fn is_idle(&self) -> bool {
        self.last < self.first
    }
}

/// One record as a source found it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the partition.
    pub position: i64,
    /// Its bytes as they were.
    pub raw: Raw,
    /// What was found in the flow's columns, or why its bytes are no record.
    pub content: Result<Fields, Reason>,
}

/// A record that passed every stage before the store. Its `Debug` shows no values.
#[derive(Clone)]
pub struct Row {
    /// Its place in the partition.
    pub position: i64,
    /// The record, with what the model said of it.
    pub record: Record,
    /// Its bytes, for the dead letter it may still become.
    pub raw: Raw,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("position", &self.position).finish_non_exhaustive()
    }
}

/// Everything that one transaction writes.
#[derive(Debug)]
pub struct Commit {
    /// What its records are.
    pub flow: Arc<dyn Flow>,
    /// Chosen when the batch was read, kept through retries.
    pub id: Uuid,
    /// Its stream and partition.
    pub stream: Arc<Stream>,
    /// The position's row and the epoch in which we own it.
    pub lease: Lease,
    /// Who commits.
    pub worker: Arc<str>,
    /// Which reading of the stream this is, from 1.
    pub pass: i32,
    /// Which log of that name it is, from 1.
    pub log: i64,
    /// The position asked for: where the position's row must stand.
    pub first: i64,
    /// The last position passed.
    pub last: i64,
    /// How many records were read.
    pub read: i64,
    /// What passed every stage, in order of position.
    pub rows: Vec<Row>,
    /// What some stage refused, in order of position.
    pub dead_letters: Vec<DeadLetter>,
    /// The topics of the flow's outputs.
    pub topics: Topics,
    /// Where to go on.
    pub cursor: Value,
    /// What the flow and its quality rules remember for the next batch.
    pub stats: Value,
    /// What the quality rules found.
    pub quality: Report,
    /// The positions without a record.
    pub passed: Passed,
    /// When the batch was read.
    pub started: Instant,
    /// Takes out of dead letters what must not be kept; those above went through it.
    pub mask: Option<Arc<dyn Mask>>,
    /// Whether the database may refuse as many rows as it does; the dead letters above were admitted before.
    pub dead_letter_budget: Option<Arc<dyn DeadLetterBudget>>,
}

/// Whether the database may refuse rows of a batch.
pub trait DeadLetterBudget: fmt::Debug + Send + Sync + 'static {
    /// Errs when with the `refused` rows too many records became dead letters: nothing of their batch may be committed
    /// then. May be asked again, by each attempt to commit.
    fn admit(&self, refused: &[Refused]) -> Result<(), Stop>;
}

/// A range of positions, inclusive, of a log.
#[derive(Clone, Debug)]
pub struct LogRange {
    pub flow: Arc<dyn Flow>,
    pub stream: Arc<Stream>,
    /// The position's row.
    pub position_id: i64,
    /// Which log of that name it is, from 1.
    pub log: i64,
    pub first: i64,
    pub last: i64,
}

impl LogRange {
    /// Where its rows come from.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            flow: &*self.flow,
            id: self.position_id,
            stream: &self.stream.name,
            partition: self.stream.partition,
            log: self.log,
        }
    }
}

impl Commit {
    /// The positions that were read.
    pub fn range(&self) -> LogRange {
        LogRange {
            flow: Arc::clone(&self.flow),
            stream: Arc::clone(&self.stream),
            position_id: self.lease.position_id,
            log: self.log,
            first: self.first,
            last: self.last,
        }
    }

    /// Where its rows come from.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            flow: &*self.flow,
            id: self.lease.position_id,
            stream: &self.stream.name,
            partition: self.stream.partition,
            log: self.log,
        }
    }

    /// What the `outcomes` of the rows, in the same order, come to, and the dead letters of those that the database
    /// refused.
    ///
    /// # Errors
    /// When nothing of the batch may be committed: too many rows were refused, or outcomes are missing.
    pub fn conclude(&self, outcomes: &[Outcome]) -> Result<(Committed, Vec<DeadLetter>), Stop> {
        if outcomes.len() != self.rows.len() {
            let (found, wanted, flow) = (outcomes.len(), self.rows.len(), self.flow.name());
            let message =
                format!("the effect of {flow} tells of {found} rows where there are {wanted}");
            return Err(Stop { kind: StopKind::Data, message });
        }
        let committed = Committed::count(&self.rows, outcomes);
        if let Some(dead_letter_budget) = &self.dead_letter_budget {
            dead_letter_budget.admit(&committed.refused)?;
        }
        let refused = self.rows.iter().zip(outcomes).filter_map(|(row, outcome)| match outcome {
            Outcome::Refused(refusal) => Some(self.refused(row, refusal)),
            _ => None,
        });
        let refused = refused.collect();
        Ok((committed, refused))
    }

    /// What goes into the outbox of those of the `rows`, without what was published before, that are not refused by their
    /// `outcomes`.
    ///
    /// # Errors
    /// When something does not fit the flow's description.
    pub fn to_outbox(
        &self,
        rows: &[Row],
        outcomes: &[Outcome],
    ) -> Result<Vec<OutgoingRecord>, Stop> {
        let mut records = Vec::new();
        if Way::of(&*self.flow) != Some(Way::Outbox) {
            return Ok(records);
        }
        let mut outgoing = Outgoing::new(self.origin(), &self.topics, false);
        for (row, outcome) in rows.iter().zip(outcomes) {
            if !matches!(outcome, Outcome::Refused(_)) {
                records.extend(outgoing.records(row)?);
            }
        }
        Ok(records)
    }

    /// The flow's own split of what was written and skipped by the `outcomes` of the rows, where its records have one.
    pub fn detail(&self, outcomes: &[Outcome]) -> Option<Value> {
        let mut counts: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
        for (row, outcome) in self.rows.iter().zip(outcomes) {
            let what = match outcome {
                Outcome::Written => "written",
                Outcome::Skipped => "skipped",
                Outcome::Superseded | Outcome::Refused(_) => continue,
            };
            if let Some(detail) = &row.record.detail {
                *counts.entry(what).or_default().entry(&**detail).or_default() += 1;
            }
        }
        (!counts.is_empty()).then(|| json!(counts))
    }

    /// The dead letter of a row that the database refused.
    fn refused(&self, row: &Row, refusal: &Refusal) -> DeadLetter {
        let raw = self.mask.as_ref().map_or_else(|| row.raw.clone(), |mask| mask.mask(&row.raw));
        DeadLetter::first(row.position, refusal.into(), raw)
    }
}

/// What became of a batch's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Rows whose effect the store holds.
    pub written: i64,
    /// Rows of which a newer version was written, in this batch or before it.
    pub superseded: i64,
    /// Rows that by the flow's rule have no effect.
    pub skipped: i64,
    /// Rows that the database refused; they are dead letters of the same transaction. In order of position.
    pub refused: Vec<Refused>,
}

impl Committed {
    /// Counts the outcomes of `rows`, which stand in the same order.
    fn count(rows: &[Row], outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for (row, outcome) in rows.iter().zip(outcomes) {
            match outcome {
                Outcome::Written => counts.written += 1,
                Outcome::Superseded => counts.superseded += 1,
                Outcome::Skipped => counts.skipped += 1,
                Outcome::Refused(Refusal { code, .. }) => {
                    counts.refused.push(Refused { position: row.position, code: code.clone() });
                }
            }
        }
        counts
    }
}

/// A row that the database refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its position.
    pub position: i64,
    /// The SQLSTATE or `SQLite`'s constraint kind.
    pub code: String,
}
