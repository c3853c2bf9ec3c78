//! The binary over real TCP: what it answers, how it starts and how it stops.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

const ID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start() -> Self {
        let mut process = command("127.0.0.1:0").spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, address }
    }

    fn predict(&self, body: &str) -> (u16, Value) {
        let (status, answer) = self.send("POST", "/predict", body.as_bytes());
        (status, serde_json::from_str(&answer).unwrap())
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body).unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        let (head, answer) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.to_owned())
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    /// Sends the head of a request and returns once the service waits for its body, of 2 bytes.
    fn begin_request(&self) -> TcpStream {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let head = "POST /predict HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
        let mut interim = [0; 25];
        connection.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        connection
    }

    fn wait_until_closed(&self) {
        while TcpStream::connect(&self.address).is_ok() {}
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ml-api"));
    command.args(["--listen", listen]).stderr(Stdio::piped());
    command
}

#[test]
fn answers_a_list_in_its_order() {
    let service = Service::start();
    let body = json!([
        {"id": "00000000-0000-0000-0000-000000000001", "description": "VIR SEPA SALAIRE", "amount": 2100.5,
         "timestamp": "2024-01-31T08:00:00", "merchant": null, "operation_type": "transfer", "side": "credit"},
        {"id": ID.to_uppercase(), "amount": -1, "unknown": [{"deep": null}]},
        {"id": "00000000-0000-0000-0000-000000000000"},
    ]);
    let expected = json!([
        {"transaction_id": "00000000-0000-0000-0000-000000000001", "category": "Salary Income"},
        {"transaction_id": ID, "category": ml_api::category(ID.parse().unwrap())},
        {"transaction_id": "00000000-0000-0000-0000-000000000000", "category": "Rent"},
    ]);
    assert_eq!(service.predict(&body.to_string()), (200, expected));
}

#[test]
fn answers_one_object_with_a_list_of_one() {
    let body = format!(" \n{{\"id\": \"{ID}\"}}");
    let expected =
        json!([{"transaction_id": ID, "category": ml_api::category(ID.parse().unwrap())}]);
    assert_eq!(Service::start().predict(&body), (200, expected));
}

#[test]
fn answers_an_empty_list_with_one() {
    assert_eq!(Service::start().predict("[]"), (200, json!([])));
}

#[test]
fn refuses_bad_input_with_item_and_field() {
    let service = Service::start();
    let refused = [
        (json!([{"id": ID}, {"amount": 1}]), "item 1: field `id`: missing"),
        (
            json!([{"id": ID}, {"id": ID}, {"id": ID}, {"id": "12"}]),
            "item 3: field `id`: not a UUID",
        ),
        (json!({"id": null}), "item 0: field `id`: not a UUID"),
        (json!({"id": 12}), "item 0: field `id`: not a UUID"),
        (json!({"id": ID, "amount": "1.5"}), "item 0: field `amount`: not a number"),
        (json!({"id": ID, "amount": null}), "item 0: field `amount`: not a number"),
        (json!({"id": ID, "timestamp": 1_700_000_000}), "item 0: field `timestamp`: not text"),
        (json!({"id": ID, "timestamp": null}), "item 0: field `timestamp`: not text"),
        (json!({"id": ID, "description": 1}), "item 0: field `description`: neither text nor null"),
        (json!({"id": ID, "merchant": []}), "item 0: field `merchant`: neither text nor null"),
        (
            json!({"id": ID, "operation_type": {}}),
            "item 0: field `operation_type`: neither text nor null",
        ),
        (json!({"id": ID, "side": true}), "item 0: field `side`: neither text nor null"),
        (json!([{"id": ID}, [ID]]), "item 1: not an object"),
        (json!("text"), "item 0: not an object"),
    ];
    for (body, error) in refused {
        assert_eq!(service.predict(&body.to_string()), (422, json!({"error": error})), "{body}");
    }
    let repeated = format!("{{\"id\": \"{ID}\", \"id\": \"{ID}\"}}");
    let error = json!({"error": "item 0: duplicate field `id`"});
    assert_eq!(service.predict(&repeated), (422, error));
}

#[test]
fn refuses_what_is_not_json() {
    let service = Service::start();
    for body in ["", "no", "[{}", "[] []", "{\"id\": }"] {
        let (status, answer) = service.predict(body);
        assert_eq!(status, 422, "{body}");
        assert!(answer["error"].as_str().unwrap().starts_with("not JSON: "), "{answer}");
    }
    let (status, _) = service.send("POST", "/predict", b"{\"id\": \"\xff\"}");
    assert_eq!(status, 422);
}

#[test]
fn refuses_a_body_over_the_limit() {
    let service = Service::start();
    let mut body = vec![b' '; ml_api::BODY_LIMIT];
    body[..2].copy_from_slice(b"[]");
    assert_eq!(service.send("POST", "/predict", &body), (200, "[]".to_owned()));

    body.push(b' ');
    assert_eq!(service.send("POST", "/predict", &body).0, 413);
    body.resize(2 * ml_api::BODY_LIMIT, b' ');
    assert_eq!(service.send("POST", "/predict", &body).0, 413);
}

#[test]
fn is_healthy() {
    assert_eq!(Service::start().send("GET", "/health", b"").0, 200);
}

#[test]
fn a_taken_address_is_a_wrong_setting() {
    let service = Service::start();
    let second = command(&service.address).output().unwrap();
    let expected = format!("cannot listen on {}: address in use\n", service.address);
    assert_eq!(String::from_utf8(second.stderr).unwrap(), expected);
    assert_eq!(second.status.code(), Some(78));
}

#[test]
fn stops_cleanly_on_a_signal() {
    for name in ["TERM", "INT"] {
        let mut service = Service::start();
        let _idle = TcpStream::connect(&service.address).unwrap();
        service.signal(name);
        assert_eq!(service.exit_code(), Some(0), "{name}");
    }
}

#[test]
fn answers_what_is_in_flight_before_it_stops() {
    let mut service = Service::start();
    let mut request = service.begin_request();
    service.signal("TERM");
    service.wait_until_closed();

    request.write_all(b"[]").unwrap();
    let mut response = String::new();
    request.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("[]"), "{response}");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut service = Service::start();
    let _stalled = service.begin_request();
    service.signal("TERM");
    service.wait_until_closed();
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
}
