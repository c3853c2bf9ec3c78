//! What was read of one log, and what was published of it.

use tally_ports::State;
use tally_ports::audit::{DeadLetterTrace, PassName};

use super::ids::{Ids, Positions};
use super::ranges::Ranges;

/// What was read of one log, and what was published of it.
#[derive(Debug)]
pub(super) struct Log {
    /// The last pass over it.
    pub(super) pass: PassName,
    pub(super) number: i64,
    /// The next position that the last pass reads.
    pub(super) next: i64,
    /// Whether the last pass has ended.
    pub(super) has_ended: bool,
    /// Whether what was published is compared with the source.
    pub(super) is_given: bool,
    /// After the last position that the source has, where that is known.
    pub(super) source_end: Option<i64>,
    /// Where the ledger says that records were read.
    pub(super) read: Ranges,
    /// What was counted and published.
    pub(super) counted: Ranges,
    /// Those with dead letters.
    pub(super) refused: Positions,
    /// Those with dead letters that may have kept them from being published.
    pub(super) suspects: Positions,
    /// Those with open dead letters, which may be replayed meanwhile.
    pub(super) open: Positions,
    /// What stands in the outbox.
    pub(super) unpublished: Ids,
    /// What the topics hold.
    pub(super) published: Ids,
    /// Positions after all that the ledger knows of which the topics hold something.
    pub(super) ahead: Positions,
}

/// Whether what a record publishes should be in the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Must,
    /// Nobody can tell any more, or not yet.
    May,
    Not,
}

impl Log {
    pub(super) fn new(pass: PassName, number: i64, is_given: bool) -> Self {
        Self {
            pass,
            number,
            next: 0,
            has_ended: false,
            is_given,
            source_end: None,
            read: Ranges::default(),
            counted: Ranges::default(),
            refused: Positions::default(),
            suspects: Positions::default(),
            open: Positions::default(),
            unpublished: Ids::default(),
            published: Ids::default(),
            ahead: Positions::default(),
        }
    }

    /// A dead letter of this log is in this state.
    pub(super) fn see_letter(&mut self, position: i64, state: &str) {
        let state = state.parse().unwrap_or(State::Open);
        self.refused.insert(position);
        if !matches!(state, State::Replayed | State::Retried | State::Purged) {
            self.suspects.insert(position);
        }
        if state == State::Open {
            self.open.insert(position);
        }
    }

    /// Whether a record that was read there may have been published. What a flow has read before it published anything
    /// was not counted: only a replay publishes it.
    pub(super) fn has_read(&self, position: i64) -> bool {
        self.read.has(position) && (self.counted.has(position) || self.refused.has(position))
    }

    /// Whether the last pass is still to read the position.
    pub(super) fn is_ahead(&self, position: i64) -> bool {
        position >= self.next && !self.has_ended
    }

    /// Whether what the record at `position` publishes should be there, where `letters` are the dead letters there. Those of
    /// the first pass that has read it decide: no other one publishes.
    pub(super) fn due(&self, position: i64, letters: &[DeadLetterTrace]) -> Due {
        let is_counted = self.counted.has(position);
        let first = letters.iter().find(|letter| letter.position == position && letter.is_first);
        match first.map(|letter| letter.state) {
            None if is_counted => Due::Must,
            None | Some(State::Purged) => Due::May,
            Some(State::Outdated) if first.is_some_and(|letter| letter.is_outdated_by_key) => {
                Due::Not
            }
            Some(State::Replayed | State::Outdated) => {
                // What was open when the audit began was replayed or read again since.
                if is_counted && !self.open.has(position) { Due::Must } else { Due::May }
            }
            Some(State::Open | State::Retried | State::Discarded | State::Repaired) => Due::Not,
        }
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        let PassName { flow, stream, partition, .. } = &self.pass;
        format!("{flow} {stream} partition {partition} log {}", self.number)
    }
}
