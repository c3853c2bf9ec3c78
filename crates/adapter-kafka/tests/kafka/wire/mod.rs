//! Records in every format, through the public decoder and encoder.

mod avro;
mod dead_letters;
mod json;
mod messages;
mod registry;

use std::time::Duration;

use tally_adapter_kafka::wire::{Decoder, Registry};
use tally_domain::transactions::{Transactions, Wire};
use tally_domain::{Reason, Stage};

/// Our own schema.
const SCHEMA: &str = include_str!("../../../../../infra/schemas/transactions_v1.avsc");
/// As long as an answer may take that nobody waits for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What becomes of a payload while the registry answers.
async fn decode(decoder: &Decoder, payload: Option<&[u8]>) -> Result<Wire, Reason> {
    decoder.decode::<Transactions>(payload).await.expect("the registry answers")
}

/// The columns of a record in order; `-` where one is absent.
fn shown(wire: &Wire) -> [&str; 7] {
    let Wire { id, description, amount, timestamp, merchant, operation_type, side } = wire;
    [id, description, amount, timestamp, merchant, operation_type, side]
        .map(|column| column.as_deref().unwrap_or("-"))
}

/// Expects a bad record with this code and these words in its message.
#[track_caller]
fn refused(outcome: Result<Wire, Reason>, code: &str, words: &str) {
    let reason = outcome.map(|wire| shown(&wire).join("|")).expect_err("a bad record");
    assert_eq!((reason.stage, &*reason.code), (Stage::Decode, code), "{}", reason.message);
    assert!(reason.message.contains(words), "{}", reason.message);
    assert!(!reason.message.contains("s3cret"), "{}", reason.message);
}

fn registry(url: &str) -> Registry {
    Registry::new(url, TIMEOUT).expect("a URL")
}
