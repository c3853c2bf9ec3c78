//! What is listed, shown, counted and exported.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::support::{Desk, HEADER, SOON, counted, objects, on_both_stores, row};
use serde_json::{Value, json};
use tally_harness::job::{Job, Target};
use tally_sample::{Options, generate};

on_both_stores! {
    filters_and_pages_list_each_once
    everything_is_shown
    counts_have_their_bars
    an_export_holds_every_byte
    an_export_streams_pages_of_large_records
}

/// A spoiled sample, and a smaller file twice, so that there are two passes.
fn fail(desk: &Desk) {
    let options = Options { rows: 400, spoil_share: 0.2, ..Options::default() };
    let mut sample = Vec::new();
    generate(&options, &mut sample).unwrap();
    let file = desk.file("sample.csv", &sample);
    let job = Job::new(&desk.target.url()).model(&desk.model.url()).file(file);
    let output = job.flags(["--batch-size", "50"]).spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let rows =
        [row(1, "x").replace("debit", "both"), row(2, "y"), row(3, "z").replace("-1,50", "")];
    desk.ingest("b.csv", &rows.concat());
    let output = desk.job("b.csv", &rows.concat()).flag("--again").spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
}

fn ids(page: &Value) -> Vec<String> {
    let letters = page["dead_letters"].as_array().unwrap();
    letters.iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
}

async fn filters_and_pages_list_each_once(desk: Desk) {
    fail(&desk);
    let total = desk.target.number("select count(*) from dead_letters").await;
    assert_eq!(total, 84);
    let stream = &desk.texts("select distinct stream from dead_letters where pass = 2").await[0];
    let label = desk.texts("select distinct label from positions order by label").await;
    let label = label.iter().find(|label| label.ends_with("sample.csv")).unwrap();
    let sql =
        |condition: &str| format!("select id from dead_letters where {condition} order by id");
    let of_sample = format!("stream <> '{stream}'");
    for (arguments, condition) in [
        (vec![], "true".to_owned()),
        (vec!["--flow", "transactions"], "true".to_owned()),
        (vec!["--flow", "visits"], "false".to_owned()),
        (vec!["--stream", stream], format!("stream = '{stream}'")),
        (vec!["--label", label], of_sample),
        (vec!["--partition", "0"], "true".to_owned()),
        (vec!["--partition", "1"], "false".to_owned()),
        (vec!["--pass", "2"], "pass = 2".to_owned()),
        (vec!["--position", "2"], "position = 2".to_owned()),
        (vec!["--stage", "decode"], "stage = 'decode'".to_owned()),
        (vec!["--code", "amount_range"], "code = 'amount_range'".to_owned()),
        (vec!["--state", "open"], "true".to_owned()),
        (vec!["--state", "purged"], "false".to_owned()),
        (vec!["--since", "1h", "--until", "2999-12-31T00:00:00Z"], "true".to_owned()),
        (vec!["--until", "1h"], "false".to_owned()),
        (
            vec!["--key", "3"],
            "key is not null and pass > 0 and position = 2 and code = 'amount_missing'".to_owned(),
        ),
        (
            vec!["--stage", "validate", "--pass", "1", "--code", "amount_missing"],
            "stage = 'validate' and pass = 1 and code = 'amount_missing'".to_owned(),
        ),
    ] {
        let expected = desk.texts(&sql(&condition)).await;
        let page = desk.json(&[&["list", "--limit", "10000"], &arguments[..]].concat());
        let mut found = ids(&page);
        assert_eq!(page["next"], Value::Null);
        found.sort();
        assert_eq!(found, expected, "{arguments:?}");
    }

    for (limit, flags) in
        [("7", &[][..]), ("42", &[]), ("3", &["--stage", "validate", "--pass", "1"])]
    {
        let whole = ids(&desk.json(&[&["list", "--limit", "10000"], flags].concat()));
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let behind = after.as_deref().map_or(vec![], |after| vec!["--after", after]);
            let page = desk.json(&[&["list", "--limit", limit], flags, &behind[..]].concat());
            found.extend(ids(&page));
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(found, whole, "pages of {limit}");
    }

    let table = desk.done(&["list", "--limit", "5"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 8, "a heading, five rows and how to go on: {table}");
    assert!(lines[0].starts_with("ID ") && lines[7].starts_with("more: --after "), "{table}");
    assert_eq!(desk.done(&["list", "--state", "purged"]), "no dead letters\n");
}

async fn everything_is_shown(desk: Desk) {
    let rows = [
        b"7;\"not \xe9 text\";-1,50;2024-01-15 08:30:00;RATP;payment;debit\n".to_vec(),
        b"8;\"two\nlines\";x;;RATP;payment;debit\n".to_vec(),
    ];
    let file = desk.file("a.csv", [HEADER.as_bytes(), &rows.concat()].concat());
    let output =
        Job::new(&desk.target.url()).model(&desk.model.url()).file(&file).spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let ids = desk.ids().await;

    let shown = desk.json(&["show", &ids[1]]);
    assert_eq!(shown["id"], *ids[1]);
    assert_eq!(shown["payload"], "8;\"two\nlines\";x;;RATP;payment;debit");
    assert_eq!((&shown["payload_encoding"], &shown["key"]), (&json!("utf8"), &json!("8")));
    assert_eq!((&shown["code"], &shown["position"]), (&json!("amount_invalid"), &json!(1)));
    assert_eq!(shown["label"], file.to_str().unwrap());
    let names: Vec<_> = shown["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| header["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["csv.header", "csv.delimiter", "csv.decimal", "csv.encoding"]);
    assert_eq!(shown["headers"][0]["value"], HEADER.trim_end());
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1);

    let text = desk.done(&["show", &ids[1]]);
    for part in [
        "state         open",
        "  amount is not a decimal number\n  timestamp is missing\n",
        "  8;\"two\n  lines\";x;;",
        "  csv.decimal: comma\n",
        "a.csv@1\n",
        "attempts\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let bytes = desk.json(&["show", &ids[0]]);
    assert_eq!(bytes["payload_encoding"], "base64");
    let text = desk.done(&["show", &ids[0]]);
    assert!(
        text.contains(
            "  00000000  37 3b 22 6e 6f 74 20 e9 20 74 65 78 74 22 3b 2d  |7;\"not . text\";-|\n"
        ),
        "{text}"
    );
}

async fn counts_have_their_bars(desk: Desk) {
    fail(&desk);
    desk.target
        .execute("update dead_letters set failed_at = '2024-01-31 10:59:59.999' where code = 'amount_missing'")
        .await;
    let stats = desk.json(&["stats"]);
    assert_eq!(stats["total"], 84);
    let codes = desk.texts("select code from dead_letters").await;
    let expected = counted(codes.iter().map(String::as_str));
    for code in stats["codes"].as_array().unwrap() {
        assert_eq!(code["count"], expected[code["code"].as_str().unwrap()], "{code}");
    }
    assert_eq!(stats["codes"].as_array().unwrap().len(), expected.len());
    let hours = stats["hours"].as_array().unwrap();
    let first = &hours[0];
    assert_eq!(
        (&first["hour"], &first["code"]),
        (&json!("2024-01-31T10:00:00Z"), &json!("amount_missing"))
    );
    assert_eq!(first["count"], expected["amount_missing"]);
    let sum: i64 = hours.iter().map(|hour| hour["count"].as_i64().unwrap()).sum();
    assert_eq!(sum, 84);
    assert_eq!(
        desk.json(&["stats", "--until", "2024-02-01 00:00:00"])["total"],
        expected["amount_missing"]
    );

    let text = desk.done(&["stats"]);
    let line = text.lines().find(|line| line.starts_with("2024-01-31 10:00")).unwrap();
    assert!(line.contains("amount_missing") && line.contains('█'), "{text}");
    assert!(text.starts_with("84 dead letters\n"), "{text}");
}

async fn an_export_holds_every_byte(desk: Desk) {
    fail(&desk);
    let exported = objects(&desk.done(&["export"]));
    assert_eq!(exported.len(), 84);
    let hex = match &desk.target {
        Target::Sqlite(_) => "lower(hex(payload))",
        Target::Postgres(_) => "encode(payload, 'hex')",
    };
    let expected =
        desk.texts(&format!("select id, code, state, {hex} from dead_letters order by id")).await;
    let mut found: Vec<String> = exported
        .iter()
        .map(|letter| {
            let text = |name: &str| letter[name].as_str().unwrap();
            let bytes = match text("payload_encoding") {
                "utf8" => text("payload").as_bytes().to_vec(),
                "base64" => base64(text("payload")),
                other => panic!("{other}"),
            };
            let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
            format!("{} {} {} {hex}", text("id"), text("code"), text("state"))
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);

    let path = desk.file("out.jsonl", "something older and longer");
    let path = path.to_str().unwrap();
    assert_eq!(desk.done(&["export", "--code", "nul", "--file", path]), "");
    let written = objects(&std::fs::read_to_string(path).unwrap());
    let codes: BTreeSet<_> =
        written.iter().map(|letter| letter["code"].as_str().unwrap()).collect();
    assert_eq!(codes, BTreeSet::from(["nul"]));
    assert_eq!(desk.done(&["export", "--state", "replayed"]), "");

    let output = desk.run(&["export", "--file", "/dev/full"]);
    assert_eq!(output.code, Some(74), "{output}");
    let output = desk.run(&["export", "--file", "/nowhere/out.jsonl"]);
    assert_eq!(output.code, Some(74), "{output}");
    assert_eq!(desk.target.number("select count(*) from acts").await, 0);
}

/// More than is read at once.
async fn an_export_streams_pages_of_large_records(desk: Desk) {
    let rows: String = (0..12).map(|id| row(id, &"x".repeat(900_000))).collect();
    desk.ingest("a.csv", &rows);
    let exported = objects(&desk.done(&["export"]));
    let positions: Vec<_> =
        exported.iter().map(|letter| letter["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, (0..12).collect::<Vec<_>>());
    assert!(exported.iter().all(|letter| letter["payload"].as_str().unwrap().len() > 900_000));
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap()
}
