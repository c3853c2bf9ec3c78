//! The outcome of each replayed record.

use tally_ports::Replayed;

/// The outcome of a record, or why it was not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store answered.
    Replayed(Replayed),
    /// Its bytes are incomplete.
    NotReplayable(&'static str),
    /// Why it cannot be repaired.
    NotRepairable(String),
    /// It has too many failed attempts.
    Exhausted {
        /// The limit of attempts.
        most: i32,
    },
}

impl Outcome {
    /// Its name in counts and in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Replayed(Replayed::ReadAgain) => "read_again",
            Self::Replayed(Replayed::Counted) => "counted",
            Self::Replayed(replayed) => match replayed.as_str() {
                Some(done) => done,
                None => "not_open",
            },
            Self::NotReplayable(_) => "not_replayable",
            Self::NotRepairable(_) => "not_repairable",
            Self::Exhausted { .. } => "exhausted",
        }
    }
}
