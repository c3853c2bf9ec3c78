use bytes::Bytes;
use chrono::NaiveDateTime;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text, Timestamp};
use tally_ports::audit::PassName;
use tally_ports::dead_letter::headers_from_json;
use tally_ports::{
    Count, DeadLetterIdentity, DeadLetterSummary, Fault, Raw, RelayedDeadLetter, StopKind,
    StoredDeadLetter,
};
use uuid::Uuid;

use crate::audit::PassNameRow;

/// A row of [`LIST`](super::LIST).
#[derive(QueryableByName)]
pub struct SummaryRow {
    #[diesel(embed)]
    name: IdentityRow,
    #[diesel(sql_type = Nullable<Text>)]
    label: Option<String>,
    #[diesel(sql_type = Text)]
    batch_id: String,
    #[diesel(sql_type = Nullable<Binary>)]
    key_shown: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    payload_bytes: Option<i64>,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(embed)]
    reason: ReasonRow,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<Text>)]
    outdated_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    published_at: Option<NaiveDateTime>,
}

impl SummaryRow {
    pub fn summary(self) -> Result<DeadLetterSummary, Fault> {
        let id = self.name.id()?;
        let outdated_by = self.outdated_by.map(|rule| rule.parse()).transpose();
        let ReasonRow { stage, code, message, failed_at } = self.reason;
        Ok(DeadLetterSummary {
            id,
            label: self.label,
            batch_id: self.batch_id.parse().map_err(|_| self.name.unreadable("batch"))?,
            key: self.key_shown.map(Bytes::from),
            payload_bytes: self.payload_bytes,
            bytes: self.bytes,
            stage,
            code,
            message,
            state: self.state.parse().map_err(|_| self.name.unreadable("state"))?,
            outdated_by: outdated_by.map_err(|_| self.name.unreadable("rule"))?,
            failed_at,
            published_at: self.published_at,
            identity: self.name.identity(),
        })
    }
}

/// A row of [`FETCH`](super::FETCH).
#[derive(QueryableByName)]
pub struct DeadLetterRow {
    #[diesel(embed)]
    summary: SummaryRow,
    #[diesel(embed)]
    raw: RawRow,
}

impl DeadLetterRow {
    pub fn stored(self) -> Result<StoredDeadLetter, Fault> {
        let raw = self.raw.raw(&self.summary.name)?;
        Ok(StoredDeadLetter { summary: self.summary.summary()?, raw })
    }
}

/// A row of [`count`](super::count).
#[derive(QueryableByName)]
pub struct CountRow {
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

impl From<CountRow> for Count {
    fn from(CountRow { hour, stage, code, flow, number }: CountRow) -> Self {
        Self { flow, hour, stage, code, count: number }
    }
}

/// A dead letter that a relay hands out: the columns of the table, with `id` and `headers` as text.
#[derive(QueryableByName)]
pub struct RelayedRow {
    #[diesel(embed)]
    name: IdentityRow,
    #[diesel(embed)]
    raw: RawRow,
    #[diesel(embed)]
    reason: ReasonRow,
}

impl RelayedRow {
    pub fn dead_letter(self) -> Result<RelayedDeadLetter, Fault> {
        let (id, raw) = (self.name.id()?, self.raw.raw(&self.name)?);
        let DeadLetterIdentity { flow, stream, partition, pass, position, attempt } =
            self.name.identity();
        let ReasonRow { stage, code, message, failed_at } = self.reason;
        Ok(RelayedDeadLetter {
            id,
            flow,
            stream,
            partition,
            pass,
            position,
            attempt,
            raw,
            stage,
            code,
            message,
            failed_at,
        })
    }
}

/// What identifies a dead letter, and a part of other rows.
#[derive(QueryableByName)]
pub(crate) struct IdentityRow {
    #[diesel(sql_type = Text)]
    pub(crate) id: String,
    #[diesel(embed)]
    pass: PassNameRow,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    attempt: i32,
}

impl IdentityRow {
    fn id(&self) -> Result<Uuid, Fault> {
        self.id.parse().map_err(|_| self.unreadable("id"))
    }

    pub(crate) fn identity(self) -> DeadLetterIdentity {
        let PassName { flow, stream, partition, pass } = self.pass.name();
        let (position, attempt) = (self.position, self.attempt);
        DeadLetterIdentity { flow, stream, partition, pass, position, attempt }
    }

    fn unreadable(&self, what: &str) -> Fault {
        let id = &self.id;
        let message =
            format!("the {what} of the dead letter {id} is not in the form that Tally writes");
        Fault::stop(StopKind::Data, message)
    }
}

#[derive(QueryableByName)]
struct ReasonRow {
    #[diesel(sql_type = Text)]
    stage: String,
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Timestamp)]
    failed_at: NaiveDateTime,
}

#[derive(QueryableByName)]
struct RawRow {
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    payload: Option<Vec<u8>>,
    #[diesel(sql_type = Text)]
    headers: String,
    #[diesel(sql_type = Nullable<Timestamp>)]
    record_timestamp: Option<NaiveDateTime>,
}

impl RawRow {
    fn raw(self, name: &IdentityRow) -> Result<Raw, Fault> {
        let headers = serde_json::from_str(&self.headers).ok().as_ref().and_then(headers_from_json);
        let headers = headers.ok_or_else(|| name.unreadable("headers"))?;
        let (key, payload) = (self.key.map(Bytes::from), self.payload.map(Bytes::from));
        let timestamp = self.record_timestamp.map(|at| at.and_utc());
        Ok(Raw { key, payload, headers, timestamp, line: None })
    }
}
