//! Listing, counting and relaying dead letters.

mod row;
mod search;

pub(crate) use row::IdentityRow;
pub use row::{CountRow, DeadLetterRow, RelayedRow, SummaryRow};
pub use search::Search;

/// All but the bytes; lengths are computed without reading large values.
macro_rules! listed {
    () => {
        "select cast(d.id as text) as id, d.flow, d.stream, d.partition, d.pass, d.position, d.attempt, p.label,
            cast(d.batch_id as text) as batch_id, substr(d.key, 1, 256) as key_shown,
            cast(octet_length(d.payload) as bigint) as payload_bytes,
            cast(coalesce(octet_length(d.key), 0) + coalesce(octet_length(d.payload), 0)
                + octet_length(cast(d.headers as text)) as bigint) as bytes,
            d.stage, d.code, d.message, d.state, d.outdated_by, d.failed_at, d.published_at"
    };
}

macro_rules! dead_letters {
    () => {
        " from dead_letters as d left join positions as p
            on p.flow = d.flow and p.stream = d.stream and p.partition = d.partition and p.pass = d.pass "
    };
}

/// For a [`Search`] that finds [`SummaryRow`]s.
pub const LIST: &str = concat!(listed!(), dead_letters!(), "where true");

pub const LIST_ORDER: &str =
    " order by d.flow, d.stream, d.partition, d.pass, d.position, d.attempt limit ";

/// Finds [`DeadLetterRow`]s. A condition on the row `d` follows.
pub const FETCH: &str = concat!(
    listed!(),
    ", d.key, d.payload, cast(d.headers as text) as headers, d.record_timestamp",
    dead_letters!(),
    "where "
);

/// For a [`Search`] that finds [`CountRow`]; `hour` is an expression for the hour of `d.failed_at`.
pub fn count(hour: &str) -> String {
    let from = dead_letters!();
    format!("select {hour} as hour, d.stage, d.code, d.flow, count(*) as number{from}where true")
}

pub const COUNT_ORDER: &str = " group by 1, 2, 3, 4 order by 1, 2, 3, 4";

/// How many dead letters of the flow `$1` are not published yet.
pub const BACKLOG: &str = "select count(*) as number from dead_letters where flow = $1 and published_at is null and state <> 'purged'";
