//! The store in memory as the contract looks at it.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use tally_domain::transactions::Transactions;
use tally_ports::OutboxRecord;
use tally_ports::dead_letter::headers_to_json;

use super::outbox::OutboxRow;
use super::{DeadLetterRow, Entry, MemoryStore, PositionRow, StoredAct, WorkerRow};
use crate::accounts::Accounts;
use crate::contract::{
    ACCOUNTS, ACTS, BATCHES, DEAD_LETTERS, HAPPENINGS, OUTBOX, POSITIONS, PRICES, Record, Store,
    TOTALS, TRANSACTIONS, Table, VISITS, WORKERS,
};
use crate::visits::Visits;

const REFUSAL: &str = "refused_in_memory";

/// With the constraints that the tests' tables have in a database: no empty page, and nothing that happened unnamed.
impl Store for MemoryStore {
    type Sink = Self;

    async fn open(&self) -> Self {
        self.refuse(|flow, row| {
            let is_empty = flow == Visits::NAME && row["page"].is_empty()
                || flow == Accounts::NAME && row.has("what") && row["what"].is_empty();
            is_empty.then(|| REFUSAL.to_owned())
        });
        self.clone()
    }

    async fn read(&self, table: &'static Table) -> Vec<Record> {
        let of_flows = [&TRANSACTIONS, &VISITS, &ACCOUNTS, &PRICES, &HAPPENINGS, &TOTALS]
            .map(|table| table.name);
        if of_flows.contains(&table.name) {
            return self.rows(table.name);
        }
        let state = self.state();
        if table.name == POSITIONS.name {
            return (1..).zip(&state.positions).map(|(id, row)| position_record(id, row)).collect();
        }
        if table.name == OUTBOX.name {
            let mut rows: Vec<_> = state.outbox.iter().collect();
            rows.sort_by_key(|row| {
                (row.stream.name.clone(), row.stream.partition, row.record.number)
            });
            return rows.into_iter().map(outbox_record).collect();
        }
        if table.name == ACTS.name {
            return state.acts.iter().map(act_record).collect();
        }
        if table.name == WORKERS.name {
            return state.workers.iter().map(worker_record).collect();
        }
        if table.name == BATCHES.name {
            let mut entries: Vec<_> = state.batches.iter().collect();
            entries.sort_by_key(|entry| {
                (entry.stream.name.clone(), entry.stream.partition, entry.pass, entry.first)
            });
            return entries.into_iter().map(entry_record).collect();
        }
        let mut letters: Vec<_> = state.dead_letters.iter().collect();
        letters.sort_by_key(|stored| {
            let DeadLetterRow { stream, pass, dead_letter: letter, .. } = stored;
            (stream.name.clone(), stream.partition, *pass, letter.position, letter.attempt)
        });
        letters.into_iter().map(dead_letter_record).collect()
    }

    async fn purge(&self, position: i64) {
        self.state().dead_letters.retain(|stored| stored.dead_letter.position != position);
    }

    async fn refuse_amounts_above(&self, limit: i64) {
        let limit = limit * 100;
        self.refuse(move |flow, row| {
            let is_above = || row["amount"].replace('.', "").parse::<i64>().unwrap() > limit;
            (flow == Transactions::NAME && is_above()).then(|| REFUSAL.to_owned())
        });
    }

    async fn restart_logs(&self) {
        for row in self.state().positions.iter_mut().filter(|row| row.ended_at.is_none()) {
            row.log += 1;
        }
    }

    async fn turn_clock_back_a_day(&self) {
        self.turn_clock_back(Duration::from_hours(24));
    }

    fn refusal_code(&self) -> &'static str {
        REFUSAL
    }
}

fn position_record(id: i64, row: &PositionRow) -> Record {
    POSITIONS.record([
        Some(id.to_string()),
        Some(row.stream.flow.clone()),
        Some(row.stream.name.clone()),
        Some(row.stream.partition.to_string()),
        Some(row.pass.to_string()),
        Some(row.log.to_string()),
        Some(row.stream.label.clone()),
        Some(row.next.to_string()),
        Some(row.cursor.to_string()),
        Some(row.stats.to_string()),
        Some(row.epoch.to_string()),
        Some(row.outbox_next.to_string()),
        row.owner.clone(),
        row.lease_until.map(|at| at.to_string()),
        row.ended_at.map(|at| at.to_string()),
        row.rejected_at.map(|at| at.to_string()),
        Some(row.updated_at.to_string()),
    ])
}

fn entry_record(entry: &Entry) -> Record {
    let counts = &entry.committed;
    BATCHES.record([
        Some(entry.id.to_string()),
        Some(entry.stream.flow.clone()),
        Some(entry.stream.name.clone()),
        Some(entry.stream.partition.to_string()),
        Some(entry.pass.to_string()),
        Some(entry.first.to_string()),
        Some(entry.last.to_string()),
        Some(entry.read.to_string()),
        Some(counts.written.to_string()),
        Some(counts.superseded.to_string()),
        Some(counts.skipped.to_string()),
        Some(entry.dead_lettered.to_string()),
        serde_json::to_string(&entry.quality).ok(),
        entry.gap.clone(),
        Some(entry.passed.to_json().to_string()),
        entry.detail.as_ref().map(ToString::to_string),
        Some(entry.committed_at.to_string()),
        Some(entry.committed_at.to_string()),
        Some(entry.worker.to_string()),
    ])
}

fn dead_letter_record(stored: &DeadLetterRow) -> Record {
    let DeadLetterRow {
        stream,
        pass,
        batch_id,
        dead_letter: letter,
        state,
        outdated_by,
        failed_at,
        published_at,
    } = stored;
    DEAD_LETTERS.record([
        Some(letter.id(stream, *pass).to_string()),
        Some(stream.flow.clone()),
        Some(stream.name.clone()),
        Some(stream.partition.to_string()),
        Some(pass.to_string()),
        Some(letter.position.to_string()),
        Some(letter.attempt.to_string()),
        Some(batch_id.to_string()),
        Some(headers_to_json(&letter.raw.headers).to_string()),
        Some(letter.reason.stage.to_string()),
        Some(letter.reason.code.to_string()),
        Some(letter.reason.message.clone()),
        Some(state.to_string()),
        outdated_by.map(|rule| rule.as_str().to_owned()),
        Some(failed_at.to_string()),
        published_at.map(|at| at.to_string()),
        letter.raw.key.as_ref().map(hex),
        letter.raw.payload.as_ref().map(hex),
    ])
}

fn outbox_record(row: &OutboxRow) -> Record {
    let OutboxRow { stream, record: OutboxRecord { number, record } } = row;
    OUTBOX.record([
        Some(stream.flow.clone()),
        Some(stream.name.clone()),
        Some(stream.partition.to_string()),
        Some(number.to_string()),
        Some(record.topic.to_string()),
        Some(headers_to_json(&record.headers).to_string()),
        record.key.as_ref().map(hex),
        record.value.as_ref().map(hex),
    ])
}

fn act_record(stored: &StoredAct) -> Record {
    let StoredAct { id, at, act } = stored;
    let texts = [
        id.to_string(),
        at.to_string(),
        act.who.clone(),
        act.verb.to_owned(),
        act.flow.clone(),
        act.target.clone(),
        act.reason.clone(),
        act.result.to_string(),
    ];
    ACTS.record(texts.map(Some))
}

fn worker_record(present: &WorkerRow) -> Record {
    let WorkerRow { worker, seen_until, .. } = present;
    let texts = [
        worker.id.to_string(),
        worker.flow.clone(),
        worker.stream.clone(),
        worker.host.clone(),
        worker.pid.to_string(),
        seen_until.to_string(),
    ];
    WORKERS.record(texts.map(Some))
}

fn hex(bytes: &Bytes) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a string takes all");
    }
    digits
}
