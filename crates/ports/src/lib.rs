//! Every trait between the pipeline and the outside, and the values that cross them.
//!
//! An adapter implements one of [`Source`], [`Enrich`], [`Sink`] and [`Positions`], and passes its contract suite
//! in `tally-testkit`. Adapters never retry: a [`Fault`] says whether the caller may.

pub mod batch;
pub mod dead_letter;
pub mod effect;
pub mod fault;
pub mod metric;
pub mod migration;
pub mod position;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use batch::{Batch, Commit, Committed, Headers, Item, Raw, Refused, Row};
pub use dead_letter::DeadLetter;
pub use effect::{KeyOrder, Outcome};
pub use fault::{Fault, Stop, StopKind};
pub use migration::Migrations;
pub use position::{Claim, Lease, Position, Stream};
use tally_domain::{Flow, Reason};

/// One partition of a stream, read in batches from a position on.
pub trait Source<F: Flow>: Send {
    /// The next batch of at most `limit` items, closed earlier at 4 MiB; `None` at the end.
    ///
    /// Batches leave no gap and no overlap. What cannot be decoded is an item, not an error. Memory is bounded,
    /// whatever the input. `None` is answered only once the input is known to be unchanged since the start. Safe
    /// to call again after a fault that allows it: nothing was lost.
    fn next_batch(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Option<Batch<F::Wire>>, Fault>> + Send;
}

/// Asks a model about records.
pub trait Enrich<F: Flow>: Send + Sync + 'static {
    /// For each record, in order, the answer or why there is none. A fault concerns the dependency, never a record.
    fn enrich(
        &self,
        records: &[F::Record],
    ) -> impl Future<Output = Result<Vec<Result<F::Answer, Reason>>, Fault>> + Send;
}

/// Where rows, dead letters, the ledger and positions are written, together.
pub trait Sink<F: Flow>: Send + Sync + 'static {
    /// Writes all of the batch in one transaction, or nothing.
    ///
    /// Idempotent by the batch's id: when the ledger already holds it, the earlier result is returned and nothing
    /// changes. So after a fault that allows it, the outcome of a COMMIT unknown among them, the caller calls again
    /// with the same batch. When the lease's epoch is no longer the position's, nothing is written and the fault is
    /// [`StopKind::Taken`]. A row that only the database refuses becomes a dead letter of the same transaction; for
    /// one key the last row that is not refused wins. The batch is shared, so that a store that blocks can finish what
    /// it began when the caller's future is dropped.
    fn commit(
        &self,
        commit: &Arc<Commit<F>>,
    ) -> impl Future<Output = Result<Committed, Fault>> + Send;
}

/// Who owns which partition, and how far it was read. All times are the database's.
pub trait Positions: Send + Sync + 'static {
    /// Claims the stream's partition for `owner`: the pass in progress, else (the first time, or with `again`
    /// after a finished pass) a new pass. Every claim that succeeds raises the epoch, so that an earlier owner can
    /// no longer commit. A live lease of somebody else is never taken.
    fn claim(
        &self,
        stream: &Stream,
        owner: &str,
        lease: Duration,
        again: bool,
    ) -> impl Future<Output = Result<Claim, Fault>> + Send;

    /// Prolongs the lease; [`StopKind::Taken`] when it is no longer ours.
    fn renew(&self, lease: &Lease) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Gives the lease back at once; no fault when it is no longer ours.
    fn release(&self, lease: &Lease) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Marks the pass as finished and gives the lease back, if the epoch is ours and `next` is where the pass ends;
    /// else [`StopKind::Taken`]. Safe to call again.
    fn finish(&self, lease: &Lease, next: i64) -> impl Future<Output = Result<(), Fault>> + Send;
}
