//! SQL about records to publish. The first three parameters of most are flow, stream and partition.

use std::sync::Arc;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};
use tally_ports::dead_letter::headers_from_json;
use tally_ports::{Fault, OutboxRecord, OutgoingRecord, StopKind};

/// Takes as many numbers as `$1` says for the position `$2` in the epoch `$3`.
pub const RESERVE: &str = "
    update positions set outbox_next = outbox_next + $1 where id = $2 and epoch = $3
    returning outbox_next - $1 as first";

/// A row of [`RESERVE`].
#[derive(QueryableByName)]
pub struct Reserved {
    #[diesel(sql_type = BigInt)]
    pub first: i64,
}

/// The partition of the position `$1`, as the row `p`, where the epoch is `$2` and no later pass has begun.
pub const OWN: &str = "
    select p.flow, p.stream, p.partition from positions p
    where p.id = $1 and p.epoch = $2 and not exists (
        select 1 from positions q
        where q.flow = p.flow and q.stream = p.stream and q.partition = p.partition and q.pass > p.pass
    )";

/// A row of [`OWN`].
#[derive(QueryableByName)]
pub struct Own {
    #[diesel(sql_type = Text)]
    pub flow: String,
    #[diesel(sql_type = Text)]
    pub stream: String,
    #[diesel(sql_type = Integer)]
    pub partition: i32,
}

/// The first of the partition's records, at most `$4`, and of `$5` bytes but for a single one. Sizes are computed without
/// reading large values.
pub const FIRST: &str = "
    select o.number, o.topic, o.key, o.value, cast(o.headers as text) as headers
    from (
        select number, row_number() over ordered as place, sum(bytes) over ordered as bytes
        from (
            select number,
                coalesce(length(key), 0) + coalesce(length(value), 0) + length(cast(headers as text)) as bytes
            from outbox where flow = $1 and stream = $2 and partition = $3
            order by number limit $4
        ) as sized
        window ordered as (order by number rows unbounded preceding)
    ) as counted
    join outbox as o on o.flow = $1 and o.stream = $2 and o.partition = $3 and o.number = counted.number
    where counted.bytes <= $5 or counted.place = 1
    order by o.number";

/// How many bytes of records are read at once.
pub const BYTES: i64 = 4 * 1024 * 1024;

/// A row of [`FIRST`].
#[derive(QueryableByName)]
pub struct OutboxRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Text)]
    topic: String,
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    value: Option<Vec<u8>>,
    #[diesel(sql_type = Text)]
    headers: String,
}

impl OutboxRow {
    /// [`StopKind::Data`] where the headers cannot be read.
    pub fn record(self) -> Result<OutboxRecord, Fault> {
        let Self { number, topic, key, value, headers } = self;
        let headers = serde_json::from_str(&headers).ok().as_ref().and_then(headers_from_json);
        let headers = headers.ok_or_else(|| {
            let message = format!("the headers of record {number} in the outbox cannot be read");
            Fault::stop(StopKind::Data, message)
        })?;
        let names = headers.iter().map(|(name, value)| (name.as_str().into(), value.clone()));
        let headers = names.collect();
        let (topic, key, value) = (Arc::from(topic), key.map(Into::into), value.map(Into::into));
        Ok(OutboxRecord { number, record: OutgoingRecord { topic, key, value, headers } })
    }
}

/// Deletes the partition's records up to the number `$4`.
pub const DELETE: &str =
    "delete from outbox where flow = $1 and stream = $2 and partition = $3 and number <= $4";

/// How many records of the flow `$1` there are.
pub const UNPUBLISHED: &str = "select count(*) as number from outbox where flow = $1";

/// A row of [`UNPUBLISHED`].
#[derive(QueryableByName)]
pub struct Unpublished {
    #[diesel(sql_type = BigInt)]
    pub number: i64,
}

/// The partitions of the flow `$1` that have records.
pub const PARTITIONS: &str =
    "select distinct stream, partition from outbox where flow = $1 order by stream, partition";

/// A row of [`PARTITIONS`].
#[derive(QueryableByName)]
pub struct PartitionRow {
    #[diesel(sql_type = Text)]
    pub stream: String,
    #[diesel(sql_type = Integer)]
    pub partition: i32,
}

/// Whether the partition of the position `$1`, whose pass has not ended, has records.
pub const HOLDS_ANY: &str = "
    select exists (
        select 1 from positions p
        join outbox o on o.flow = p.flow and o.stream = p.stream and o.partition = p.partition
        where p.id = $1 and p.ended_at is null
    ) as found";

/// A row of [`HOLDS_ANY`].
#[derive(QueryableByName)]
pub struct HoldsAny {
    #[diesel(sql_type = Bool)]
    pub found: bool,
}
