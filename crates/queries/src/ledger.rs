//! A pass and a batch in the ledger.

use chrono::NaiveDateTime;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamp};
use tally_ports::{Committed, PartitionState, Refused};

/// The [`Sums`] of the pass whose position is `$1`.
pub const SUMS: &str = "
    select cast(coalesce(sum(b.read), 0) as bigint) as read,
        cast(coalesce(sum(b.dead_lettered), 0) as bigint) as dead_lettered
    from positions p join batches b
        on b.flow = p.flow and b.stream = p.stream and b.partition = p.partition and b.pass = p.pass
    where p.id = $1";

#[derive(QueryableByName)]
pub struct Sums {
    #[diesel(sql_type = BigInt)]
    pub read: i64,
    #[diesel(sql_type = BigInt)]
    pub dead_lettered: i64,
}

/// The verdict on a finished pass.
#[derive(QueryableByName)]
pub struct Verdict {
    #[diesel(sql_type = Timestamp)]
    pub ended_at: NaiveDateTime,
    #[diesel(sql_type = Bool)]
    pub is_rejected: bool,
}

/// The [`Recorded`] of the batch `$1`.
pub const RECORDED: &str = "select written, superseded, skipped from batches where id = $1";

#[derive(QueryableByName)]
pub struct Recorded {
    #[diesel(sql_type = BigInt)]
    written: i64,
    #[diesel(sql_type = BigInt)]
    superseded: i64,
    #[diesel(sql_type = BigInt)]
    skipped: i64,
}

impl Recorded {
    pub fn committed(self, refused: Vec<RefusedRow>) -> Committed {
        let Self { written, superseded, skipped } = self;
        let refused = refused.into_iter();
        let refused = refused.map(|RefusedRow { position, code }| Refused { position, code });
        Committed { written, superseded, skipped, refused: refused.collect() }
    }
}

/// A dead letter of a record that the database refused.
#[derive(QueryableByName)]
pub struct RefusedRow {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Text)]
    code: String,
}

/// The state of the last pass over a partition.
#[derive(QueryableByName)]
pub struct PartitionStateRow {
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Nullable<Text>)]
    cursor: Option<String>,
    #[diesel(sql_type = Timestamp)]
    updated_at: NaiveDateTime,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
}

impl From<PartitionStateRow> for PartitionState {
    fn from(found: PartitionStateRow) -> Self {
        let PartitionStateRow { partition, pass, next, cursor, updated_at, owner } = found;
        let cursor = cursor.and_then(|cursor| serde_json::from_str(&cursor).ok());
        Self { partition, pass, next, cursor: cursor.unwrap_or_default(), owner, updated_at }
    }
}
