use super::*;
use tally_domain::Value;
use tally_domain::amount::Notation;
use tally_domain::field::Field;
use tally_sample::{LoginFault, Logins};

const LOGIN: &str = r#"{"user_id": "u-1", "app_version": "2.3.0", "device_type": "android", "ip": "192.0.2.1", "locale": "RU",
    "device_id": "593-47-5928", "timestamp": 1694479551, "more": {"a": 1.50}}"#;

fn raw(payload: &[u8]) -> Raw {
    Raw { payload: Some(Bytes::copy_from_slice(payload)), ..Raw::default() }
}

fn read(payload: &[u8]) -> Result<Record, Reason> {
    let fields = COLUMNS.iter().map(|_| Field::Absent).collect();
    let raw = raw(payload);
    UserLogins::default().read(Incoming { fields, notation: Notation::Plain, raw: &raw })
}

/// The login with another value of a field; without it, where there is none.
fn with(name: &str, json: Option<&str>) -> String {
    let mut login = JsonObject::parse(LOGIN).unwrap();
    match json {
        Some(json) => login.set(name.to_owned(), json.to_owned()),
        None => login.remove(name),
    }
    login.to_string()
}

#[track_caller]
fn refused(login: &str, code: &str, message: &str) {
    let reason = read(login.as_bytes()).unwrap_err();
    assert_eq!((&*reason.code, &*reason.message), (code, message));
}

#[test]
fn a_login_is_published_with_its_time_as_text_and_counted() {
    for framed in [LOGIN.as_bytes().to_vec(), [b"\0\0\0\0\x07", LOGIN.as_bytes()].concat()] {
        let record = read(&framed).unwrap();
        let [publication] = &record.publications[..] else { panic!("{record:?}") };
        assert_eq!(publication.key.as_deref(), Some(&b"u-1"[..]));
        let expected = r#"{"user_id":"u-1","app_version":"2.3.0","device_type":"android","ip":"192.0.2.1","locale":"RU","device_id":"593-47-5928","created_at":"2023-09-12T00:45:51Z","more":{"a": 1.50}}"#;
        assert_eq!(publication.value.as_deref(), Some(expected.as_bytes()));

        let counted: Vec<_> = record.writes.iter().map(|write| write.values.clone()).collect();
        let hour = "2023-09-12T00:00:00".parse().unwrap();
        let keys = ["android", "RU", "2.3.0"].map(|key| Value::Text(key.into()));
        let keys = keys.into_iter().chain([Value::Timestamp(hour)]);
        assert!(counted == keys.map(|key| vec![key, Value::Integer(1)]).collect::<Vec<_>>());
        assert!(record.writes.iter().all(|write| write.action == Action::Add));
    }
}

#[test]
fn of_generated_logins_those_are_refused_that_are_spoiled() {
    let logins = Logins::new(7, 0.5);
    for (number, login) in (0..100).zip(logins.clone()) {
        let code = read(&login.payload.unwrap()).err().map(|reason| reason.code);
        assert_eq!(code.as_deref(), logins.fault_of(number).map(LoginFault::code), "{number}");
    }
}

#[test]
fn a_time_is_exact() {
    for (number, text) in [
        ("0", "1970-01-01T00:00:00Z"),
        ("1694479551.5", "2023-09-12T00:45:51.500Z"),
        ("1694479551.123456", "2023-09-12T00:45:51.123456Z"),
        ("1694479551.1234567891", "2023-09-12T00:45:51.123456789Z"),
        ("1.694479551e9", "2023-09-12T00:45:51Z"),
        ("253402300799", "9999-12-31T23:59:59Z"),
    ] {
        let record = read(with("timestamp", Some(number)).as_bytes()).unwrap();
        let value = record.publications[0].value.clone().unwrap();
        let value = JsonObject::parse(str::from_utf8(&value).unwrap()).unwrap();
        assert_eq!(value.get("created_at"), Some(&*format!("\"{text}\"")), "{number}");
    }
}

#[test]
fn every_violation_is_named_and_no_value_shown() {
    refused(&with("user_id", None), "schema_required", "\"user_id\" is a required property");
    refused(&with("ip", Some("null")), "schema_type", "ip: value is not of type \"string\"");
    for (number, code) in [
        ("\"1694479551\"", "schema_type"),
        ("true", "schema_type"),
        ("1694479551000", "schema_exclusiveMaximum"),
        ("253402300800", "schema_exclusiveMaximum"),
        ("-1", "schema_minimum"),
    ] {
        assert_eq!(read(with("timestamp", Some(number)).as_bytes()).unwrap_err().code, code);
    }
    let long = format!("\"{}\"", "é".repeat(256));
    let code = read(with("locale", Some(&long)).as_bytes()).unwrap_err().code;
    assert_eq!(code, "schema_maxLength");
    refused(
        r#"{"user_id": 4711, "timestamp": "secret"}"#,
        "schema_required",
        "\"app_version\" is a required property;\"device_type\" is a required property;\"ip\" is a required \
         property;\"locale\" is a required property;\"device_id\" is a required property;timestamp: value is not of \
         type \"number\";user_id: value is not of type \"string\"",
    );
    refused("{", "json", "the record is not JSON");
    refused(
        &LOGIN.replace(r#""more": {"a": 1.50}"#, r#""ip": "b""#),
        "json",
        "a field is there twice, or holds no text",
    );
    let (schema, raw) = (UserLogins::default(), Raw::default());
    let incoming = Incoming { fields: Vec::new(), notation: Notation::Plain, raw: &raw };
    assert_eq!(schema.read(incoming).unwrap_err().code, "tombstone");
}

#[test]
fn fields_of_the_names_that_are_added_are_left_out() {
    let login = with("created_at", Some("1")).replace("more", "processed_at");
    let record = read(login.as_bytes()).unwrap();
    let value = record.publications[0].value.clone().unwrap();
    let value = str::from_utf8(&value).unwrap();
    assert_eq!(value.matches("created_at").count(), 1, "{value}");
    assert!(!value.contains("processed_at"), "{value}");
}

#[test]
fn what_is_absent_is_repaired_and_nothing_else() {
    let repair = |payload: &[u8]| {
        let repaired = UserLogins::default().repair(&raw(payload))?;
        Some(String::from_utf8(repaired.to_vec()).unwrap())
    };
    let flat = JsonObject::parse(LOGIN).unwrap().to_string();
    let (text, number) = (with("device_type", None), with("timestamp", None));
    for (absent, added) in [(&text, r#","device_type":""}"#), (&number, r#","timestamp":0}"#)] {
        let expected = format!("{}{added}", absent.strip_suffix('}').unwrap());
        assert_eq!(repair(absent.as_bytes()), Some(expected.clone()));
        assert!(read(expected.as_bytes()).is_ok());
        let marked = repair(format!("\u{feff}{absent}").as_bytes()).unwrap();
        assert_eq!(marked, format!("\u{feff}{expected}"));
        assert!(read(marked.as_bytes()).is_ok());
        let framed = [b"\0\0\0\0\x07", absent.as_bytes()].concat();
        assert_eq!(repair(&framed), Some(format!("\0\0\0\0\x07{expected}")));
    }
    assert!(repair(b"{}").is_some_and(|login| read(login.as_bytes()).is_ok()));
    let wrong = with("ip", Some("null"));
    for not_repaired in [flat.as_bytes(), wrong.as_bytes(), b"{", b"[]", b"", b"\xff"] {
        assert_eq!(repair(not_repaired), None);
    }
    assert_eq!(UserLogins::default().repair(&Raw::default()), None);
}
