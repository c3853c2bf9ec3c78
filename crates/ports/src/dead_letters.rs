//! Listing, counting and changing dead letters.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use bytes::Bytes;
use chrono::NaiveDateTime;
use uuid::Uuid;

use crate::dead_letter::identity;
use crate::{Fault, LoggedAct, Raw};

/// The dead letters of a store, ordered by [`DeadLetterIdentity`].
pub trait DeadLetters: Send + Sync + 'static {
    /// The first dead letters after `after` that `filter` matches, at most `limit`, without payloads and headers. So what
    /// was there at the start is listed once, however many pages that takes.
    fn list(
        &self,
        filter: &Filter,
        after: Option<&DeadLetterIdentity>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetterSummary>, Fault>> + Send;

    /// The dead letters with these ids, whole; an unknown id is left out. The caller bounds how many bytes it fetches at
    /// once, by [`DeadLetterSummary::bytes`].
    fn fetch(
        &self,
        ids: &[Uuid],
    ) -> impl Future<Output = Result<Vec<StoredDeadLetter>, Fault>> + Send;

    /// How many dead letters that `filter` matches failed in each hour, by stage and code; the first hour first.
    fn count(&self, filter: &Filter) -> impl Future<Output = Result<Vec<Count>, Fault>> + Send;

    /// Applies the change to those of these dead letters that it concerns, and writes `logged_act` with their number added
    /// under the change's name, in one transaction. Returns the number. Idempotent.
    fn change(
        &self,
        ids: &[Uuid],
        change: Change,
        logged_act: &LoggedAct,
    ) -> impl Future<Output = Result<i64, Fault>> + Send;
}

/// Which dead letters; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these.
    pub ids: Option<Vec<Uuid>>,
    /// Only those of this flow.
    pub flow: Option<String>,
    /// Only those of this stream: `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: Option<String>,
    /// Only those of streams with this label: a topic or a path.
    pub label: Option<String>,
    /// Only those of this partition.
    pub partition: Option<i32>,
    /// Only those of this pass over the stream.
    pub pass: Option<i32>,
    /// Only those at this position.
    pub position: Option<i64>,
    /// Only those that this stage refused.
    pub stage: Option<String>,
    /// Only those with this code.
    pub code: Option<String>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those that failed then or later, in UTC.
    pub since: Option<NaiveDateTime>,
    /// Only those that failed earlier, in UTC.
    pub until: Option<NaiveDateTime>,
    /// Only those with exactly this key.
    pub key: Option<Bytes>,
}

/// What identifies a dead letter, and their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterIdentity {
    /// The flow's name.
    pub flow: String,
    /// `GROUP/TOPIC` or `file/FINGERPRINT`.
    pub stream: String,
    /// 0 for a file.
    pub partition: i32,
    /// Which reading of the stream it was, from 1.
    pub pass: i32,
    /// Where it was read.
    pub position: i64,
    /// 1 for the first failure, one more for each replay.
    pub attempt: i32,
}

impl DeadLetterIdentity {
    /// The id of the dead letter there.
    pub fn id(&self) -> Uuid {
        let Self { flow, stream, partition, pass, position, attempt } = self;
        identity(flow, stream, *partition, *pass, *position, *attempt)
    }

    /// Where the same record's next attempt is.
    #[must_use]
    pub fn next_attempt(&self) -> Self {
        Self { attempt: self.attempt + 1, ..self.clone() }
    }

    /// After all attempts at the same record, including future ones.
    #[must_use]
    pub fn behind_attempts(&self) -> Self {
        Self { attempt: i32::MAX, ..self.clone() }
    }
}

/// A dead letter without its payload and headers. Its `Debug` shows no values.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetterSummary {
    /// See [`DeadLetterIdentity::id`].
    pub id: Uuid,
    /// Where it was read.
    pub identity: DeadLetterIdentity,
    /// The stream's label: a topic or a path; `None` when it has no position.
    pub label: Option<String>,
    /// The batch of the first failure.
    pub batch_id: Uuid,
    /// The first [`KEY_SHOWN`] bytes of the key.
    pub key: Option<Bytes>,
    /// The payload's length; `None` for a tombstone.
    pub payload_bytes: Option<i64>,
    /// How many bytes key, payload and headers take in the store.
    pub bytes: i64,
    /// The stage that refused it.
    pub stage: String,
    /// The reason in one word.
    pub code: String,
    /// All reasons as a sentence.
    pub message: String,
    /// What became of it.
    pub state: State,
    /// Which rule outdated it, where no replay did.
    pub outdated_by: Option<OutdatedBy>,
    /// When it failed, in UTC.
    pub failed_at: NaiveDateTime,
    /// When it was published to a topic, in UTC.
    pub published_at: Option<NaiveDateTime>,
}

/// How much of a key a list shows.
pub const KEY_SHOWN: i32 = 256;

impl fmt::Debug for DeadLetterSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, identity, state, .. } = self;
        f.debug_struct("DeadLetterSummary")
            .field("id", id)
            .field("identity", identity)
            .field("state", state)
            .finish_non_exhaustive()
    }
}

/// A whole dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// Everything but its bytes.
    pub summary: DeadLetterSummary,
    /// Its bytes, unchanged.
    pub raw: Raw,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not handled yet.
    Open,
    /// It failed again: a later attempt exists.
    Retried,
    /// A replay wrote its effect.
    Replayed,
    /// A replay found something newer in its place, or a later pass or file has written its row: see [`OutdatedBy`].
    Outdated,
    /// A corrected record is on its way to its source.
    Repaired,
    /// It was discarded.
    Discarded,
    /// Key, payload and headers were blanked.
    Purged,
}

/// Why a dead letter was outdated without a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutdatedBy {
    /// A later pass over the same log has read its position and taken the record.
    Position,
    /// A later pass or another file has written the row of its key, byte for byte the same.
    Key,
}

impl OutdatedBy {
    /// The text in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Key => "key",
        }
    }
}

impl FromStr for OutdatedBy {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let known = [Self::Position, Self::Key].into_iter().find(|rule| rule.as_str() == text);
        known.ok_or(UnknownRule)
    }
}

/// A text that names no [`OutdatedBy`].
#[derive(Debug)]
pub struct UnknownRule;

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::Retried,
        Self::Replayed,
        Self::Outdated,
        Self::Repaired,
        Self::Discarded,
        Self::Purged,
    ];

    /// The text in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Retried => "retried",
            Self::Replayed => "replayed",
            Self::Outdated => "outdated",
            Self::Repaired => "repaired",
            Self::Discarded => "discarded",
            Self::Purged => "purged",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("{text} is not one of {}", names()))
    }
}

/// A change to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Open ones become [`State::Discarded`].
    Discard,
    /// Those in any other state become [`State::Purged`]: their key, payload and headers are blanked.
    Purge,
}

impl Change {
    /// Its name in the result of an act.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discard => "discarded",
            Self::Purge => "purged",
        }
    }
}

/// How many dead letters failed in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The flow's name.
    pub flow: String,
    /// When the hour begins, in UTC.
    pub hour: NaiveDateTime,
    /// The stage that refused them.
    pub stage: String,
    /// The reason in one word.
    pub code: String,
    pub count: i64,
}
