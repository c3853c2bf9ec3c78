//! The ledger as a database holds it, read past the program.

use std::time::Instant;

use serde_json::Value;

use crate::job::{LONG, Target};
use crate::process::Process;
use tally_testkit::eventually;

/// The ledger, in order of stream, pass and position.
pub struct Ledger(pub Vec<Entry>);

/// A batch.
#[derive(Debug)]
pub struct Entry {
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: String,
    /// In which reading of it, from 1.
    pub pass: i64,
    /// Its first position.
    pub first: i64,
    /// Its last position.
    pub last: i64,
    /// How many records were read.
    pub read: i64,
    /// How many of them had their effect.
    pub written: i64,
    /// How many had a newer version in the same batch.
    pub superseded: i64,
    /// How many by the flow's rule have no effect.
    pub skipped: i64,
    /// How many became dead letters.
    pub dead_lettered: i64,
    /// Who committed.
    pub worker: String,
    /// What the quality rules found.
    pub quality: Value,
    /// Dead letters in the table that name this batch and lie in its range.
    pub dead_letters: i64,
}

/// A reading of a stream.
#[derive(Debug, Default)]
pub struct Pass {
    /// What its rows name as their origin.
    pub origin: i64,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: String,
    /// Which one, from 1.
    pub number: i64,
    /// The next position to read.
    pub next: i64,
    /// Who has its lease.
    pub owner: Option<String>,
    /// Whether it was finished.
    pub ended: bool,
    /// How many records all its batches read.
    pub read: i64,
    /// How many of them had their effect.
    pub written: i64,
    /// How many had a newer version in their batch.
    pub superseded: i64,
    /// How many became dead letters.
    pub dead_lettered: i64,
}

impl Ledger {
    /// As it is now.
    pub async fn read(target: &Target) -> Self {
        let rows = target
            .query(
                "select stream, pass, first, last, read, written, superseded, skipped, dead_lettered, worker, quality, \
                 (select count(*) from dead_letters where dead_letters.batch_id = batches.id \
                  and dead_letters.stream = batches.stream and dead_letters.pass = batches.pass \
                  and dead_letters.position between batches.first and batches.last) \
                 from batches order by stream, pass, first",
            )
            .await;
        Self(rows.iter().map(|row| Entry::new(row)).collect())
    }

    /// No gap, no overlap, every batch and every pass accounted for, positions where their last batch ends.
    pub async fn check_whole(&self, target: &Target) -> Vec<Pass> {
        let sql =
            "select id, stream, pass, next, owner, ended_at from positions order by stream, pass";
        let mut passes: Vec<Pass> =
            target.query(sql).await.iter().map(|row| Pass::new(row)).collect();
        let mut dead_letters = 0;
        for pass in &mut passes {
            let mut next = 0;
            for entry in self
                .0
                .iter()
                .filter(|entry| entry.stream == pass.stream && entry.pass == pass.number)
            {
                assert_eq!(entry.first, next, "a gap or an overlap: {entry:?}");
                next = entry.last + 1;
                assert_eq!(entry.read, next - entry.first, "{entry:?}");
                let accounted =
                    entry.written + entry.superseded + entry.skipped + entry.dead_lettered;
                assert_eq!(entry.read, accounted, "{entry:?}");
                assert_eq!(entry.dead_lettered, entry.dead_letters, "{entry:?}");
                pass.read += entry.read;
                pass.written += entry.written;
                pass.superseded += entry.superseded;
                pass.dead_lettered += entry.dead_lettered;
            }
            assert_eq!(pass.next, next, "the position stands where the last batch ends: {pass:?}");
            dead_letters += pass.dead_lettered;
        }
        let read: i64 = passes.iter().map(|pass| pass.read).sum();
        assert_eq!(read, self.0.iter().map(|entry| entry.read).sum::<i64>(), "a batch of no pass");
        assert_eq!(target.number("select count(*) from dead_letters").await, dead_letters);
        passes
    }
}

impl Entry {
    fn new(row: &[Option<String>]) -> Self {
        let text = |column: usize| row[column].clone().unwrap();
        let number = |column: usize| text(column).parse::<i64>().unwrap();
        Self {
            stream: text(0),
            pass: number(1),
            first: number(2),
            last: number(3),
            read: number(4),
            written: number(5),
            superseded: number(6),
            skipped: number(7),
            dead_lettered: number(8),
            worker: text(9),
            quality: serde_json::from_str(&text(10)).unwrap(),
            dead_letters: number(11),
        }
    }
}

impl Pass {
    fn new(row: &[Option<String>]) -> Self {
        let number = |column: usize| row[column].as_deref().unwrap().parse::<i64>().unwrap();
        Self {
            origin: number(0),
            stream: row[1].clone().unwrap(),
            number: number(2),
            next: number(3),
            owner: row[4].clone(),
            ended: row[5].is_some(),
            ..Self::default()
        }
    }
}

/// How many positions were passed by all commits so far.
pub async fn committed(target: &Target) -> i64 {
    if !target.has_tables().await {
        return 0;
    }
    target.number("select coalesce(sum(last - first + 1), 0) from batches").await
}

/// Returns once the process has committed a batch; fails when it ends without.
pub async fn until_it_commits(process: &Process, target: &Target) {
    let began = Instant::now();
    let its = format!("select count(*) from batches where worker like '%:{}:%'", process.id());
    eventually(2 * LONG, async || {
        let has_committed = target.has_tables().await && target.number(&its).await > 0;
        let output = process.output_so_far();
        let runs_on = output.code.is_none() && output.signal.is_none() && began.elapsed() < LONG;
        assert!(has_committed || runs_on, "nothing committed: {output}");
        has_committed
    })
    .await;
}
