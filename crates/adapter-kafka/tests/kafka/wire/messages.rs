//! What the producer writes is what the consumer reads.

use serde_json::json;
use tally_adapter_kafka::wire::Encoder;
use tally_domain::amount::Notation;
use tally_domain::transactions::Transactions;
use tally_domain::{ByteString, Field, Fields, Flow, Incoming, Message, Raw};
use tally_harness::http::{Reply, ScriptedServer};
use tally_ports::{Fault, StopKind};

use crate::wire::{SCHEMA, decode, decoder, registry};

/// Numbers without end, the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn pick(&mut self, from: &[&str]) -> Option<ByteString> {
        match from[self.below(from.len())] {
            "-" => None,
            text => Some(text.into()),
        }
    }

    /// The columns of a record that is readable, but often not valid.
    fn columns(&mut self) -> [Option<ByteString>; 7] {
        let long = "é".repeat(1_025);
        let texts =
            ["-", "", " ", "Café \"x\" \\ \u{7f}", "a\0b", "\u{feff}{}\u{2028}", "😀", &long];
        let sign = ["", "-", "+"][self.below(3)];
        let amount = format!("{sign}{}.{}", self.below(10_000_000_000), self.below(100));
        [
            self.pick(&[
                "7",
                "0",
                " A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                "340282366920938463463374607431768211455",
            ]),
            self.pick(&texts),
            self.pick(&[
                &amount,
                &amount,
                &amount,
                "9999999999.990",
                "-9999999999.99",
                "0",
                "-0.00",
                "0.1",
            ]),
            self.pick(&[
                "2024-01-15 08:30:00",
                "2024-02-29T23:59:59.999999Z",
                "2024-01-15T08:30:00.5+02:00",
                "0001-01-01 00:00:00",
                "9999-12-31 23:59:59.000001",
                "1969-12-31 23:59:59.1",
            ]),
            self.pick(&texts),
            self.pick(&["-", "payment", "", "refund", &"x".repeat(65)]),
            self.pick(&["debit", "credit", "debit", "credit", " debit ", "Debit", "-"]),
        ]
    }
}

/// The record as a file has it.
fn in_a_file(columns: &[Option<ByteString>; 7]) -> Fields {
    columns.iter().map(|text| Field::Text(text.clone().unwrap_or_default())).collect()
}

/// What the producer sends of a record with these columns.
fn message(flow: &Transactions, columns: [Option<ByteString>; 7]) -> Message<'_> {
    let fields = columns.map(|text| text.map_or(Field::Absent, Field::Text)).into();
    Message::read(flow.columns(), fields, Notation::Plain).unwrap()
}

/// Everything that validation makes of a record: the row, or why there is none.
fn outcome(flow: &Transactions, fields: Fields) -> Result<String, String> {
    let incoming = Incoming { fields, notation: Notation::Plain, raw: &Raw::default() };
    match flow.read(incoming) {
        Err(reason) => Err(format!("{}: {}", reason.code, reason.message)),
        Ok(record) => Ok(serde_json::to_string(record.row(0).unwrap()).unwrap()),
    }
}

/// A registry that takes any schema and gives it back.
async fn any_registry() -> ScriptedServer {
    ScriptedServer::start(|request| match request.path.split('/').nth(1) {
        Some("compatibility") => Reply::json(r#"{"is_compatible": true}"#),
        Some("subjects") => Reply::json(r#"{"id": 70000}"#),
        _ => Reply::json(json!({ "schema": SCHEMA }).to_string()),
    })
    .await
}

#[tokio::test]
async fn through_each_format_a_record_stays_what_it_is_in_a_file() {
    let server = any_registry().await;
    let registry = registry(&server.url());
    let avro = Encoder::avro(&registry, "t", SCHEMA).await.unwrap();
    let decoder = decoder(Some(registry));
    let flow = Transactions::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut valid = 0;
    for _ in 0..3_000 {
        let columns = random.columns();
        let expected = outcome(&flow, in_a_file(&columns));
        for encoder in [&Encoder::json(), &avro] {
            let value = encoder.encode(&message(&flow, columns.clone())).unwrap();
            let read = decode(&decoder, &value).await.unwrap();
            assert_eq!(outcome(&flow, read), expected);
        }
        valid += i32::from(expected.is_ok());
    }
    assert!((200..2_800).contains(&valid), "{valid} of 3000 valid");
}

#[tokio::test]
async fn avro_is_framed_and_as_small_as_its_schema_makes_it() {
    let server = any_registry().await;
    let registry = registry(&server.url());
    let encoder = Encoder::avro(&registry, "t", SCHEMA).await.unwrap();
    let text = |text: &'static str| Some(ByteString::from_static(text));
    let at = text("1970-01-01 00:00:00.000001");
    let columns = [text("255"), None, text("-1.00"), at, None, None, text("debit")];
    let value = encoder.encode(&message(&Transactions::default(), columns)).unwrap();
    let id = b"00000000-0000-0000-0000-0000000000ff";
    // The frame; the id; no description; one byte of cents; one microsecond; no merchant, no type; a side.
    let expected = [&[0, 0, 1, 0x11, 0x70, 72][..], id, &[0, 2, 0x9c, 2, 0, 0, 2, 10], b"debit"];
    assert_eq!(value[..], expected.concat());
}

#[tokio::test]
async fn a_schema_that_has_no_place_for_a_record_is_a_wrong_setting() {
    let server = any_registry().await;
    let registry = registry(&server.url());
    let text = |text: &'static str| Some(ByteString::from_static(text));
    let (at, flow) = (text("1970-01-01 00:00:00"), Transactions::default());
    let columns = [text("255"), None, text("1.11"), at, text("s3cret"), None, None];
    let message = message(&flow, columns);
    let without = SCHEMA.replace("merchant", "shop");
    let text =
        SCHEMA.replace(r#""local-timestamp-micros""#, r#""x""#).replace(r#""long""#, r#""string""#);
    for schema in [without, text] {
        let encoder = Encoder::avro(&registry, "t", &schema).await.unwrap();
        match encoder.encode(&message) {
            Err(Fault::Stop(stop)) => {
                assert_eq!(stop.kind, StopKind::Setting);
                assert!(!stop.message.contains("s3cret"), "{stop}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(Encoder::avro(&registry, "t", "{}").await, Err(Fault::Stop(_))));
}
