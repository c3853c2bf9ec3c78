//! What scripts and people see of a run: the summary, exit codes.

use serde_json::{Value, json};
use tally_harness::http::ScriptedServer;
use tally_harness::job::{Job, ModelService, Target};
use tally_harness::process::{Launch, Signal, binary};

use crate::support::model::{PhasedModel, answer};
use crate::support::{
    Folder, HEADER, NO_MODEL, SOON, assert_accounted, keys, row, run, said, summary, table,
};

const KEYS: [&str; 12] = [
    "blank",
    "categories",
    "dead_lettered",
    "dead_letters",
    "files",
    "quality",
    "read",
    "rows_per_second",
    "seconds",
    "skipped",
    "superseded",
    "written",
];

#[track_caller]
fn assert_keys(summary: &Value, more: &[&str]) {
    let mut expected = [&KEYS, more].concat();
    expected.sort_unstable();
    assert_eq!(keys(summary), expected);
    for file in summary["files"].as_array().unwrap() {
        let of_file =
            ["dead_lettered", "decimal", "decimal_line", "fingerprint", "first_dead_letters"];
        assert_eq!(keys(file), [&of_file[..], &["path", "read", "resumed_at", "state"]].concat());
    }
}

/// Five rows, of which those at `at` have no merchant.
fn five(first_id: u32, at: &[u32]) -> String {
    let row = |number: u32| {
        let row = row(first_id + number);
        if at.contains(&number) { row.replace(";RATP;", ";;") } else { row }
    };
    (0..5).map(row).collect()
}

const FIVES: [&str; 2] = ["--batch-size", "5"];

#[tokio::test]
async fn a_finished_file_is_summed_up_as_such() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), PhasedModel::start().await);
    let file = folder.write("done.csv", table(1..=3));
    run(&target, &model.url(), &[&file], &[]);
    let output = run(&target, &model.url(), &[&file], &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let again = summary(&output);
    assert_keys(&again, &[]);
    assert_eq!(json!([again["read"], again["files"][0]["state"]]), json!([0, "already_done"]));
}

#[tokio::test]
async fn the_summary_is_one_object_at_every_exit_after_the_first_batch_began() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), PhasedModel::start().await);
    let done = folder.write("done.csv", table(1..=3));
    let output = run(&target, &model.url(), &[done], &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let all = summary(&output);
    assert_keys(&all, &[]);
    assert_eq!(all["files"][0]["fingerprint"].as_str().unwrap().len(), 64);
    assert!(all["seconds"].is_f64() && all["rows_per_second"].is_i64(), "{all}");
    assert_eq!(all["quality"]["outlier"], 0.0);
    let counted: i64 =
        all["categories"].as_object().unwrap().values().map(|count| count.as_i64().unwrap()).sum();
    assert_eq!(counted, 3);

    // 69 is in the tests of outages, 65 below.
    let held = folder.write("held.csv", table(11..=20));
    let until = model.hold();
    let job = Job::new(&target.url()).model(&model.url()).file(held).flags(["--summary", "json"]);
    let process = job.env("TALLY_DRAIN", "100ms").spawn();
    model.until_came(1).await;
    process.signal(Signal::SIGTERM);
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(143), "{output}");
    assert_keys(&summary(&output), &[]);
    drop(until);
}

#[tokio::test]
async fn a_quality_rule_stops_the_run() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let content = HEADER.to_owned() + &five(1, &[0]) + &five(6, &[1, 3]) + &five(11, &[]);
    let path = folder.write("stop.csv", content);
    let job = || {
        Job::new(&target.url())
            .model(model.url())
            .file(&path)
            .flags(FIVES)
            .flags(["--summary", "json"])
    };
    let rule = |job: Job, policy| {
        job.env("TALLY_QUALITY__WINDOW", "5")
            .env("TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD", "0.2")
            .env("TALLY_QUALITY__MISSING_MERCHANT__POLICY", policy)
    };
    let output = rule(job(), "stop").spawn().wait(SOON);
    assert_eq!(output.code, Some(65), "{output}");
    let line = "ERROR quality rule missing_merchant stops the run: 40.0 % of the last 5 records break it at positions 5 to 9, \
        2 of them there, the first at 6";
    assert_eq!(said(&output), [line]);
    let first = summary(&output);
    assert_keys(&first, &[]);
    assert_eq!((&first["written"], &first["files"][0]["state"]), (&json!(5), &json!("failed")));
    assert_accounted(&target, &first).await;
    assert_eq!(target.number("select next from positions where owner is null").await, 5);

    let output = rule(job(), "warn").spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(
        said(&output),
        ["INFO DIR/stop.csv: resuming at row 5", "WARN quality rule above its threshold"]
            .map(|line| line.replace("DIR", folder.path().to_str().unwrap()))
    );
    assert_eq!(summary(&output)["files"][0]["resumed_at"], 5);
    assert_eq!(target.number("select count(*) from transactions").await, 15);
}

#[tokio::test]
async fn a_quality_rule_is_logged_when_it_starts_gets_worse_and_ends() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let batches: [&[u32]; 6] = [&[], &[0, 1], &[0, 1], &[0, 1, 2, 3], &[], &[]];
    let content: String =
        batches.iter().zip(0..).map(|(at, number)| five(1 + 5 * number, at)).collect();
    let path = folder.write("rows.csv", HEADER.to_owned() + &content);
    let job = Job::new(&target.url()).model(model.url()).file(path).flags(FIVES);
    let output =
        job.env("TALLY_QUALITY__WINDOW", "5").env("LOG_FORMAT", "pretty").spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let lines = output.stderr.lines().filter_map(|line| line.split_once(" quality rule "));
    let lines: Vec<String> = folder.shown(lines.map(|(_, line)| line.to_owned()).collect());
    let line = |what: &str, rate: &str, first: u32| {
        let last = first + 4;
        format!(
            "{what} stream=\"DIR/rows.csv\" partition=0 rule=\"missing_merchant\" rate={rate} records=5 first={first} last={last}"
        )
    };
    let above = "above its threshold";
    assert_eq!(
        lines,
        [
            line(above, "0.4", 5),
            line(above, "0.8", 15),
            line("below its threshold again", "0.0", 25)
        ]
    );
}

#[tokio::test]
async fn a_quality_rule_sorts_rows_out() {
    for target in [Target::sqlite(), Target::postgres().await] {
        let (folder, model) = (Folder::new(), ModelService::start());
        let path = folder.write("odd.csv", HEADER.to_owned() + &five(1, &[0]) + &five(6, &[1, 3]));
        let job = Job::new(&target.url())
            .model(model.url())
            .file(path)
            .flags(FIVES)
            .flags(["--summary", "json"]);
        let job = job.env("TALLY_QUALITY__WINDOW", "5");
        let job = job.env("TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD", "0.3");
        let output =
            job.env("TALLY_QUALITY__MISSING_MERCHANT__POLICY", "quarantine").spawn().wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
        let summary = summary(&output);
        assert_accounted(&target, &summary).await;
        assert_eq!(summary["dead_letters"], json!({"missing_merchant": 2}));
        assert_eq!(summary["quality"]["missing_merchant"], 0.3);
        let letters = "select position, stage, code, message from dead_letters order by position";
        let message = "quarantined: too many of the last records break the rule missing_merchant";
        let letter = |position: &str| {
            [position, "quality", "missing_merchant", message]
                .map(|text| Some(text.to_owned()))
                .to_vec()
        };
        assert_eq!(target.query(letters).await, [letter("6"), letter("8")]);
        let found = target.query("select quality from batches where first = 5").await;
        let found: Value = serde_json::from_str(found[0][0].as_ref().unwrap()).unwrap();
        let expected = json!({"count": 2, "rate": 0.4, "records": 5, "above_threshold": true, "positions": [6, 8]});
        assert_eq!(found["missing_merchant"], expected);
    }
}

#[tokio::test]
async fn the_summary_for_people_accounts_for_every_row() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let rows = [row(1), row(1), row(2), row(3).replace("debit", "none"), "4\n".to_owned()];
    let path = folder.write("rows.csv", HEADER.to_owned() + &rows.concat());
    let missing = folder.path().join("missing.csv");
    let output =
        Job::new(&target.url()).model(model.url()).file(path).file(missing).spawn().wait(SOON);
    assert_eq!(output.code, Some(66), "{output}");
    let lines = folder.shown(output.stdout.lines().map(str::to_owned).collect());
    let timed = "5 rows read in ";
    let lines: Vec<&str> =
        lines.iter().map(|line| if line.starts_with(timed) { timed } else { line }).collect();
    let expected = "\
DIR/rows.csv: done, 5 rows read, 2 dead letters
  decimal comma (line 2)
  line 5: side_unknown
  line 6: fields
DIR/missing.csv: not finished, 0 rows read

5 rows read in 
  written                           2
  superseded                        1
  skipped                           0
  dead letters                      2

dead letters by code
  fields                            1
  side_unknown                      1

quality
  missing_description          0.00 %
  missing_merchant             0.00 %
  outlier                      0.00 %
  repeated_id                 33.33 %
  unknown_operation_type       0.00 %

categories
  Food                              1
  Salary Income                     2";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dry_run_asks_the_model_and_writes_nothing() {
    let folder = Folder::new();
    let rows = "1;;-1,50;2024-01-15 08:30:00;RATP;payment;debit\n\
        20;b;10,00;2024-01-16T08:30:00Z;;refund;credit\n\
        x;c;oops;soon; ;refund;credit\n";
    folder.write("rows.csv", HEADER.to_owned() + rows);
    let model = ScriptedServer::start(answer).await;
    for url in ["sqlite:made.db", "postgres://127.0.0.1:9/x"] {
        let job =
            Job::new(url).model(&model.url()).flags(["--dry-run", "--summary", "json", "rows.csv"]);
        let output = job.launch().current_dir(folder.path()).spawn().wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
        assert_eq!(folder.names(), ["rows.csv"]);

        let summary = summary(&output);
        assert_keys(&summary, &["columns"]);
        let counts = ["read", "written", "dead_lettered"].map(|key| &summary[key]);
        assert_eq!(counts, [&json!(3), &json!(2), &json!(1)]);
        assert_eq!(summary["dead_letters"], json!({"id_invalid": 1}));
        let column = |missing: u32, least: &str, greatest: &str, distinct: Value| json!({"missing": missing, "least": least, "greatest": greatest, "distinct": distinct});
        let times = json!({"2024-01-15 08:30:00": 1, "2024-01-16T08:30:00Z": 1, "soon": 1});
        let columns = json!({
            "id": column(0, "1", "20", json!({"1": 1, "20": 1, "x": 1})),
            "description": column(1, "b", "c", json!({"b": 1, "c": 1})),
            "amount": column(0, "-1,50", "10,00", json!({"-1,50": 1, "10,00": 1, "oops": 1})),
            "timestamp": column(0, "2024-01-15 08:30:00", "2024-01-16T08:30:00Z", times),
            "merchant": column(2, "RATP", "RATP", json!({"RATP": 1})),
            "operation_type": column(0, "payment", "refund", json!({"payment": 1, "refund": 2})),
            "side": column(0, "credit", "debit", json!({"credit": 2, "debit": 1})),
        });
        assert_eq!(summary["columns"], columns);
    }
    assert_eq!(model.requests().len(), 2, "the model is asked once by each run");

    let job = Job::new("sqlite:made.db").model(&model.url()).flags(["--dry-run", "rows.csv"]);
    let output = job.launch().current_dir(folder.path()).spawn().wait(SOON);
    let line = "  merchant        missing 2, least \"RATP\", greatest \"RATP\"\n    \"RATP\" 1\n";
    assert!(output.stdout.contains(line), "{output}");
}

#[tokio::test]
async fn a_dry_run_tells_what_the_run_would() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    let path = folder.write("rows.csv", table([1]));
    let missing = folder.path().join("missing.csv");
    let flags = ["--dry-run", "--max-outage", "300ms"];
    assert_eq!(run(&target, NO_MODEL, &[path], &flags).code, Some(69));
    assert_eq!(run(&target, NO_MODEL, &[missing], &flags).code, Some(66));
    assert!(!target.has_tables().await);
}

#[tokio::test]
async fn standard_output_that_cannot_be_written() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let path = folder.write("rows.csv", table(1..=3));
    let (runner, url) = (binary("csv-runner"), target.url());
    let start = |more: &[&str]| {
        let command = ["-c", "exec \"$@\" >/dev/full", "sh", runner.to_str().unwrap()];
        let flags = ["--database-url", &url, "--ml-url", model.url()];
        Launch::new("sh").args(command).args(flags).args(more).spawn().wait(SOON)
    };
    let problem = "cannot write to standard output: No space left on device (os error 28)";
    let output = start(&["--print-config"]);
    assert_eq!((output.code, said(&output)), (Some(74), vec![format!("error: {problem}")]));
    let output = start(&[path.to_str().unwrap()]);
    assert_eq!((output.code, said(&output)), (Some(74), vec![format!("ERROR {problem}")]));
    assert_eq!(
        target.number("select count(*) from transactions").await,
        3,
        "the rows are written all the same"
    );
}
