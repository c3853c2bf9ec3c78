use bytes::Bytes;
use chrono::NaiveDateTime;
use diesel::QueryableByName;
use diesel::sql_types::{
    BigInt, Binary, Integer, Json, Nullable, Text, Timestamp, Timestamptz, Uuid as SqlUuid,
};
use serde_json::Value;
use tally_ports::dead_letter::headers_from_json;
use tally_ports::{Count, Fault, Listed, Place, Raw, StopKind, Stored};
use uuid::Uuid;

#[derive(QueryableByName)]
pub(super) struct Found {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    flow: String,
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    pass: i32,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Nullable<Text>)]
    label: Option<String>,
    #[diesel(sql_type = SqlUuid)]
    batch_id: Uuid,
    #[diesel(sql_type = Nullable<Binary>)]
    key_shown: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    payload_bytes: Option<i64>,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = Text)]
    stage: String,
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Timestamptz)]
    failed_at: NaiveDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    published_at: Option<NaiveDateTime>,
}

impl Found {
    pub(super) fn listed(self) -> Result<Listed, Fault> {
        let Self { id, flow, stream, partition, pass, position, attempt, .. } = self;
        let state = self.state.parse().map_err(|_| not_ours(id, "state"))?;
        Ok(Listed {
            id,
            place: Place { flow, stream, partition, pass, position, attempt },
            label: self.label,
            batch_id: self.batch_id,
            key: self.key_shown.map(Bytes::from),
            payload_bytes: self.payload_bytes,
            bytes: self.bytes,
            stage: self.stage,
            code: self.code,
            message: self.message,
            state,
            failed_at: self.failed_at,
            published_at: self.published_at,
        })
    }
}

#[derive(QueryableByName)]
pub(super) struct Whole {
    #[diesel(embed)]
    found: Found,
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    payload: Option<Vec<u8>>,
    #[diesel(sql_type = Json)]
    headers: Value,
    #[diesel(sql_type = Nullable<Timestamp>)]
    record_timestamp: Option<NaiveDateTime>,
}

impl Whole {
    pub(super) fn stored(self) -> Result<Stored, Fault> {
        let headers =
            headers_from_json(&self.headers).ok_or_else(|| not_ours(self.found.id, "headers"))?;
        let (key, payload) = (self.key.map(Bytes::from), self.payload.map(Bytes::from));
        let raw = Raw {
            key,
            payload,
            headers,
            timestamp: self.record_timestamp.map(|at| at.and_utc()),
            line: None,
        };
        Ok(Stored { listed: self.found.listed()?, raw })
    }
}

#[derive(QueryableByName)]
pub(super) struct Counted {
    #[diesel(sql_type = Timestamp)]
    hour: NaiveDateTime,
    #[diesel(sql_type = Text)]
    stage: String,
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Text)]
    flow: String,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl From<Counted> for Count {
    fn from(Counted { hour, stage, code, flow, number }: Counted) -> Self {
        Self { flow, hour, stage, code, count: number }
    }
}

fn not_ours(id: Uuid, what: &str) -> Fault {
    let message =
        format!("postgres: the {what} of the dead letter {id} is not of the form Tally writes");
    Fault::stop(StopKind::Data, message)
}
