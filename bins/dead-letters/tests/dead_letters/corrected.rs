//! Corrected readings: a replay reads as the file was read or as it is told, and a corrected file closes what it replaces.

use serde_json::json;
use tally_harness::job::{Job, Target};

use crate::support::{Desk, HEADER, SOON, on_both_stores, outcomes, row};

on_both_stores! {
    a_record_is_read_with_the_settings_of_its_file
    a_flag_replaces_the_decimal_sign
    a_flag_replaces_the_encoding
    a_flag_replaces_the_formats_of_timestamps
    a_flag_replaces_the_columns
    a_corrected_file_outdates_the_dead_letters_of_its_keys
    a_later_pass_outdates_the_dead_letters_of_its_positions
}

/// Takes a file of this content with these settings.
fn take(desk: &Desk, name: &str, content: impl AsRef<[u8]>, env: &[(&str, &str)], flags: &[&str]) {
    let file = desk.file(name, content);
    let job = Job::new(&desk.target.url()).model(&desk.model.url()).file(file).flags(flags);
    let job = job.env("TALLY_BUDGET__RATIO", "1");
    let output = env.iter().fold(job, |job, (name, value)| job.env(name, value)).spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
}

/// Replays all with these flags: all of them are written, with this description, amount and timestamp.
async fn written(desk: &Desk, flags: &[&str], expected: &str) {
    let (told, counts) = desk.replay(&[&["--all"], flags].concat());
    assert_eq!(counts, json!({"replayed": told.len()}), "{told:?}");
    let found =
        "select description, amount, substr(cast(timestamp as text), 1, 19) from transactions";
    assert_eq!(desk.texts(found).await, [expected]);
}

async fn a_record_is_read_with_the_settings_of_its_file(desk: Desk) {
    desk.model.refuse();
    let header = HEADER.replace("amount", "Montant TTC").replace("timestamp", "JOUR");
    let row = row(1, "bad").replace("2024-01-15 08:30:00", "15/01/2024 08:30");
    let env = [
        ("TALLY_CSV__SKIP_LINES", "2"),
        ("TALLY_CSV__COLUMNS", r#"{"montant ttc" = "amount", "jour" = "timestamp"}"#),
        ("TALLY_CSV__TIMESTAMP_FORMATS", r#"["%d/%m/%Y %H:%M"]"#),
        ("TALLY_CSV__DECIMAL", "comma"),
    ];
    take(&desk, "a.csv", format!("sep=;\nReleve\n{header}{row}"), &env, &[]);
    let shown = desk.json(&["show", &desk.ids().await[0]]);
    let headers = shown["headers"].as_array().unwrap().iter();
    let headers: Vec<_> =
        headers.map(|header| (header["name"].as_str().unwrap(), header["value"].clone())).collect();
    assert_eq!(
        headers,
        [
            ("csv.header", json!(header.trim_end())),
            ("csv.delimiter", json!(";")),
            ("csv.decimal", json!("comma-set")),
            ("csv.encoding", json!("UTF-8")),
            ("csv.skip_lines", json!("2")),
            ("csv.columns", json!(r#"{"jour":"timestamp","montant ttc":"amount"}"#)),
            ("csv.timestamp_formats", json!(r#"["%d/%m/%Y %H:%M"]"#)),
        ]
    );
    desk.model.answer();
    written(&desk, &[], "bad -1.50 2024-01-15 08:30:00").await;
}

async fn a_flag_replaces_the_decimal_sign(desk: Desk) {
    take(&desk, "a.csv", HEADER.to_owned() + &row(1, "x").replace("-1,50", "-1,500"), &[], &[]);
    let (told, _) = desk.replay(&["--all"]);
    assert_eq!(told, outcomes([(0, "failed_again")]));
    written(&desk, &["--csv-decimal", "comma"], "x -1.50 2024-01-15 08:30:00").await;
    let targets = desk.texts("select target from acts order by at").await;
    assert_eq!(
        targets,
        ["flow=transactions state=open", "flow=transactions state=open csv.decimal=comma"]
    );
}

async fn a_flag_replaces_the_encoding(desk: Desk) {
    let content = [HEADER.as_bytes(), b"1;caf\xe9;-1,50;2024-01-15 08:30:00;RATP;payment;debit\n"];
    take(&desk, "a.csv", content.concat(), &[], &[]);
    written(&desk, &["--csv-encoding", "latin1"], "café -1.50 2024-01-15 08:30:00").await;
}

async fn a_flag_replaces_the_formats_of_timestamps(desk: Desk) {
    let american = row(1, "x").replace("2024-01-15 08:30:00", "01/15/2024");
    let env = [("TALLY_CSV__TIMESTAMP_FORMATS", r#"["%d/%m/%Y"]"#)];
    take(&desk, "a.csv", HEADER.to_owned() + &american, &env, &[]);
    let flags = ["--csv-timestamp-formats", "%F", "--csv-timestamp-formats", "%m/%d/%Y"];
    written(&desk, &flags, "x -1.50 2024-01-15 00:00:00").await;
}

async fn a_flag_replaces_the_columns(desk: Desk) {
    let header = HEADER.replace("timestamp", "valeur").replace("side", "side;jour");
    let row = row(1, "x")
        .replace("2024-01-15 08:30:00", "J+1")
        .replace("debit", "debit;2024-01-15 08:30");
    let env = [("TALLY_CSV__COLUMNS", "{valeur=timestamp}")];
    take(&desk, "a.csv", header + &row, &env, &[]);
    written(&desk, &["--csv-columns", "Jour=timestamp"], "x -1.50 2024-01-15 08:30:00").await;
}

#[tokio::test]
async fn a_flag_that_is_wrong_changes_nothing() {
    let desk = Desk::new(Target::sqlite()).await;
    take(&desk, "a.csv", HEADER.to_owned() + &row(1, "x").replace("debit", "both"), &[], &[]);
    for (flags, code, message) in [
        (["--csv-encoding", "utf-16"], 78, "csv.encoding \"utf-16\" is not compatible with ASCII"),
        (
            ["--csv-timestamp-formats", "%Q"],
            78,
            "csv.timestamp_formats: \"%Q\" is not a format of strftime",
        ),
        (
            ["--csv-columns", "x=nope"],
            78,
            "csv.columns: \"x\" is mapped to \"nope\", which is not a column",
        ),
        (
            ["--csv-columns", "amount"],
            2,
            "expected a name of the header and a column, like Betrag=amount",
        ),
        (["--csv-decimal", "dot"], 2, "expected auto, comma or point"),
    ] {
        let output = desk.run(&[&["replay", "--all"], &flags[..]].concat());
        assert_eq!(output.code, Some(code), "{output}");
        assert!(output.stderr.replace("\\\"", "\"").contains(message), "{output}");
    }
    assert_eq!(desk.states().await, ["0 1 open"]);
}

/// Position, state and rule of all dead letters, and what `show` says of the state of the first.
async fn closed(desk: &Desk) -> (Vec<String>, String) {
    let sql = "select position, state, outdated_by from dead_letters order by pass, position";
    let shown = desk.done(&["show", &desk.ids().await[0]]);
    let state = shown.lines().find_map(|line| line.strip_prefix("state ")).unwrap();
    (desk.texts(sql).await, state.trim().to_owned())
}

async fn a_corrected_file_outdates_the_dead_letters_of_its_keys(desk: Desk) {
    let bad = |id: u64| row(id, "x").replace("debit", "both");
    take(&desk, "a.csv", [HEADER, &bad(1), &bad(2), &row(3, "x"), "4;x\n"].concat(), &[], &[]);
    // 2 is corrected, 1 still bad.
    take(&desk, "b.csv", [HEADER, &row(2, "good"), &bad(1)].concat(), &[], &[]);
    let states = desk
        .texts(
            "select p.label, d.position, d.state, d.outdated_by from dead_letters d \
             join positions p on p.stream = d.stream order by d.failed_at, d.position",
        )
        .await;
    let name = |states: &str| states.rsplit_once('/').unwrap().1.to_owned();
    let states: Vec<String> = states.iter().map(|state| name(state)).collect();
    assert_eq!(
        states,
        ["a.csv 0 open null", "a.csv 1 outdated key", "a.csv 3 open null", "b.csv 1 open null",]
    );
    let id = desk.texts("select id from dead_letters where state = 'outdated'").await;
    let shown = desk.json(&["show", &id[0]]);
    assert_eq!((&shown["state"], &shown["outdated_by"]), (&json!("outdated"), &json!("key")));
    let (told, _) = desk.replay(&[&id[0]]);
    assert_eq!(told, outcomes([(1, "not_open")]));
}

async fn a_later_pass_outdates_the_dead_letters_of_its_positions(desk: Desk) {
    let content =
        [HEADER, &row(1, "x").replace("-1,50", "-1,500"), &row(2, "x").replace("debit", "both")]
            .concat();
    take(&desk, "a.csv", &content, &[], &[]);
    let env = [("TALLY_CSV__DECIMAL", "comma")];
    take(&desk, "a.csv", &content, &env, &["--again"]);
    let (states, shown) = closed(&desk).await;
    assert_eq!(states, ["0 outdated position", "1 open null", "1 open null"]);
    assert_eq!(shown, "outdated: a later pass has taken the record at its position");
}
