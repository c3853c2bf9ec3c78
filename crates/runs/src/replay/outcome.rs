//! What became of each record that was replayed.

use tally_ports::Replayed;

/// What became of a record, or why nothing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store answered.
    Replayed(Replayed),
    /// Its bytes are not all there.
    NotReplayable(&'static str),
    /// It has failed so often already.
    Exhausted {
        /// How often that may be.
        most: i32,
    },
}

impl Outcome {
    /// Its name in counts and in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Replayed(replayed) => match replayed.as_str() {
                Some(done) => done,
                None => "not_open",
            },
            Self::NotReplayable(_) => "not_replayable",
            Self::Exhausted { .. } => "exhausted",
        }
    }
}
