//! Records in every format, through the public decoder and encoder.

mod avro;
mod dead_letters;
mod json;
mod messages;
mod registry;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use tally_adapter_kafka::wire::{Decoder, Registry};
use tally_domain::transactions::Transactions;
use tally_domain::{Envelope, Field, Fields, Flow, Reason, Stage, TimeUnits};

/// Our own schema.
const SCHEMA: &str = include_str!("../../../../../infra/schemas/transactions_v1.avsc");
/// As long as an answer may take that nobody waits for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads transactions.
fn decoder(registry: Option<Registry>) -> Decoder {
    Decoder::new(Transactions::default().columns(), &TimeUnits::new(), Envelope::Plain, registry)
}

/// What becomes of a payload while the registry answers.
async fn decode(decoder: &Decoder, payload: &[u8]) -> Result<Fields, Reason> {
    let payload = Bytes::copy_from_slice(payload);
    decoder.decode(Some(&payload)).await.expect("the registry answers")
}

/// The texts of a record in order; `-` where one is absent or null.
fn shown(fields: &Fields) -> Vec<Cow<'_, str>> {
    fields.iter().map(shown_field).collect()
}

fn shown_field(field: &Field) -> Cow<'_, str> {
    match field {
        Field::Absent | Field::Null => "-".into(),
        field => field.text().expect("a scalar"),
    }
}

/// Whether the field's text is a part of `payload`.
fn is_shared(field: &Field, payload: &Bytes) -> bool {
    let (Field::Text(text) | Field::Number(text) | Field::Json(text)) = field else { return false };
    let (text, payload) = (text.as_bytes().as_ptr_range(), payload.as_ptr_range());
    payload.start <= text.start && text.end <= payload.end
}

/// Expects a bad record with this code and these words in its message.
#[track_caller]
fn refused(outcome: Result<Fields, Reason>, code: &str, words: &str) {
    let reason = outcome.map(|fields| shown(&fields).join("|")).expect_err("a bad record");
    assert_eq!((reason.stage, &*reason.code), (Stage::Decode, code), "{}", reason.message);
    assert!(reason.message.contains(words), "{}", reason.message);
    assert!(!reason.message.contains("s3cret"), "{}", reason.message);
}

fn registry(url: &str) -> Registry {
    Registry::new(url, TIMEOUT).expect("a URL")
}
