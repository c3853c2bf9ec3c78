use bytes::Bytes;
use serde_json::{Value as Json, json};
use tally_domain::amount::Notation;
use tally_domain::{Action, Field, Flow, Incoming, Raw, Reason, Record, Value};

use crate::{Companies, Insolvencies};

fn read(key: &str, payload: &str) -> Result<Record, Reason> {
    let key = Some(Bytes::copy_from_slice(key.as_bytes()));
    let payload = Some(Bytes::copy_from_slice(payload.as_bytes()));
    let raw = Raw { key, payload, ..Raw::default() };
    let fields = vec![Field::Absent; 3];
    Companies::default().read(Incoming { fields, notation: Notation::Plain, raw: &raw })
}

fn event(kind: &str, changes: impl Into<Json>) -> Json {
    let changes = changes.into();
    json!({"event": kind, "changes": changes, "company":
        {"id": "c-1", "name": "Acme", "organization_id": 7, "created_at": 1_694_479_551, "updated_at": 1_694_479_552.5}})
}

fn shown(values: &[Value]) -> String {
    serde_json::to_string(values).unwrap()
}

#[test]
fn each_event_is_kept_and_is_its_company() {
    let changes = json!([{"field": "name", "from": "A", "to": "Acme"}, {"field": "x", "from": {"y": [1.50]}}]);
    for kind in ["company.created", "company.updated", "created", "updated"] {
        let record = read("c-1", &event(kind, changes.clone()).to_string()).unwrap();
        let [version, latest] = &record.writes[..] else { panic!("{record:?}") };
        assert_eq!((version.table, version.action), (0, Action::Append));
        assert_eq!((latest.table, latest.action), (1, Action::Upsert));
        let company = r#""c-1","Acme","7","2023-09-12T00:45:51","2023-09-12T00:45:52.500""#;
        assert_eq!(shown(&latest.values), format!("[{company}]"));
        assert_eq!(shown(&version.values), format!("[\"{kind}\",{company},{changes}]"));
        assert_eq!(record.breaks, [0_usize; 0]);
    }
    for changes in [Json::Null, json!([])] {
        let record = read("c-1", &event("created", changes.clone()).to_string()).unwrap();
        assert_eq!(shown(&record.writes[0].values[6..]), format!("[{changes}]"));
    }
}

#[test]
fn what_the_schema_does_not_take_is_refused() {
    let with = |pointer: &str, value: Json| {
        let mut event = event("updated", json!([{"field": "name", "to": "Acme"}]));
        *event.pointer_mut(pointer).unwrap() = value;
        event.to_string()
    };
    for (payload, code, message) in [
        ("{".to_owned(), "json", "the record is not JSON"),
        (
            r#"{"event": "created"}"#.to_owned(),
            "schema_required",
            "\"company\" is a required property",
        ),
        (with("/event", json!("deleted")), "schema_enum", "event: value is not one of"),
        (with("/company/id", json!("")), "schema_anyOf", "company.id: "),
        (with("/company/id", json!(1.5)), "schema_anyOf", "company.id: "),
        (with("/company/organization_id", Json::Null), "schema_anyOf", "company.organization_id: "),
        (with("/company/name", json!("a\u{0}")), "schema_pattern", "company.name: "),
        (with("/company/name", json!("é".repeat(256))), "schema_maxLength", "company.name: "),
        (
            with("/company/updated_at", json!(1_694_479_551_000_i64)),
            "schema_exclusiveMaximum",
            "company.updated_at: ",
        ),
        (with("/changes/0/field", json!(1)), "schema_type", "changes.0.field: "),
        (
            with("/company/id", json!(7)).replace(":7,", ":7.0,"),
            "json",
            "an integer is not written as one",
        ),
        (
            with("/company/id", json!(7)).replace(":7,", ":7,\"id\":8,"),
            "json",
            "a field is there twice",
        ),
    ] {
        let reason = read("c-1", &payload).unwrap_err();
        assert_eq!(reason.code, code, "{payload}: {}", reason.message);
        assert!(reason.message.contains(message), "{payload}: {}", reason.message);
    }
    let raw = Raw::default();
    let fields = vec![];
    let tombstone = Incoming { fields, notation: Notation::Plain, raw: &raw };
    assert_eq!(Companies::default().read(tombstone).unwrap_err().code, "tombstone");
}

#[test]
fn rules_look_at_updates_and_their_keys() {
    let flow = Companies::default();
    let broken = |key: &str, event: Json| -> Vec<String> {
        let breaks = read(key, &event.to_string()).unwrap().breaks;
        breaks.into_iter().map(|rule| flow.rules()[rule].to_string()).collect()
    };
    let change =
        |field: &str, from: Json, to: Json| json!([{"field": field, "from": from, "to": to}]);
    let none: [&str; 0] = [];
    for (field, to) in [
        ("name", json!("Acme")),
        ("id", json!("c-1")),
        ("organization_id", json!("7")),
        ("created_at", json!(1_694_479_551.0)),
        ("updated_at", json!(1_694_479_552.5)),
        ("employees", json!(5)),
    ] {
        let good = change(field, Json::Null, to);
        assert_eq!(broken("c-1", event("updated", good)), none, "{field}");
        let bad = change(field, Json::Null, json!("other"));
        let expected: &[&str] = if field == "employees" { &[] } else { &["change_mismatch"] };
        assert_eq!(broken("c-1", event("company.updated", bad.clone())), expected, "{field}");
        assert_eq!(broken("c-1", event("created", bad)), none, "{field}");
    }
    let gone = json!([{"field": "name", "from": "Acme"}]);
    assert_eq!(broken("c-1", event("updated", gone)), ["change_mismatch"]);

    let moved = |from: Json| event("updated", change("organization_id", from, json!(7)));
    assert_eq!(broken("c-1", moved(json!(6))), ["organization_changed"]);
    assert_eq!(broken("c-1", moved(json!("7"))), none);
    assert_eq!(broken("c-1", moved(Json::Null)), none);

    let mut same = event("updated", Json::Null);
    same["company"]["updated_at"] = json!(1_694_479_551.0);
    assert_eq!(broken("c-1", same.clone()), ["same_timestamps"]);
    same["event"] = json!("company.created");
    assert_eq!(broken("c-1", same), none);

    assert_eq!(broken("\"c-1\"", event("created", Json::Null)), none);
    assert_eq!(broken("c-2", event("created", Json::Null)), ["key_not_id"]);
}

fn insolvency(id: &str, at: Field) -> Result<Record, Reason> {
    let fields = vec![Field::Text(id.into()), at];
    let incoming = Incoming { fields, notation: Notation::Plain, raw: &Raw::default() };
    Insolvencies::default().read(incoming)
}

#[test]
fn an_insolvency_has_an_organisation_and_a_date_or_a_time() {
    for (at, stored) in [
        ("2024-01-31", "2024-01-31T00:00:00"),
        (" 2024-01-31 ", "2024-01-31T00:00:00"),
        ("2024-01-31T08:30:00+01:00", "2024-01-31T07:30:00"),
        ("2024-01-31 08:30", "2024-01-31T08:30:00"),
    ] {
        let record = insolvency(" o-1 ", Field::Text(at.into())).unwrap();
        assert_eq!(shown(&record.writes[0].values), format!("[\"o-1\",\"{stored}\"]"));
        assert!(!record.is_asked);
    }
    let code = |id: &str, at: &str| insolvency(id, Field::Text(at.into())).unwrap_err().code;
    assert_eq!(code(" ", "2024-01-31"), "organization_id_missing");
    assert_eq!(code(&"é".repeat(256), "2024-01-31"), "organization_id_invalid");
    assert_eq!(code("a\0", "2024-01-31"), "organization_id_invalid");
    assert_eq!(code("o", "31.01.2024"), "insolvency_ts_invalid");
    assert_eq!(code("o", ""), "insolvency_ts_missing");
    assert!(insolvency(&"é".repeat(255), Field::Text("2024-01-31".into())).is_ok());
}
