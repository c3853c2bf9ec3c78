//! Records that append rows of their own.

use tally_harness::job::{Target, ended_with};
use tally_harness::kafka::record;

use crate::on_both_stores;
use crate::support::{Table, audited, codes, consume, counts, program, rows, take, topic};

const ROWS: &str = "select position, n, sensor, cast(value as text), cast(is_valid as text), cast(details as text) \
    from readings order by stream, position, n";

on_both_stores! {
    each_record_appends_its_rows_once_however_often_it_is_read
    a_record_stands_or_falls_with_all_its_rows
    a_topic_is_read_by_the_columns_of_the_flow
    a_replay_knows_key_headers_and_timestamp_of_the_record
}

fn is_true(target: &Target) -> &'static str {
    match target {
        Target::Sqlite(_) => "1",
        Target::Postgres(_) => "true",
    }
}

async fn each_record_appends_its_rows_once_however_often_it_is_read(target: Target) {
    let table = Table::new(&[
        "sensor;at;value;second_value;is_valid;details",
        "a;2024-01-15T08:30:00+02:00;1.5;;true;\"{\"\"unit\"\": \"\"C\"\"}\"",
        "b;2024-01-15 08:30:00;-2.125;3;;",
        "c;yesterday;1;;;",
    ]);
    let summary = take("readings", &target, &table, &[]);
    assert_eq!(counts(&summary), [3, 2, 0, 0, 1]);
    assert_eq!(codes(&summary), [("incomplete", 1)]);
    let expected = [
        format!("0|0|a|1.500|{}|{{\"unit\": \"C\"}}", is_true(&target)),
        "1|0|b|-2.125|-|-".to_owned(),
        "1|1|b|3.000|-|-".to_owned(),
    ];
    assert_eq!(rows(&target, ROWS).await, expected);
    let at = rows(&target, "select cast(at as text) from readings where sensor = 'a'").await;
    assert!(at[0].starts_with("2024-01-15 06:30:00"), "{at:?}");

    let again = take("readings", &target, &table, &["--again"]);
    assert_eq!(counts(&again), [3, 2, 0, 0, 1]);
    assert_eq!(rows(&target, ROWS).await, expected);
    audited(&target);
}

async fn a_record_stands_or_falls_with_all_its_rows(target: Target) {
    let table = Table::new(&[
        "sensor;at;value;second_value;is_valid;details",
        "a;2024-01-15 08:30:00;1;2;;",
        "broken;2024-01-15 08:30:00;3;4;;",
        "b;2024-01-15 08:30:00;5;;;",
    ]);
    let summary = take("readings", &target, &table, &[]);
    assert_eq!(counts(&summary), [3, 2, 0, 0, 1]);
    let found =
        rows(&target, "select sensor, cast(value as text) from readings order by value").await;
    assert_eq!(found, ["a|1.000", "a|2.000", "b|5.000"]);
    audited(&target);
}

async fn a_topic_is_read_by_the_columns_of_the_flow(target: Target) {
    let (broker, topic) = topic(&[
        (None, Some(r#"{"sensor": "a", "at": "2024-01-15T08:30:00Z", "value": 1.250, "is_valid": false, "details": [1, {"a": null}]}"#)),
        (None, Some(r#"{"sensor": "a", "at": "2024-01-15T08:30:00Z", "value": "2", "is_valid": "no"}"#)),
        (None, Some(r#"{"sensor": true, "at": "2024-01-15T08:30:00Z", "value": 3}"#)),
    ])
    .await;
    consume("readings", &target, broker, &topic, &[]);
    let is_false = if is_true(&target) == "1" { "0" } else { "false" };
    assert_eq!(rows(&target, ROWS).await, [format!("0|0|a|1.250|{is_false}|[1, {{\"a\": null}}]")]);
    let codes = rows(&target, "select code, position from dead_letters order by position").await;
    assert_eq!(codes, ["incomplete|1", "json|2"]);
    audited(&target);
}

async fn a_replay_knows_key_headers_and_timestamp_of_the_record(target: Target) {
    let first = r#"{"sensor": "a", "at": "2024-01-15T08:30:00Z", "value": 1}"#;
    let (broker, topic) = topic(&[(None, Some(first))]).await;
    consume("readings", &target, broker, &topic, &[]);
    let (refuse, accept) = match target {
        Target::Sqlite(_) => (
            "create trigger full before insert on readings begin select raise(abort, 'constraint_trigger: full'); end",
            "drop trigger full",
        ),
        Target::Postgres(_) => (
            "alter table readings add constraint no_more check (false) not valid",
            "alter table readings drop constraint no_more",
        ),
    };
    target.execute(refuse).await;
    let mut second = record(Some(b"b"), Some(br#"{"value": 2}"#));
    second.timestamp = "2024-01-15T09:30:00.120Z".parse().unwrap();
    second.headers.insert("details".to_owned(), b"[7]".to_vec());
    broker.produce(&topic, 0, vec![second]).await;
    consume("readings", &target, broker, &topic, &[]);
    assert_eq!(rows(&target, "select stage, state from dead_letters").await, ["write|open"]);
    target.execute(accept).await;

    let replay = ["replay", "--all", "--reason", "test", "--database-url", &target.url()];
    ended_with(&program("dead-letters").args(replay).spawn(), 0);
    assert_eq!(rows(&target, ROWS).await, ["0|0|a|1.000|-|-", "1|0|b|2.000|-|[7]"]);
    let at = rows(&target, "select cast(at as text) from readings where sensor = 'b'").await;
    assert!(at[0].starts_with("2024-01-15 09:30:00.12"), "{at:?}");
    audited(&target);
}
