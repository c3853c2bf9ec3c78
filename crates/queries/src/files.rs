//! Files that are found at a place.

use std::time::Duration;

use chrono::NaiveDateTime;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text, Timestamp};
use tally_ports::{FileState, FoundFile};

/// Those of the flow `$1` at the place `$2`, of the name `$3` unless that is null; `age` is an expression for the seconds since `updated_at`.
pub fn found(age: &str) -> String {
    format!(
        "select name, version, size, modified_at, fingerprint, state, message, attempts, cast({age} as double precision) as age \
         from files where flow = $1 and place = $2 and name = coalesce($3, name) order by name, version"
    )
}

/// Writes one; `now` is an expression for the time.
pub fn note(now: &str) -> String {
    format!(
        "insert into files (flow, place, name, version, size, modified_at, fingerprint, state, message, attempts, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, {now}) \
         on conflict (flow, place, name, version) do update set fingerprint = excluded.fingerprint, state = excluded.state, \
         message = excluded.message, attempts = files.attempts + excluded.attempts, updated_at = excluded.updated_at \
         where files.state not in ('done', 'same', 'rejected') returning attempts"
    )
}

/// A row of [`note`].
#[derive(QueryableByName)]
pub struct AttemptsRow {
    #[diesel(sql_type = Integer)]
    attempts: i32,
}

impl AttemptsRow {
    pub fn attempts(self) -> u32 {
        self.attempts.unsigned_abs()
    }
}

/// A row of [`found`].
#[derive(QueryableByName)]
pub struct FileRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = BigInt)]
    size: i64,
    #[diesel(sql_type = Timestamp)]
    modified_at: NaiveDateTime,
    #[diesel(sql_type = Nullable<Text>)]
    fingerprint: Option<String>,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<Text>)]
    message: Option<String>,
    #[diesel(sql_type = Integer)]
    attempts: i32,
    #[diesel(sql_type = Double)]
    age: f64,
}

impl FileRow {
    pub fn file(self) -> FoundFile {
        FoundFile {
            name: self.name,
            version: self.version,
            size: self.size.unsigned_abs(),
            modified: self.modified_at,
            fingerprint: self.fingerprint,
            state: FileState::of(&self.state),
            message: self.message,
            attempts: self.attempts.unsigned_abs(),
            age: Duration::try_from_secs_f64(self.age).unwrap_or_default(),
        }
    }
}
