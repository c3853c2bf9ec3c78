//! Files of which too many rows are dead letters: judged at their end, over all that was read of them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tally_harness::eventually;
use tally_harness::job::{Job, LONG, ModelService, Target, ended_with};
use tally_harness::process::{Output, Signal};

use crate::support::model::PhasedModel;
use crate::support::{Folder, HEADER, NO_MODEL, SOON, assert_accounted, row, run, said, summary};

/// A row that validation refuses.
fn bad(id: u32) -> String {
    row(id).replace("-1,50", "1,50")
}

/// A file of so many rows, of which those are bad for which `is_bad` holds.
fn file(folder: &Folder, name: &str, rows: u32, is_bad: impl Fn(u32) -> bool) -> PathBuf {
    let rows = (1..=rows).map(|id| if is_bad(id) { bad(id) } else { row(id) });
    folder.write(name, HEADER.to_owned() + &rows.collect::<String>())
}

/// The errors that were logged: on a busy machine progress is said besides.
fn errors(output: &Output) -> Vec<String> {
    said(output).into_iter().filter(|line| line.starts_with("ERROR ")).collect()
}

/// State and rows read of each file.
fn states(output: &Output) -> Value {
    let state = |file: &Value| json!([file["state"], file["read"]]);
    summary(output)["files"].as_array().unwrap().iter().map(state).collect()
}

/// How many passes there are, and how many of them are rejected: at the moment at which they ended.
async fn passes(target: &Target) -> (i64, i64) {
    let ended = "select count(*) from positions where ended_at is not null and owner is null";
    let rejected = "select count(*) from positions where rejected_at = ended_at";
    (target.number(ended).await, target.number(rejected).await)
}

async fn nothing_but_bad_rows(target: Target) {
    let (folder, model) = (Folder::new(), ModelService::start());
    let path = file(&folder, "rows.csv", 20, |_| true);
    let take = |flags: &[&str]| run(&target, model.url(), &[&path], flags);
    let output = take(&[]);
    assert_eq!(output.code, Some(65), "{output}");
    let line = "ERROR DIR/rows.csv is rejected: 20 of 20 rows became dead letters (budget.ratio is 0.9), \
        mostly debit_sign (20); correct the file, or change the setting and read it with --again";
    assert_eq!(folder.shown(errors(&output)), [line]);
    let first = summary(&output);
    let of_file = &first["files"][0];
    assert_eq!((&of_file["state"], &of_file["dead_lettered"]), (&json!("rejected"), &json!(20)));
    let named: Value = (2..=11).map(|line| json!({"line": line, "code": "debit_sign"})).collect();
    assert_eq!(of_file["first_dead_letters"], named);
    assert_accounted(&target, &first).await;
    assert_eq!(passes(&target).await, (1, 1));

    let output = take(&[]);
    assert_eq!(output.code, Some(65), "{output}");
    let error = folder.shown(errors(&output)).remove(0);
    let (_, rest) = error.split_once("ERROR DIR/rows.csv was rejected at ").unwrap();
    let expected = " UTC: 20 of 20 rows became dead letters; --again reads it once more";
    assert_eq!(&rest["2024-01-15 08:30:00".len()..], expected);
    assert_eq!(states(&output), json!([["rejected", 0]]));
    assert_eq!(passes(&target).await, (1, 1), "nothing was read");

    let output = take(&["--again"]);
    assert_eq!((output.code, states(&output)), (Some(65), json!([["rejected", 20]])), "{output}");
    assert_eq!(passes(&target).await, (2, 2));
    let job = Job::new(&target.url()).model(model.url()).file(&path).flag("--again");
    ended_with(&job.env("TALLY_BUDGET__RATIO", "1").spawn(), 0);
    assert_eq!(passes(&target).await, (3, 2));
    let output = take(&[]);
    assert_eq!(output.code, Some(0), "the last pass counts: {output}");
    assert_eq!(states(&output), json!([["already_done", 0]]));
}

#[tokio::test]
async fn a_file_of_nothing_but_bad_rows_is_rejected_sqlite() {
    nothing_but_bad_rows(Target::sqlite()).await;
}

#[tokio::test]
async fn a_file_of_nothing_but_bad_rows_is_rejected_postgres() {
    nothing_but_bad_rows(Target::postgres().await).await;
}

/// A file too small to be judged, one with exactly the share that is allowed, and one with more.
#[tokio::test]
async fn the_share_is_judged_from_twenty_rows_on() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let small = file(&folder, "small.csv", 19, |_| true);
    let most = file(&folder, "most.csv", 1_000, |id| id % 10 != 0);
    for (path, letters) in [(small, 19), (most, 900)] {
        let output = run(&target, model.url(), &[path], &[]);
        assert_eq!(output.code, Some(0), "{output}");
        let of_file = &summary(&output)["files"][0];
        assert_eq!(
            (&of_file["state"], &of_file["dead_lettered"]),
            (&json!("done"), &json!(letters))
        );
    }
    let more = file(&folder, "more.csv", 1_000, |id| id % 10 != 0 || id == 10);
    let output = run(&target, model.url(), &[more], &[]);
    assert_eq!((output.code, states(&output)), (Some(65), json!([["rejected", 1_000]])));
    assert!(output.stderr.contains("901 of 1000 rows became dead letters"), "{output}");
    let but_one = file(&folder, "but-one.csv", 999, |id| id != 500);
    let output = run(&target, model.url(), &[but_one], &[]);
    assert_eq!((output.code, states(&output)), (Some(65), json!([["rejected", 999]])));
}

/// The second run reads 7 bad rows of 10, which would be allowed: the pass has 37 of 40.
async fn killed_in_the_middle(target: Target) {
    let (folder, model) = (Folder::new(), PhasedModel::start().await);
    let path = file(&folder, "rows.csv", 40, |id| id <= 37);
    let job = || {
        let job = Job::new(&target.url()).model(&model.url()).file(&path);
        job.flags(["--batch-size=10", "--lease=1s", "--summary=json"])
    };
    let held = model.hold();
    let process = job().spawn();
    model.until_came(1).await;
    eventually(LONG, async || {
        target.has_tables().await
            && target.number("select coalesce(sum(read), 0) from batches").await == 30
    })
    .await;
    process.kill9();
    assert_eq!(process.wait(LONG).signal, Some(Signal::SIGKILL));
    drop(held);
    assert_eq!(passes(&target).await, (0, 0));

    model.up();
    let output = ended_with(&job().spawn(), 65);
    assert!(output.stderr.contains("37 of 40 rows became dead letters"), "{output}");
    assert!(output.stderr.contains("mostly debit_sign (7)"), "{output}");
    assert_eq!(states(&output), json!([["rejected", 10]]));
    assert_eq!(passes(&target).await, (1, 1));

    // All was read, and then it was killed.
    target.execute("update positions set ended_at = null, rejected_at = null").await;
    let output = ended_with(&job().spawn(), 65);
    let rejected = "37 of 40 rows became dead letters (budget.ratio is 0.9); correct";
    assert!(output.stderr.contains(rejected), "{output}");
    assert_eq!(states(&output), json!([["rejected", 0]]));
    assert_eq!(passes(&target).await, (1, 1));
}

#[tokio::test]
async fn a_file_is_judged_whole_after_a_kill_sqlite() {
    killed_in_the_middle(Target::sqlite()).await;
}

#[tokio::test]
async fn a_file_is_judged_whole_after_a_kill_postgres() {
    killed_in_the_middle(Target::postgres().await).await;
}

/// Two rejected files do not stop the third, though together they have more bad rows in a row than one file may have.
#[tokio::test]
async fn later_files_go_on_after_a_rejected_one() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let missing = folder.path().join("missing.csv");
    let one = file(&folder, "one.csv", 600, |_| true);
    let two = file(&folder, "two.csv", 601, |_| true);
    let good = file(&folder, "good.csv", 30, |_| false);
    let files = [&missing, &one, &two, &missing, &good];
    let output = run(&target, model.url(), &files, &[]);
    assert_eq!(output.code, Some(65), "a rejected file outranks a missing one: {output}");
    let expected =
        json!([["failed", 0], ["rejected", 600], ["rejected", 601], ["failed", 0], ["done", 30]]);
    assert_eq!(states(&output), expected);
    let output = run(&target, model.url(), &[&one, &missing, &good], &[]);
    assert_eq!(output.code, Some(65), "{output}");
    assert_eq!(states(&output), json!([["rejected", 0], ["failed", 0], ["already_done", 0]]));
    assert_eq!(run(&target, model.url(), &[&missing, &good], &[]).code, Some(66));

    // What ends the run before its last file has the last word.
    let more = file(&folder, "more.csv", 5, |_| false);
    let output = run(&target, NO_MODEL, &[&one, &more, &good], &["--max-outage=100ms"]);
    assert_eq!(output.code, Some(69), "{output}");
    assert_eq!(states(&output), json!([["rejected", 0], ["failed", 0]]));
}

#[tokio::test]
async fn a_dry_run_judges_by_the_same_rule() {
    let (folder, model) = (Folder::new(), ModelService::start());
    let bad = file(&folder, "bad.csv", 20, |_| true);
    let small = file(&folder, "small.csv", 19, |_| true);
    let dry = |files: &[&Path]| {
        let job =
            Job::new("sqlite:none.db").model(model.url()).flags(["--dry-run", "--summary=json"]);
        files.iter().fold(job, Job::file).launch().current_dir(folder.path()).spawn().wait(SOON)
    };
    let output = dry(&[&bad, &small]);
    assert_eq!(output.code, Some(65), "{output}");
    assert_eq!(states(&output), json!([["rejected", 20], ["done", 19]]), "each by itself");
    let line = "ERROR DIR/bad.csv is rejected: 20 of 20 rows became dead letters (budget.ratio is 0.9), \
        mostly debit_sign (20); correct the file, or change the setting";
    assert_eq!(folder.shown(errors(&output)), [line]);
    assert_eq!(dry(&[&small]).code, Some(0));
    assert_eq!(folder.names(), ["bad.csv", "small.csv"]);
}

/// A line is where the row starts in the file, also of a row that only the database refuses; contents are not shown.
#[tokio::test]
async fn dead_letters_are_named_by_line_and_code() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let empty = folder.write("empty.csv", HEADER);
    assert_eq!(run(&target, model.url(), &[empty], &[]).code, Some(0));
    target
        .execute(
            "create trigger refuse before insert on transactions when new.description like '%secret%' \
             begin select raise(abort, 'constraint_trigger'); end",
        )
        .await;
    let two_lines = row(1).replace("RATP PARIS", "RATP\nPARIS");
    let refused = |id: u32| row(id).replace("RATP PARIS", "secret");
    let many: String = (20..40).map(bad).collect();
    let rows = [&two_lines, "\r\n", &bad(2), &refused(3), &bad(4), "5;x\n", &many].concat();
    let path = folder.write("rows.csv", HEADER.to_owned() + &rows);
    let job = Job::new(&target.url()).model(model.url()).file(path).flag("--batch-size=4");
    let output = ended_with(&job.env("TALLY_BUDGET__RATIO", "1").spawn(), 0);
    let lines = folder.shown(output.stdout.lines().map(str::to_owned).collect());
    let expected = "\
DIR/rows.csv: done, 25 rows read, 24 dead letters
  decimal comma (line 2)
  line 5: debit_sign
  line 6: constraint_trigger
  line 7: debit_sign
  line 8: fields
  line 9: debit_sign
  line 10: debit_sign
  line 11: debit_sign
  line 12: debit_sign
  line 13: debit_sign
  line 14: debit_sign
";
    assert_eq!(lines[..13], expected.split('\n').collect::<Vec<_>>());
    assert!(!output.stdout.contains("secret"), "{output}");
}
