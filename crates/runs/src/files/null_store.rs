//! A store that discards everything, for dry runs.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tally_ports::{
    Begin, Claim, Commit, Committed, Earlier, Fault, Finished, Lease, LogRange, Outbox,
    OutboxRecord, Position, Positions, Sink, Stream, Tolerance,
};

/// Accepts every row and keeps none; every stream is new to it. Counts the records of the stream that was claimed last.
#[derive(Default)]
pub struct NullStore {
    read: AtomicI64,
    dead_lettered: AtomicI64,
}

impl Outbox for NullStore {
    fn outbox(
        &self,
        _: &Lease,
        _: usize,
    ) -> impl Future<Output = Result<Vec<OutboxRecord>, Fault>> + Send {
        ready(Ok(Vec::new()))
    }

    fn published(&self, _: &Lease, _: i64) -> impl Future<Output = Result<(), Fault>> + Send {
        ready(Ok(()))
    }

    fn unpublished(&self, _: &str) -> impl Future<Output = Result<i64, Fault>> + Send {
        ready(Ok(0))
    }

    fn claim_outbox(
        &self,
        _: &str,
        _: &str,
        _: Duration,
    ) -> impl Future<Output = Result<Option<(Stream, Lease)>, Fault>> + Send {
        ready(Ok(None))
    }
}

impl Sink for NullStore {
    fn earlier(&self, _: &LogRange) -> impl Future<Output = Result<Earlier, Fault>> + Send {
        ready(Ok(Earlier::default()))
    }

    fn commit(
        &self,
        commit: &Arc<Commit>,
    ) -> impl Future<Output = Result<Committed, Fault>> + Send {
        let written = i64::try_from(commit.rows.len()).unwrap_or(i64::MAX);
        self.read.fetch_add(commit.read, Ordering::Relaxed);
        self.dead_lettered.fetch_add(commit.read - written, Ordering::Relaxed);
        ready(Ok(Committed { written, ..Committed::default() }))
    }
}

impl Positions for NullStore {
    fn claim(
        &self,
        _: &Stream,
        _: &str,
        duration: Duration,
        _: Begin,
    ) -> impl Future<Output = Result<Claim, Fault>> + Send {
        self.read.store(0, Ordering::Relaxed);
        self.dead_lettered.store(0, Ordering::Relaxed);
        let lease = Lease { position_id: 0, epoch: 0, duration };
        ready(Ok(Claim::Owned(Position {
            lease,
            pass: 1,
            log: 1,
            next: 0,
            cursor: Value::Null,
            stats: Value::Null,
        })))
    }

    fn renew(&self, _: &Lease) -> impl Future<Output = Result<(), Fault>> + Send {
        ready(Ok(()))
    }

    fn release(&self, _: &Lease) -> impl Future<Output = Result<(), Fault>> + Send {
        ready(Ok(()))
    }

    fn finish(
        &self,
        _: &Lease,
        _: i64,
        tolerance: Tolerance,
    ) -> impl Future<Output = Result<Option<Finished>, Fault>> + Send {
        let at = DateTime::<Utc>::from(SystemTime::now()).naive_utc();
        let read = self.read.load(Ordering::Relaxed);
        let dead_lettered = self.dead_lettered.load(Ordering::Relaxed);
        let is_rejected = tolerance.is_exceeded(read, dead_lettered);
        ready(Ok(Some(Finished { at, read, dead_lettered, is_rejected })))
    }
}
