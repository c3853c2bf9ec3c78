use bytes::Bytes;
use tally_domain::Reason;

use super::*;

const SCHEMA: &str = r##"{
    "type": "object",
    "required": ["user", "at"],
    "properties": {
        "user": {"$ref": "#/$defs/name"},
        "at": {"type": ["integer", "number"], "minimum": 0},
        "devices": {"type": "array", "items": {"properties": {"id/1": {"maxLength": 3}}, "additionalProperties": false}},
        "kind": {"enum": ["web", "app"]},
        "tags": {"additionalProperties": {"type": "integer"}, "propertyNames": {"maxLength": 5}}
    },
    "$defs": {"name": {"type": "string"}}
}"##;

fn raw(payload: &[u8]) -> Raw {
    Raw { payload: Some(Bytes::copy_from_slice(payload)), ..Raw::default() }
}

fn check(payload: &[u8]) -> Result<String, Reason> {
    let (raw, mut faults) = (raw(payload), Faults::default());
    let text = Schema::new(SCHEMA).unwrap().check(&raw, &mut faults);
    faults.into_reason().map_or_else(|| Ok(text.unwrap().to_owned()), Err)
}

#[track_caller]
fn refused(json: &str, code: &str, message: &str) {
    let reason = check(json.as_bytes()).unwrap_err();
    assert_eq!((&*reason.code, &*reason.message), (code, message));
}

#[test]
fn a_valid_record_is_its_own_text_without_the_frame() {
    let json = r#"{"user": "ann",  "at": 1.50, "more": [1e2]}"#;
    assert_eq!(check(json.as_bytes()).as_deref(), Ok(json));
    assert_eq!(check(&[b"\0\0\0\0\x07", json.as_bytes()].concat()).as_deref(), Ok(json));
}

#[test]
fn what_is_not_json_says_so() {
    for payload in [&b""[..], b"{", b"1;2;3", b"\0\0\0\0\x07", b"\0\0", b"\"\xff\""] {
        assert_eq!(check(payload).unwrap_err().code, "json", "{payload:?}");
    }
    let mut faults = Faults::default();
    assert_eq!(Schema::new(SCHEMA).unwrap().check(&Raw::default(), &mut faults), None);
    assert_eq!(faults.into_reason().unwrap().code, "json");
}

#[test]
fn every_violation_is_noted_with_its_path() {
    refused("[]", "schema_type", r#"value is not of type "object""#);
    refused(
        r#"{"at": -1, "devices": [{}, {"id/1": "long"}], "kind": "tv"}"#,
        "schema_required",
        "\"user\" is a required property;at: value is less than the minimum of 0;devices.1.id~11: value is longer \
         than 3 characters;kind: value is not one of \"web\" or \"app\"",
    );
}

#[test]
fn no_value_and_no_name_of_the_record_is_shown() {
    let secret = r#"{"user": {"secret": 1}, "at": "secret", "devices": [{"secret": 1}, 4711], "kind": "secret",
        "tags": {"secret": "secret", "4711": null, "a": []}, "secret": "secret"}"#;
    let reason = check(secret.as_bytes()).unwrap_err();
    assert!(!reason.message.contains("secret") && !reason.message.contains("4711"), "{reason:?}");
    for part in [
        "user: value",
        "at: value",
        "devices.0: has 1 fields",
        "kind: value",
        "tags.*: value",
        "tags: the name",
    ] {
        assert!(reason.message.contains(part), "{part} in {reason:?}");
    }
}

#[test]
fn only_so_many_violations_are_listed() {
    let items = |count| format!("{{\"tags\": {{\"a\": 1}}, \"devices\": {:?}}}", vec![0; count]);
    let schema =
        Schema::new(r#"{"properties": {"devices": {"items": {"type": "string"}}}}"#).unwrap();
    let listed = |count| {
        let mut faults = Faults::default();
        assert_eq!(schema.check(&raw(items(count).as_bytes()), &mut faults), None);
        let message = faults.into_reason().unwrap().message;
        (message.split(';').count(), message.ends_with(";and more"))
    };
    assert_eq!(listed(LISTED), (LISTED, false));
    assert_eq!(listed(LISTED + 1), (LISTED + 1, true));
}

#[test]
fn a_schema_that_cannot_be_used_says_why() {
    for (text, why) in [
        ("{", "EOF"),
        (r#"{"type": "text"}"#, "text"),
        (r#"{"$ref": "http://127.0.0.1:9/other.json"}"#, "127.0.0.1:9/other.json"),
        (r#"{"$ref": "file:///etc/hostname"}"#, "hostname"),
    ] {
        let error = Schema::new(text).unwrap_err().to_string();
        assert!(
            error.starts_with("the JSON Schema cannot be used: ") && error.contains(why),
            "{error}"
        );
    }
}
