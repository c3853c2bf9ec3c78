//! The registry: what its answers mean, and what is remembered of them.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tally_adapter_kafka::wire::{Decoder, Encoder, Registry, WireMask};
use tally_domain::transactions::Transactions;
use tally_domain::{Fields, Flow, Reason};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_harness::registry::Registry as RealRegistry;
use tally_ports::{Fault, Mask, Raw, StopKind};
use uuid::Uuid;

use crate::warnings::Warnings;
use crate::wire::{SCHEMA, TIMEOUT, decode, decoder, refused, registry};

/// One field, and a record of it in the frame of schema 7.
const ID: &str = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"string"}]}"#;
const RECORD: &[u8] = &[0, 0, 0, 0, 7, 2, b'x'];

async fn ask(decoder: &Decoder) -> Result<Result<Fields, Reason>, Fault> {
    decoder.decode(Some(&Bytes::from_static(RECORD))).await
}

fn answer(schema: &str) -> Reply {
    Reply::json(json!({ "schema": schema }).to_string())
}

fn error(status: u16, code: u32) -> Reply {
    Reply::status(status).body(json!({ "error_code": code, "message": "s3cret" }).to_string())
}

/// Expects an outage at the first answer and the record at the next one.
async fn check_outage(reply: Reply, words: &str) {
    let server =
        ScriptedServer::start(
            move |request| {
                if request.number == 0 { reply.clone() } else { answer(ID) }
            },
        )
        .await;
    let url = server.url().replace("//", "//anna:s3cret@");
    let decoder = decoder(Some(Registry::new(&url, Duration::from_millis(500)).unwrap()));
    match ask(&decoder).await {
        Err(Fault::Outage { message, .. }) => {
            assert!(message.contains(words), "{message}");
            assert!(message.contains(&server.url()), "{message}");
            assert!(!message.contains("s3cret") && !message.contains("anna"), "{message}");
        }
        other => panic!("no outage but {other:?}"),
    }
    assert_eq!(ask(&decoder).await.unwrap().unwrap()[0].text().as_deref(), Some("x"));
}

#[tokio::test]
async fn what_is_not_the_registrys_word_is_an_outage_and_forgotten() {
    for status in [301, 400, 401, 403, 429, 500, 502, 503] {
        check_outage(error(status, u32::from(status)), &format!("answered {status}")).await;
        check_outage(Reply::status(status), &format!("answered {status}")).await;
    }
    check_outage(error(500, 40_403), "answered 500").await;
    // From a proxy, or below a wrong base URL.
    check_outage(Reply::status(404), "answered 404").await;
    check_outage(Reply::status(404).body("<html>s3cret"), "answered 404").await;
    check_outage(error(404, 404), "answered 404").await;
    check_outage(Reply::json("s3cret"), "not what was agreed on").await;
    check_outage(Reply::json(r#"{"schema": 5}"#), "not what was agreed on").await;
    check_outage(Reply::json("{}"), "not what was agreed on").await;
    check_outage(Reply::reset(), "no complete answer").await;
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_an_outage() {
    check_outage(answer(ID).delay(TIMEOUT), "no answer within 500ms").await;
    check_outage(answer(ID).drip(Duration::from_millis(100)), "no answer within 500ms").await;
    let nobody = decoder(Some(registry("http://127.0.0.1:1")));
    let fault = ask(&nobody).await.unwrap_err();
    assert!(fault.to_string().contains("connection refused"), "{fault}");
}

#[tokio::test]
async fn tls_that_the_registry_does_not_speak_is_an_outage() {
    let server = ScriptedServer::start(|_| answer(ID)).await;
    let url = server.url().replace("http://", "https://");
    let fault = ask(&decoder(Some(registry(&url)))).await.unwrap_err();
    assert!(matches!(fault, Fault::Outage { .. }), "{fault:?}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_unknown_id_makes_a_bad_record_and_is_asked_for_once() {
    for code in [40_401, 40_402, 40_403] {
        let server = ScriptedServer::start(move |_| error(404, code)).await;
        let decoder = decoder(Some(registry(&server.url())));
        for _ in 0..100 {
            refused(ask(&decoder).await.unwrap(), "schema_unknown", "knows no schema 7");
        }
        assert_eq!(server.requests().len(), 1);
        assert_eq!(server.requests()[0].path, "/schemas/ids/7?deleted=true");
    }
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn an_unknown_id_may_become_known() {
        let server = ScriptedServer::start(|request| match request.number {
            0 => error(404, 40_403),
            _ => answer(ID),
        })
        .await;
        let decoder = decoder(Some(registry(&server.url())));
        let first = ask(&decoder).await.unwrap();
        refused(first, "schema_unknown", "knows no schema 7");
        tally_harness::eventually(Duration::from_secs(20), || async {
            ask(&decoder).await.unwrap().is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn a_known_schema_is_asked_for_once() {
    let server = ScriptedServer::start(|_| answer(ID)).await;
    let decoder = decoder(Some(registry(&server.url())));
    for _ in 0..100 {
        assert!(ask(&decoder).await.unwrap().is_ok());
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn another_schema_type_makes_bad_records() {
    let protobuf = |_: &Request| Reply::json(r#"{"schema": "", "schemaType": "PROTOBUF"}"#);
    let server = ScriptedServer::start(protobuf).await;
    let decoder = decoder(Some(registry(&server.url())));
    for _ in 0..2 {
        let outcome = ask(&decoder).await.unwrap();
        refused(outcome, "avro", "schema 7: it is neither an Avro schema nor a JSON Schema");
    }
    assert_eq!(server.requests().len(), 1);
}

const JSON_SCHEMA: &str =
    r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}"#;

fn framed(id: u32, json: &str) -> Bytes {
    [&[0], &id.to_be_bytes()[..], json.as_bytes()].concat().into()
}

#[tokio::test]
async fn a_record_of_a_json_schema_is_json() {
    let json = |_: &Request| Reply::json(r#"{"schema": "{}", "schemaType": "JSON"}"#);
    let server = ScriptedServer::start(json).await;
    let registry = registry(&server.url());
    let decoder = decoder(Some(registry.clone()));
    let payload = framed(7, r#"{"id": "x", "merchant": "Jane"}"#);
    let fields = decoder.decode(Some(&payload)).await.unwrap().unwrap();
    assert_eq!(fields[0].text().as_deref(), Some("x"));
    let broken = decoder.decode(Some(&framed(7, "{"))).await.unwrap();
    refused(broken, "json", "the JSON ends too early");
    assert_eq!(server.requests().len(), 1);

    let columns = Transactions::default();
    let mask = WireMask::new(&["merchant".to_owned()], columns.columns(), Some(registry));
    let masked = mask.mask(&Raw { payload: Some(payload), ..Raw::default() });
    assert_eq!(masked.payload.as_deref(), Some(&br#"{"id":"x","merchant":"***"}"#[..]));
}

#[tokio::test]
async fn without_a_registry_an_avro_record_is_a_bad_one() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let decoder = decoder(None);
    for _ in 0..3 {
        let outcome = ask(&decoder).await.unwrap();
        refused(outcome, "schema_unknown", "no schema registry is configured");
    }
    assert_eq!(warnings.count(), 1);
}

#[tokio::test]
async fn a_schema_may_refer_to_others_in_any_order() {
    let reference = |name: &str| json!({ "name": name, "subject": name, "version": 1 });
    let with = move |schema: serde_json::Value, references: &[&str]| {
        let references: Vec<_> = references.iter().map(|name| reference(name)).collect();
        json!({ "schema": schema.to_string(), "references": references, "id": 1 }).to_string()
    };
    let record = |name: &str, fields: serde_json::Value| json!({ "type": "record", "name": name, "fields": fields });
    let server = ScriptedServer::start(move |request| {
        Reply::json(match &*request.path {
            "/subjects/a.A/versions/1" => {
                with(record("a.A", json!([{ "name": "b", "type": "a.B" }])), &["a.B"])
            }
            "/subjects/a.B/versions/1" => with(record("a.B", json!([{ "name": "x", "type": "int" }])), &[]),
            _ => with(
                record(
                    "a.R",
                    json!([{ "name": "a", "type": "A" }, { "name": "b", "type": ["null", "a.B"] }, { "name": "id", "type": "string" }]),
                ),
                &["a.A", "a.B"],
            ),
        })
    })
    .await;
    let decoder = decoder(Some(registry(&server.url())));
    let payload = [0, 0, 0, 0, 7, 2, 2, 4, 2, b'x'];
    assert_eq!(decode(&decoder, &payload).await.unwrap()[0].text().as_deref(), Some("x"));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn user_and_password_are_sent_and_not_shown() {
    let server = ScriptedServer::start(|_| answer(ID)).await;
    let url = format!("{}/apis/v7/?s3cret#s3cret", server.url().replace("//", "//an%40na:s3cret@"));
    let registry = registry(&url);
    assert!(!format!("{registry:?}").contains("s3cret"), "{registry:?}");
    assert!(ask(&decoder(Some(registry))).await.unwrap().is_ok());
    let request = &server.requests()[0];
    let basic = format!("Basic {}", BASE64_STANDARD.encode("an@na:s3cret"));
    assert_eq!(request.headers["authorization"], basic);
    assert_eq!(request.path, "/apis/v7/schemas/ids/7?deleted=true");
}

#[test]
fn what_is_no_url_is_a_wrong_setting_and_not_quoted() {
    for url in [
        "",
        "s3cret",
        "anna:s3cret@127.0.0.1:8081",
        "ftp://anna:s3cret@h",
        "http://anna:s3cret@h:eight",
    ] {
        match Registry::new(url, TIMEOUT) {
            Err(Fault::Stop(stop)) => {
                assert_eq!(stop.kind, StopKind::Setting);
                assert!(stop.message.contains("SCHEMA_REGISTRY_URL"), "{stop}");
                assert!(!stop.message.contains("s3cret"), "{stop}");
            }
            other => panic!("{url}: {other:?}"),
        }
    }
    assert!(Registry::new("http://h", Duration::ZERO).is_err());
}

/// Registers while the registry answers the check and then the registration so.
async fn register(check: Reply, registration: Reply) -> Result<u32, Fault> {
    let server = ScriptedServer::start(move |request| match &*request.path {
        "/compatibility/subjects/t-value/versions/latest" => check.clone(),
        "/subjects/t-value/versions" => registration.clone(),
        path => panic!("{path}"),
    })
    .await;
    registry(&server.url()).register("t", SCHEMA).await
}

#[track_caller]
fn check_stop(outcome: &Result<u32, Fault>, words: &str) {
    match outcome {
        Err(Fault::Stop(stop)) => {
            assert_eq!(stop.kind, StopKind::Setting);
            assert!(stop.message.contains(words), "{stop}");
        }
        other => panic!("no stop but {other:?}"),
    }
}

#[tokio::test]
async fn a_schema_is_checked_and_then_registered() {
    let fits = || Reply::json(r#"{"is_compatible": true}"#);
    let id = || Reply::json(r#"{"id": 12}"#);
    assert_eq!(register(fits(), id()).await, Ok(12));
    assert_eq!(register(error(404, 40_401), id()).await, Ok(12));

    check_stop(
        &register(Reply::json(r#"{"is_compatible": false}"#), id()).await,
        "latest version of subject t-value",
    );
    check_stop(&register(fits(), error(409, 409)).await, "latest version of subject t-value");
    check_stop(&register(fits(), error(422, 42_201)).await, "subject t-value (422)");
    check_stop(&register(error(401, 401), id()).await, "user and password");
    check_stop(&register(fits(), error(403, 403)).await, "user and password");
    check_stop(&register(Reply::status(404), id()).await, "check its URL");
    for (check, registration) in [
        (error(500, 50_001), id()),
        (Reply::json("{}"), id()),
        (Reply::reset(), id()),
        (fits(), error(503, 50_001)),
        (fits(), Reply::json("{}")),
        (fits(), Reply::reset()),
    ] {
        let outcome = register(check, registration).await;
        assert!(matches!(outcome, Err(Fault::Outage { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_real_registry() {
    let real = RealRegistry::shared().await;
    // It may just have been started, on a busy machine.
    let registry = Registry::new(real.url(), Duration::from_mins(1)).unwrap();
    let topic = format!("wire-{}", Uuid::now_v7());
    let id = registry.register(&topic, SCHEMA).await.unwrap();
    assert_eq!(registry.register(&topic, SCHEMA).await, Ok(id));

    set_compatibility(real.url(), &format!("{topic}-value")).await;
    let more =
        SCHEMA.replace(r#""fields": ["#, r#""fields": [{"name":"more","type":"int","default":0},"#);
    assert_ne!(registry.register(&topic, &more).await.unwrap(), id);
    let other = SCHEMA.replace(r#""name": "timestamp", "type""#, r#""name": "timestamp", "x""#);
    let other =
        other.replace(r#""local-timestamp-micros""#, r#""x""#).replace(r#""long""#, r#""boolean""#);
    check_stop(&registry.register(&topic, &other).await, "latest version of subject");
    let encoder = Encoder::avro(&registry, &topic, &other).await;
    check_stop(&encoder.map(|_| 0), &format!("{topic}-value"));

    let decoder = decoder(Some(registry.clone()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let registering = client
        .post(format!("{}/subjects/{topic}-json/versions", real.url()))
        .json(&json!({ "schemaType": "JSON", "schema": JSON_SCHEMA }));
    let id: Value = registering.send().await.unwrap().json().await.unwrap();
    let id = u32::try_from(id["id"].as_u64().unwrap()).unwrap();
    let fields = decoder.decode(Some(&framed(id, r#"{"id": "x"}"#))).await.unwrap().unwrap();
    assert_eq!(fields[0].text().as_deref(), Some("x"));

    let unknown = [0, 0x7f, 0xff, 0xff, 0xff, 0];
    refused(decode(&decoder, &unknown).await, "schema_unknown", "knows no schema 2147483647");
}

/// Only what is compatible may follow in the subject, which is every registry's default but this one's.
async fn set_compatibility(url: &str, subject: &str) {
    // Somebody else may have installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .put(format!("{url}/config/{subject}"))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(r#"{"compatibility": "BACKWARD"}"#);
    assert!(request.send().await.unwrap().status().is_success());
}
