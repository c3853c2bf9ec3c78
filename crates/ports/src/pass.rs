//! What a store does with the last pass over a partition on a claim or when its position is set.

use std::time::Duration;

use chrono::NaiveDateTime;

use crate::{Begin, Claim, Fault, Lease, Origin, SetTo, StopKind, Stream, Way};

/// The last pass over a partition, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPass<'a> {
    /// The position's row.
    pub position: i64,
    /// Raised by every claim.
    pub epoch: i64,
    /// Which reading of the stream it is, from 1.
    pub number: i32,
    /// Which log of that name it reads.
    pub log: i64,
    /// The next position to read.
    pub next: i64,
    /// When it was finished, in UTC.
    pub ended_at: Option<NaiveDateTime>,
    /// Whether it was rejected.
    pub is_rejected: bool,
    /// The owner of a live lease, and how long it still lives.
    pub holder: Option<(&'a str, Duration)>,
    /// When it was last changed, in UTC.
    pub updated_at: NaiveDateTime,
}

impl LastPass<'_> {
    /// Whether it has yet to commit the record of `origin` at `position`, and may have published it already.
    pub fn may_have_published(&self, origin: &Origin<'_>, position: i64) -> bool {
        let has_to_commit =
            self.ended_at.is_none() && self.log == origin.log && self.next <= position;
        has_to_commit && Way::of(origin.flow) == Some(Way::Direct)
    }
}

/// What a store does on a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum OnClaim {
    /// Add a pass without an owner, and decide again about that one.
    Begin {
        number: i32,
        /// Its first position.
        next: i64,
    },
    /// Raise the epoch of the last pass, whose row this is, and make the claimant its owner.
    Take(i64),
    /// Return this.
    Answer(Claim),
    /// Return the ledger's counts of the last pass.
    Finished {
        /// The position's row.
        position: i64,
        /// When it was finished.
        at: NaiveDateTime,
        /// Whether it was rejected.
        is_rejected: bool,
    },
}

impl OnClaim {
    /// A live lease of another owner is left alone; a finished pass is followed by another one only with `again`.
    pub fn decide(last: Option<LastPass<'_>>, owner: &str, begin: Begin) -> Self {
        let Some(LastPass { position, number, ended_at, is_rejected, holder, updated_at, .. }) =
            last
        else {
            return Self::Begin { number: 1, next: begin.at };
        };
        match (ended_at, holder) {
            (Some(_), _) if begin.again => Self::Begin { number: number + 1, next: 0 },
            (Some(at), _) => Self::Finished { position, at, is_rejected },
            (None, Some((holder, remaining))) if holder != owner => {
                let owner = holder.to_owned();
                Self::Answer(Claim::Held { owner, remaining, renewal: updated_at })
            }
            (None, _) => Self::Take(position),
        }
    }
}

/// What a store does when a position is set. In either case it first gives up the last pass, if there is one: it raises
/// the epoch and ends the lease, so that a commit in flight is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSet {
    /// Add the pass of this number, without an owner, which begins where the position is set.
    Begin { number: i32 },
    /// Move the last pass.
    Advance {
        /// The position's row.
        position: i64,
        number: i32,
        /// The next position to read.
        next: i64,
    },
}

impl OnSet {
    /// [`StopKind::Taken`] when `lease` is not that of the last pass, without one when a lease is alive, or when the last
    /// pass no longer stands where `to` was decided upon.
    /// [`StopKind::Setting`] for a position below 0, or after the end of a pass that has ended.
    pub fn decide(
        stream: &Stream,
        last: Option<LastPass<'_>>,
        to: &SetTo,
        lease: Option<&Lease>,
    ) -> Result<Self, Fault> {
        let (label, &SetTo { next: to, is_recreated, seen, .. }) = (&stream.label, to);
        if to < 0 {
            let message = format!("{label} has no position {to}: the first one is 0");
            return Err(Fault::stop(StopKind::Setting, message));
        }
        let is_of_last = |lease: &Lease| {
            last.is_some_and(|last| (last.position, last.epoch) == (lease.position_id, lease.epoch))
        };
        match (lease, last.and_then(|last| last.holder)) {
            (Some(lease), _) if !is_of_last(lease) => return Err(lease.taken()),
            (None, Some((owner, _))) => {
                let partition = stream.partition;
                let message =
                    format!("partition {partition} of {label} is owned by {owner}: stop it first");
                return Err(Fault::stop(StopKind::Taken, message));
            }
            _ => {}
        }
        let stands_at = last.map_or((0, 0), |last| (last.number, last.next));
        if seen.is_some_and(|seen| seen != stands_at) {
            let partition = stream.partition;
            let message =
                format!("partition {partition} of {label} was moved in the meantime: try again");
            return Err(Fault::stop(StopKind::Taken, message));
        }
        let Some(LastPass { position, number, next, ended_at, .. }) = last else {
            return Ok(Self::Begin { number: 1 });
        };
        if is_recreated || to <= next {
            return Ok(Self::Begin { number: number + 1 });
        }
        if ended_at.is_some() {
            let message = format!("{label} ended at {next}: there is nothing after that");
            return Err(Fault::stop(StopKind::Setting, message));
        }
        Ok(Self::Advance { position, number, next })
    }

    /// The pass that the position is in from now on, and the first of the positions before it that are skipped.
    pub const fn passed(self) -> (i32, i64) {
        match self {
            Self::Begin { number, .. } => (number, 0),
            Self::Advance { number, next, .. } => (number, next),
        }
    }
}

#[cfg(test)]
mod tests {
    use tally_domain::{Column, Flow, Incoming, Output, Reason, Record, Table, TableKind};

    use super::*;

    const AT: NaiveDateTime = chrono::DateTime::UNIX_EPOCH.naive_utc();
    const LEFT: Duration = Duration::from_secs(3);
    const PASS: LastPass<'_> = LastPass {
        position: 7,
        epoch: 3,
        number: 2,
        log: 1,
        next: 40,
        ended_at: None,
        is_rejected: false,
        holder: None,
        updated_at: AT,
    };
    const HELD: LastPass<'_> = LastPass { holder: Some(("a", LEFT)), ..PASS };
    const ENDED: LastPass<'_> = LastPass { ended_at: Some(AT), is_rejected: true, ..PASS };

    /// Publishes, and writes a table of this kind.
    #[derive(Debug)]
    struct Publishing(Vec<Table>, Vec<Output>);

    impl Flow for Publishing {
        fn name(&self) -> &'static str {
            "publishing"
        }

        fn columns(&self) -> &[Column] {
            &[]
        }

        fn tables(&self) -> &[Table] {
            &self.0
        }

        fn outputs(&self) -> &[Output] {
            &self.1
        }

        fn read(&self, _: Incoming<'_>) -> Result<Record, Reason> {
            Ok(Record::default())
        }
    }

    #[test]
    fn only_what_is_not_committed_may_be_published_without() {
        let outputs = || vec![Output::new("out", "out")];
        let appended = Table { name: "t".into(), columns: vec![], kind: TableKind::Appended };
        let direct = Publishing(vec![], outputs());
        let by_outbox = Publishing(vec![appended], outputs());
        let silent = Publishing(vec![], vec![]);
        for (flow, last, log, position, expected) in [
            (&direct, PASS, 1, 40, true),
            (&direct, HELD, 1, 41, true),
            (&direct, PASS, 1, 39, false),
            (&direct, PASS, 2, 40, false),
            (&direct, ENDED, 1, 40, false),
            (&by_outbox, PASS, 1, 40, false),
            (&silent, PASS, 1, 40, false),
        ] {
            let origin = Origin { flow, id: 1, stream: "group/topic", partition: 0, log };
            let found = last.may_have_published(&origin, position);
            assert_eq!(found, expected, "{flow:?} {last:?} {log} {position}");
        }
    }

    #[test]
    fn a_claim_takes_what_is_free() {
        let decide = |last, owner| OnClaim::decide(last, owner, Begin { at: 5, again: false });
        assert_eq!(decide(None, "a"), OnClaim::Begin { number: 1, next: 5 });
        assert_eq!(decide(Some(PASS), "a"), OnClaim::Take(7));
        assert_eq!(decide(Some(HELD), "a"), OnClaim::Take(7));
        let held = Claim::Held { owner: "a".to_owned(), remaining: LEFT, renewal: AT };
        assert_eq!(decide(Some(HELD), "b"), OnClaim::Answer(held));
        let finished = OnClaim::Finished { position: 7, at: AT, is_rejected: true };
        assert_eq!(decide(Some(ENDED), "a"), finished);
    }

    #[test]
    fn only_a_finished_pass_is_followed_by_another() {
        let decide = |last, owner| OnClaim::decide(Some(last), owner, Begin { at: 5, again: true });
        assert_eq!(decide(ENDED, "a"), OnClaim::Begin { number: 3, next: 0 });
        assert_eq!(decide(PASS, "a"), OnClaim::Take(7));
        assert!(matches!(decide(HELD, "b"), OnClaim::Answer(Claim::Held { .. })));
    }

    /// What setting `to` comes to with a lease of this position and epoch.
    fn set(
        last: Option<LastPass<'_>>,
        to: impl Into<SetTo>,
        lease: Option<(i64, i64)>,
    ) -> Result<OnSet, StopKind> {
        let (flow, name, label) = ("f".to_owned(), "group/t".to_owned(), "t".to_owned());
        let stream = Stream { flow, name, partition: 0, label };
        let lease =
            lease.map(|(position, epoch)| Lease { position_id: position, epoch, duration: LEFT });
        OnSet::decide(&stream, last, &to.into(), lease.as_ref())
            .map_err(|fault| fault.into_stop().kind)
    }

    const fn begin(number: i32) -> OnSet {
        OnSet::Begin { number }
    }

    #[test]
    fn a_recreated_topic_is_another_log() {
        let begin = OnSet::Begin { number: 3 };
        for next in [0, 40, 41] {
            let to = SetTo { is_recreated: true, ..SetTo::from(next) };
            assert_eq!(set(Some(PASS), to.clone(), None), Ok(begin));
            assert_eq!(set(Some(ENDED), to, None), Ok(begin));
        }
    }

    #[test]
    fn a_position_is_set_forward_in_its_pass_and_back_in_another() {
        assert_eq!(set(None, 9, None), Ok(begin(1)));
        let advance = OnSet::Advance { position: 7, number: 2, next: 40 };
        assert_eq!(set(Some(PASS), 41, None), Ok(advance));
        for to in [0, 39, 40] {
            assert_eq!(set(Some(PASS), to, None), Ok(begin(3)));
            assert_eq!(set(Some(ENDED), to, None), Ok(begin(3)));
        }
    }

    #[test]
    fn a_position_that_has_moved_since_it_was_seen_is_not_set() {
        let seen = |pass, next| SetTo { seen: Some((pass, next)), ..SetTo::from(41) };
        assert!(set(Some(PASS), seen(2, 40), None).is_ok());
        assert!(set(None, seen(0, 0), None).is_ok());
        for (pass, next) in [(1, 40), (2, 39), (0, 0)] {
            assert_eq!(set(Some(PASS), seen(pass, next), None), Err(StopKind::Taken));
        }
        assert_eq!(set(None, seen(1, 0), None), Err(StopKind::Taken));
    }

    #[test]
    fn a_position_that_cannot_be_is_a_wrong_setting() {
        assert_eq!(set(None, -1, None), Err(StopKind::Setting));
        assert_eq!(set(Some(PASS), -1, Some((7, 2))), Err(StopKind::Setting));
        assert_eq!(set(Some(ENDED), 41, None), Err(StopKind::Setting));
    }

    #[test]
    fn a_position_is_set_with_its_lease_or_where_nobody_has_it() {
        assert_eq!(set(Some(HELD), 40, Some((7, 3))), Ok(begin(3)));
        for lost in [(7, 2), (8, 3)] {
            assert_eq!(set(Some(PASS), 40, Some(lost)), Err(StopKind::Taken));
        }
        assert_eq!(set(None, 0, Some((7, 3))), Err(StopKind::Taken));
        assert_eq!(set(Some(HELD), 40, None), Err(StopKind::Taken));
        assert_eq!(
            set(Some(LastPass { holder: HELD.holder, ..ENDED }), 41, None),
            Err(StopKind::Taken)
        );
    }
}
