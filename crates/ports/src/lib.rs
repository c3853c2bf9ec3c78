//! Every trait between the pipeline and the outside, and the values that cross them.
//!
//! An adapter implements [`Source`], [`Enrich`], [`Publish`], [`PublishDeadLetters`], or all that a store is ([`Sink`],
//! [`Positions`], [`Workers`], [`PositionAdmin`], [`Outbox`], [`DeadLetterRelay`], [`DeadLetters`], [`Replay`], [`Acts`],
//! [`Counters`]), and a store passes the contract suite in `tally-testkit`. Adapters never retry: a [`Fault`] says whether the caller may.

pub mod act;
pub mod audit;
pub mod batch;
pub mod counters;
pub mod dead_letter;
pub mod dead_letters;
pub mod effect;
pub mod failpoint;
pub mod fault;
pub mod files;
pub mod logged_act;
pub mod metric;
pub mod migration;
pub mod pass;
pub mod passed;
pub mod place;
pub mod position;
pub mod privacy;
pub mod progress;
pub mod publish;
pub mod replay;
pub mod retention;
pub mod worker;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use act::Act;
pub use audit::{Audit, Auditor};
pub use batch::{Batch, Commit, Committed, DeadLetterBudget, Item, LogRange, Refused, Row};
pub use counters::{Counters, Greatest, KeyCount};
pub use dead_letter::{DeadLetter, RelayedDeadLetter};
pub use dead_letters::{
    Change, Count, DeadLetterIdentity, DeadLetterSummary, DeadLetters, Filter, OutdatedBy, State,
    StoredDeadLetter,
};
pub use effect::{
    Earlier, OpenDeadLetter, Origin, Outcome, Refusal, Together, TogetherRow, Verdict, Writes,
    check_counters, counts, notes_ranges, outdates_by_key, written_keys,
};
pub use failpoint::failpoint;
pub use fault::{Fault, Stop, StopKind};
pub use files::{FileState, FoundFile, FoundFiles};
pub use logged_act::{Acts, LoggedAct};
pub use migration::{Generator, KnownFlow, Migrations};
pub use pass::{LastPass, OnClaim, OnSet};
pub use passed::Passed;
pub use place::{Content, Listed, Place};
pub use position::{
    Begin, Claim, Finished, Lease, PartitionState, Position, SetTo, Stream, Tolerance,
};
pub use privacy::Mask;
pub use progress::{Progress, PublishedBatch, PublishedOutbox};
pub use publish::{DeliveryGuarantee, Outbox, OutboxRecord, OutgoingRecord, Publish, Topics, Way};
pub use replay::{Attempted, DecodedRecord, Replay, ReplayAttempt, Replayed};
pub use retention::Retention;
pub use tally_domain::{Headers, Raw};
use tally_domain::{Reason, Record, Value};
pub use worker::{Join, Membership, Worker};

/// One partition of a stream, read in batches from a position on.
pub trait Source: Send {
    /// The next batch of at most `limit` items, closed earlier at 4 MiB; `None` at the end. A source that never ends
    /// answers an [idle](Batch::is_idle) batch when there is nothing new within a second or so.
    ///
    /// Batches leave no gap and no overlap. What cannot be decoded is an item, not an error. Memory is bounded,
    /// whatever the input. `None` is returned only once the input is known to be unchanged since the start. Safe
    /// to call again after a fault that allows it: nothing is lost.
    fn next_batch(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Option<Batch>, Fault>> + Send;
}

/// Asks a model about records, a batch at a time, in as many requests as that takes.
pub trait Enrich: Send + Sync + 'static {
    /// The questions about one batch and the answers so far.
    type Inquiry: Send;

    /// An inquiry about `records`. Sends nothing yet.
    fn begin(&self, records: &[&Record]) -> Result<Self::Inquiry, Stop>;

    /// Asks until the model has answered for some record; `None` while there is more to ask. At the end, for each
    /// record, in order, the answer or why there is none.
    ///
    /// The inquiry keeps every answer. So after a fault that allows it, and after this future was dropped, the caller
    /// calls again with the same inquiry, and no request that was answered is sent again. A fault concerns the
    /// dependency, never a record.
    fn ask(
        &self,
        inquiry: &mut Self::Inquiry,
    ) -> impl Future<Output = Result<Option<Answers>, Fault>> + Send;
}

/// For flows without a model: there is none.
impl Enrich for Infallible {
    type Inquiry = Self;

    fn begin(&self, _: &[&Record]) -> Result<Self, Stop> {
        match *self {}
    }

    async fn ask(&self, inquiry: &mut Self) -> Result<Option<Answers>, Fault> {
        match *inquiry {}
    }
}

/// For each record asked about, in order, the model's answer or why there is none.
pub type Answers = Vec<Result<Answer, Reason>>;

/// What the model says of a record: a value for each field of its answer, in the order of the flow's description.
pub type Answer = Arc<[Value]>;

/// Writes rows, dead letters, the ledger and the position in one transaction.
pub trait Sink: Send + Sync + 'static {
    /// Writes all of the batch in one transaction, or nothing.
    ///
    /// Idempotent by the batch's id: when the ledger already holds it, the earlier result is returned and nothing
    /// changes. So after a fault that allows it, including an unknown outcome of a COMMIT, the caller calls again
    /// with the same batch. When the lease's epoch is no longer the position's, nothing is written and the fault is
    /// [`StopKind::Taken`]. A row that only the database refuses becomes a dead letter of the same transaction; for
    /// one key the last row that is not refused wins. The batch is shared, so that a store that blocks can finish what
    /// it began when the caller's future is dropped.
    fn commit(&self, commit: &Arc<Commit>)
    -> impl Future<Output = Result<Committed, Fault>> + Send;

    /// What earlier passes over the log left for a range of positions: a commit will find the same, but for the dead
    /// letters that a replay closes meanwhile.
    fn earlier(&self, range: &LogRange) -> impl Future<Output = Result<Earlier, Fault>> + Send;
}

/// Who owns which partition, and how far it was read. All times are the database's. When its clock went back, so that a
/// lease would outlast its duration, the lease counts from the next claim on, unless it is renewed.
pub trait Positions: Send + Sync + 'static {
    /// Claims the stream's partition for `owner`: the pass in progress, else (the first time, or with `again`
    /// after a finished pass) a new pass, as `begin` says. Every claim that succeeds raises the epoch, so that an earlier owner can
    /// no longer commit. Another owner's live lease is never taken. [`OnClaim`] decides.
    fn claim(
        &self,
        stream: &Stream,
        owner: &str,
        lease: Duration,
        begin: Begin,
    ) -> impl Future<Output = Result<Claim, Fault>> + Send;

    /// Extends the lease; [`StopKind::Taken`] when it is no longer ours.
    fn renew(&self, lease: &Lease) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Releases the lease at once; no fault when it is no longer ours.
    fn release(&self, lease: &Lease) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Marks the pass as finished and releases the lease, if the epoch is ours and `next` is where the pass ends;
    /// else [`StopKind::Taken`]. `None`, and nothing, while the partition's [`Outbox`] holds records: the caller publishes
    /// them and calls again. The pass is rejected when it has more dead letters than `tolerance` allows, judged in
    /// the same transaction by all ledger entries of the pass, whichever run committed them. Safe to call again: the
    /// first verdict stays.
    fn finish(
        &self,
        lease: &Lease,
        next: i64,
        tolerance: Tolerance,
    ) -> impl Future<Output = Result<Option<Finished>, Fault>> + Send;
}

/// The workers of a stream. All times are the database's; when its clock went back, so that a worker would count as alive
/// for longer than its lease, its lease counts from the next join on, unless it is renewed.
pub trait Workers: Send + Sync + 'static {
    /// Registers `worker` as alive for another `lease`, and returns how many workers are alive and the state of each
    /// partition. A store that serves one process answers [`Join::Full`], and registers nothing, while another worker is
    /// alive, on any stream.
    fn join_stream(
        &self,
        worker: &Worker,
        lease: Duration,
    ) -> impl Future<Output = Result<Join, Fault>> + Send;

    /// Begins the worker's stream if it has no position yet: a first pass over each partition from where `starts` says,
    /// without an owner, all of them or none. Concurrent calls leave one row for each partition.
    fn begin(
        &self,
        worker: &Worker,
        label: &str,
        starts: &[(i32, i64)],
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes `worker`; its leases are not touched. Safe to call again.
    fn leave(&self, worker: &Worker) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Showing and setting positions.
pub trait PositionAdmin: Send + Sync + 'static {
    /// The state of each partition of a stream, in order; none for a stream that was never read.
    fn partition_states(
        &self,
        flow: &str,
        stream: &str,
    ) -> impl Future<Output = Result<Vec<PartitionState>, Fault>> + Send;

    /// Moves a partition's position to `to`, writes `act`, and releases the lease, in one transaction.
    ///
    /// Forward: within its pass, with a ledger entry over the skipped range, whose `read` is 0 and whose `gap` is the act's
    /// reason. Back, or to the same position: by a new pass that begins there, with such an entry over the range from 0 to
    /// `to` unless that is empty. In a recreated topic: by a new pass, too, whose log is the next one of that name. A
    /// partition that was never read gets its first pass there.
    ///
    /// [`StopKind::Taken`], and nothing changes, when `lease` is not the position's, without one while a lease is
    /// alive, or when the partition no longer stands where `to` was decided upon. [`StopKind::Setting`] for a position below 0, or after the end of a pass that has ended. [`OnSet`]
    /// decides.
    fn set(
        &self,
        stream: &Stream,
        to: SetTo,
        lease: Option<&Lease>,
        act: &Act,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Committed dead letters on their way to a topic.
pub trait DeadLetterRelay: Send + Sync + 'static {
    /// Hands the oldest dead letters of the flow that were never published, at most `limit` of them and closed
    /// earlier at 4 MiB, to `publisher`, and marks them as published once it has succeeded. Returns how many.
    ///
    /// At least once: when the mark cannot be written they are handed out again. On a server, concurrent calls never hand
    /// out the same one and do not wait for each other. Purged ones are left out.
    fn relay<P: PublishDeadLetters>(
        &self,
        flow: &str,
        limit: usize,
        publisher: &P,
    ) -> impl Future<Output = Result<usize, Fault>> + Send;

    /// How many dead letters of the flow were never published.
    fn backlog(&self, flow: &str) -> impl Future<Output = Result<i64, Fault>> + Send;
}

/// Publishes dead letters to a topic.
pub trait PublishDeadLetters: Send + Sync + 'static {
    /// Publishes all of `dead_letters` in order; returns once all are acknowledged. After a fault some may be in the topic.
    fn publish(
        &self,
        dead_letters: &[RelayedDeadLetter],
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
