//! How fast records of 230 bytes of JSON, and the same ones as Avro, are decoded and validated on one core: by processor
//! time, so that other programs do not count.
//!
//! `cargo run --release -p tally-adapter-kafka --example decodes_per_second`
#![allow(clippy::expect_used, reason = "a measurement that fails has no result")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use tally_adapter_kafka::wire::{Decoder, Encoder, Registry};
use tally_domain::Flow;
use tally_domain::transactions::{Message, Transactions, Wire};
use tally_testkit::http::{Reply, ScriptedServer};

const SCHEMA: &str = include_str!("../../../infra/schemas/transactions_v1.avsc");
const RECORDS: u32 = 10_000;
const ROUNDS: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = ScriptedServer::start(|request| match request.path.split('/').nth(1) {
        Some("compatibility") => Reply::json(r#"{"is_compatible": true}"#),
        Some("subjects") => Reply::json(r#"{"id": 7}"#),
        _ => Reply::json(serde_json::json!({ "schema": SCHEMA }).to_string()),
    })
    .await;
    let timeout = Duration::from_secs(5);
    let registry = Registry::new(&server.url(), timeout).expect("a URL");
    let avro = Encoder::avro(&registry, "transactions", SCHEMA).await.expect("a schema");
    let decoder = Decoder::new(Some(registry));

    for (name, encoder) in [("json", Encoder::json()), ("avro", avro)] {
        let started = busy();
        let payloads: Vec<Bytes> =
            (0..RECORDS).map(|n| encoder.encode(&message(n)).expect("a value")).collect();
        let encoding = rate(RECORDS, started);
        let bytes: usize = payloads.iter().map(Bytes::len).sum();

        let started = busy();
        for _ in 0..ROUNDS {
            for payload in &payloads {
                let wire = decoder.decode::<Transactions>(Some(payload)).await;
                black_box(wire.expect("the registry").expect("a record"));
            }
        }
        let decoding = rate(RECORDS * ROUNDS, started);

        let started = busy();
        for _ in 0..ROUNDS {
            for payload in &payloads {
                let wire = decoder.decode::<Transactions>(Some(payload)).await;
                let wire = wire.expect("the registry").expect("a record");
                black_box(Transactions::validate(wire).expect("a valid record"));
            }
        }
        let both = rate(RECORDS * ROUNDS, started);
        let bytes = bytes / payloads.len();
        println!(
            "{name}: {bytes} bytes; {encoding:.0} encoded/s, {decoding:.0} decoded/s, {both:.0} decoded and \
             validated/s"
        );
    }
}

fn message(n: u32) -> Message {
    let text = |text: String| Some(text);
    let wire = Wire {
        id: text(format!("{:032x}", u128::from(n) * 0x9e37_79b9_7f4a_7c15)).map(|hex| {
            format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            )
        }),
        description: text(format!("PURCHASE CARD 4711 {n} BOULANGERIE DU PONT")),
        amount: text(format!("-{}.{:02}", n % 5_000 + 1, n % 100)),
        timestamp: text(format!("2024-03-{:02} {:02}:{:02}:07", n % 28 + 1, n % 24, n % 60)),
        merchant: text("Boulangerie du Pont".into()),
        operation_type: text("payment".into()),
        side: text("debit".into()),
    };
    Message::parse(wire).expect("a readable record")
}

fn rate(count: u32, started: Duration) -> f64 {
    f64::from(count) / busy().saturating_sub(started).as_secs_f64()
}

/// How long this thread has been on a processor.
fn busy() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = times.split(' ').next().expect("a time");
    Duration::from_nanos(nanos.parse().expect("a number"))
}
