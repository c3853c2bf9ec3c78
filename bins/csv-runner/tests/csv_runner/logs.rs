//! Log lines: their form, their levels, and what must never be in them. And what is shown while a file is read.

use std::time::Duration;

use serde_json::Value;
use tally_harness::eventually;
use tally_harness::http::{Reply, ScriptedServer};
use tally_harness::job::{Job, ModelService, Target};
use tally_harness::process::{Launch, Output, binary};
use tally_sample::{Options, generate};

use crate::support::model::{PhasedModel, answer};
use crate::support::{Folder, HEADER, NO_MODEL, SOON, address, get, log, row, run, said, table};

/// A file of which something is to be said at info, at warn in two crates, and at error.
fn start(env: &[(&str, &str)]) -> (Folder, Output) {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let extra =
        HEADER.replace('\n', ";extra\n") + &row(1).replace(";RATP;", ";;").replace('\n', ";x\n");
    let (path, missing) = (folder.write("extra.csv", extra), folder.path().join("missing.csv"));
    let job = Job::new(&target.url()).model(model.url()).file(path).file(missing);
    let job = env.iter().fold(job, |job, (name, value)| job.env(name, value));
    let output = job.spawn().wait(SOON);
    assert_eq!(output.code, Some(66), "{output}");
    (folder, output)
}

#[test]
fn lines_are_json_where_nobody_looks() {
    let (_, output) = start(&[]);
    for line in output.stderr.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "message"] {
            assert!(line[key].is_string(), "{key} in {line}");
        }
    }
    let (_, asked_for) = start(&[("LOG_FORMAT", "json")]);
    assert!(asked_for.stderr.starts_with("{\"timestamp\":"), "{asked_for}");
}

#[test]
fn lines_are_for_people_where_that_is_asked_for() {
    let (folder, output) = start(&[("LOG_FORMAT", "pretty")]);
    let without_time = |line: &str| line.split_once("Z ").unwrap().1.trim_start().to_owned();
    let lines = folder.shown(output.stderr.lines().map(without_time).collect());
    assert!(
        lines[0].starts_with("INFO metrics, health and readiness on http://127.0.0.1:"),
        "{output}"
    );
    let rest = [
        "WARN DIR/extra.csv: ignoring the unknown columns extra",
        "WARN quality rule above its threshold stream=\"DIR/extra.csv\" partition=0 rule=\"missing_merchant\" rate=1.0 records=1 first=0 last=0",
        "ERROR cannot open DIR/missing.csv: no such file",
    ];
    assert_eq!(lines[1..], rest);
    assert!(!output.stderr.contains('\u{1b}'), "colours are for a terminal\n{output}");
}

#[test]
fn levels_are_respected() {
    const COLUMNS: &str = "WARN DIR/extra.csv: ignoring the unknown columns extra";
    const QUALITY: &str = "WARN quality rule above its threshold";
    const MISSING: &str = "ERROR cannot open DIR/missing.csv: no such file";
    for (level, lines) in [
        ("off", &[][..]),
        ("error", &[MISSING]),
        ("warn", &[COLUMNS, QUALITY, MISSING]),
        ("error,tally_pipeline=warn", &[QUALITY, MISSING]),
        ("off,tally_runs=warn", &[COLUMNS, MISSING]),
    ] {
        let (folder, output) = start(&[("LOG_LEVEL", level)]);
        assert_eq!(folder.shown(said(&output)), lines, "{level}");
        assert!(!output.stderr.contains("metrics, health"), "{level}: {output}");
    }
}

const SECRET: &str = "h1dden-pa55word";
const CONTENT: &str = "MARKER";

/// The spoiled sample with a text in every field of every row that must never be seen.
fn marked() -> Vec<u8> {
    let mut content = Vec::new();
    generate(&Options { rows: 200, spoil_share: 0.5, ..Options::default() }, &mut content).unwrap();
    let mut marked = Vec::new();
    for (number, line) in content.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let fields: Vec<_> = line.split(|&byte| byte == b';').collect();
        if number > 0 && fields.len() > 4 {
            let description = [b"\"", CONTENT.as_bytes(), &fields[1][1..]].concat();
            let merchant = [b"\"", CONTENT.as_bytes(), &fields[4][1..]].concat();
            let mut fields = fields;
            (fields[1], fields[4]) = (&description, &merchant);
            marked.extend(fields.join(&b';'));
        } else {
            marked.extend(line);
        }
    }
    let faulty = format!("{CONTENT};{CONTENT};{CONTENT};{CONTENT};{CONTENT};{CONTENT};{CONTENT}\n");
    marked.extend(faulty.bytes());
    marked.extend(format!("7;\"{CONTENT}\"{CONTENT};1\n{CONTENT}\n").bytes());
    marked
}

#[track_caller]
fn assert_discreet(seen: &str) {
    for text in [CONTENT, SECRET] {
        assert!(!seen.contains(text), "{text} in\n{seen}");
    }
}

#[tokio::test]
async fn neither_content_nor_secrets_are_seen_in_a_run() {
    let model = PhasedModel::start().await;
    let model_url = model.url().replace("http://", &format!("http://me:{SECRET}@"))
        + &format!("/?key={SECRET}");
    let postgres = Target::postgres().await;
    let sqlite = Target::sqlite();
    let Target::Postgres(database) = &postgres else { unreachable!() };
    let user = database.name();
    postgres.execute(&format!("create role {user} superuser login password '{SECRET}'")).await;
    for (target, url) in [(&sqlite, sqlite.url()), (&postgres, database.url_as(user, SECRET))] {
        let folder = Folder::new();
        let path = folder.write("marked.csv", marked());
        let until = model.hold();
        let job = Job::new(&url).model(&model_url).file(path).flags([
            "--batch-size",
            "50",
            "--summary",
            "json",
        ]);
        let process = job.env("LOG_LEVEL", "trace").spawn();
        model.until_came(4).await;
        assert_discreet(&get(&address(&process), "/metrics").1);
        until.send_replace(true);
        model.up();
        let output = process.wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
        assert!(
            output.stderr.contains("\"TRACE\"") || output.stderr.contains("\"DEBUG\""),
            "{output}"
        );
        assert_discreet(&output.to_string());
        assert!(target.number("select count(*) from dead_letters").await > 100);
        let quoting = "select count(*) from dead_letters where message like '%MARKER%' or code like '%MARKER%'";
        assert_eq!(target.number(quoting).await, 0);
        let shown = "select label, cursor, stats, owner from positions";
        assert_discreet(&format!("{:?}", target.query(shown).await));
    }
    postgres.execute(&format!("drop owned by {user} cascade; drop role {user}")).await;
}

#[tokio::test]
async fn neither_content_nor_secrets_are_seen_when_things_go_wrong() {
    let folder = Folder::new();
    let content = HEADER.to_owned()
        + &row(1).replace("CB RATP", CONTENT)
        + &row(2).replace("CB RATP", CONTENT);
    let path = folder.write("marked.csv", content);
    let start = |url: &str, model: &str| {
        let job = Job::new(url).model(model).file(&path).flags([
            "--max-outage",
            "600ms",
            "--summary",
            "json",
        ]);
        let output = job.env("LOG_LEVEL", "trace").spawn().wait(SOON);
        assert_discreet(&output.to_string());
        output
    };

    // A model that sends back what it was sent, or nothing of use.
    for status in [200, 400, 401, 500] {
        let model =
            ScriptedServer::start(move |request| Reply::status(status).body(request.body.clone()))
                .await;
        let url = model.url().replace("http://", &format!("http://me:{SECRET}@"));
        start(&Target::sqlite().url(), &format!("{url}/?key={SECRET}"));
    }
    start(&Target::sqlite().url(), &format!("http://me:{SECRET}@127.0.0.1:9"));

    // A database that is unavailable, and one that quotes a row in its errors.
    assert_eq!(
        start(&format!("postgres://me:{SECRET}@127.0.0.1:9/x?password={SECRET}"), NO_MODEL).code,
        Some(69)
    );
    let (target, model) = (Target::postgres().await, ModelService::start());
    let empty = folder.write("empty.csv", HEADER);
    assert_eq!(run(&target, model.url(), &[empty], &[]).code, Some(0));
    let raising = |name: &str, code: &str| {
        format!(
            "create or replace function refuse() returns trigger language plpgsql as \
             $$ begin raise exception 'no: %', new.description using errcode = '{code}', detail = new.merchant; end $$; \
             drop trigger if exists {name} on transactions; \
             create trigger {name} before insert on transactions for each row execute function refuse()"
        )
    };
    for (code, exit) in [("53100", 69), ("XX000", 69), ("42P01", 78), ("23514", 0)] {
        target.execute(&raising("refuse", code)).await;
        assert_eq!(start(&target.url(), model.url()).code, Some(exit), "{code}");
    }
    let messages = target.query("select code, message from dead_letters").await;
    let refused =
        ["23514", "the database refused the row: 23514"].map(|text| Some(text.to_owned()));
    assert_eq!(messages, [refused.clone(), refused]);
}

#[tokio::test]
async fn metrics_and_readiness_hold_no_content() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), PhasedModel::start().await);
    let path = folder.write("marked.csv", marked());
    let job = Job::new(&target.url()).model(&model.url()).file(path).flags(["--batch-size", "100"]);
    model.down();
    let process = job.spawn();
    let address = address(&process);
    process.wait_for_line("unavailable, retrying", SOON);
    for path in ["/metrics", "/ready", "/health"] {
        assert_discreet(&get(&address, path).1);
    }
    model.up();
    assert_eq!(process.wait(SOON).code, Some(0));
}

#[tokio::test]
async fn on_a_terminal_a_bar_is_shown() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), PhasedModel::start().await);
    let path = folder.write("rows.csv", table(1..=1_000));
    let until = model.hold();
    let parts = [
        "--database-url",
        &target.url(),
        "--ml-url",
        &model.url(),
        "--batch-size",
        "100",
        path.to_str().unwrap(),
    ];
    let command =
        format!("stty columns 100 && {} {}", binary("csv-runner").display(), parts.join(" "));
    // It makes a terminal and copies what is shown there to its own standard output.
    let process =
        Launch::new("script").args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").spawn();
    model.until_came(4).await;
    let rest = model.hold();
    until.send_replace(true);
    let shown = || process.output_so_far().stdout;
    eventually(SOON, async || shown().contains("400 rows, ") && shown().contains(" 40% ")).await;
    model.up();
    rest.send_replace(true);
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(
        output.stdout.contains("\u{1b}[32m INFO\u{1b}[0m metrics, health"),
        "pretty and in colour\n{output}"
    );
    assert!(output.stdout.contains("1000 rows read in "), "{output}");
}

#[tokio::test]
async fn elsewhere_there_is_a_line_now_and_then() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("rows.csv", table(1..=40));
    let model = ScriptedServer::start(|request| {
        // A model that takes longer over the second batch than lines are apart.
        let delay = if request.number == 1 { 5_100 } else { 0 };
        answer(request).delay(Duration::from_millis(delay))
    })
    .await;
    let job = Job::new(&target.url()).model(&model.url()).file(path).flags(["--batch-size", "10"]);
    let job = job.env("TALLY_ML__CONCURRENCY", "1").env("TALLY_ML__ANSWER_TIMEOUT", "20s");
    let output = job.spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let lines = log(&output);
    assert_eq!(lines.len(), 1, "{output}");
    assert!(lines[0].starts_with("INFO 20 rows, "), "{output}");
    let (_, left) = lines[0].split_once(" rows/s, 50 % of the file, ").unwrap();
    let left: u64 = left.strip_suffix(" s left").unwrap().parse().unwrap();
    assert!((1..=20).contains(&left), "the first half took 5 s\n{output}");
    assert!(!output.to_string().contains('\u{1b}'), "no bar where there is no terminal\n{output}");
}
