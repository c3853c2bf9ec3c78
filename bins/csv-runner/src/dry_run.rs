//! A store that holds nothing, for `--dry-run`.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tally_domain::Flow;
use tally_ports::{
    Begin, Claim, Commit, Committed, Fault, Lease, Position, Positions, Sink, Stream,
};

/// Takes every row and keeps none; every stream is new to it.
pub struct Nowhere;

impl<F: Flow> Sink<F> for Nowhere {
    fn commit(
        &self,
        commit: &Arc<Commit<F>>,
    ) -> impl Future<Output = Result<Committed, Fault>> + Send {
        let written = i64::try_from(commit.rows.len()).unwrap_or(i64::MAX);
        ready(Ok(Committed { written, ..Committed::default() }))
    }
}

impl Positions for Nowhere {
    fn claim(
        &self,
        _: &Stream,
        _: &str,
        duration: Duration,
        _: Begin,
    ) -> impl Future<Output = Result<Claim, Fault>> + Send {
        let lease = Lease { position: 0, epoch: 0, duration };
        ready(Ok(Claim::Owned(Position {
            lease,
            pass: 1,
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

    fn finish(&self, _: &Lease, _: i64) -> impl Future<Output = Result<(), Fault>> + Send {
        ready(Ok(()))
    }
}
