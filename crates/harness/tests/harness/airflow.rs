//! The DAG of `infra/airflow` without Airflow: `run.py` plays the modules that it imports, of both versions, and calls it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tally_harness::job::{LONG, ModelService, Target};
use tally_harness::process::{Launch, Process, Signal, binary};
use tally_harness::sample::Sample;
use tempfile::TempDir;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness/airflow");
const DAG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/airflow/tally_files.py");
const VERSIONS: [&str; 2] = ["2", "3"];
const DAY: &str = "2026-11-30";
/// Airflow calls again after the first, and never after the second.
const RETRIED: &str = "AirflowException";
const FAILED: &str = "AirflowFailException";

/// Where the day's file is delivered, and a program may be that stands for `csv-runner`.
struct Inbox(TempDir);

impl Inbox {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn day_file(&self) -> PathBuf {
        self.path().join(format!("{DAY}.csv"))
    }

    /// A program that runs `script`.
    fn program(&self, script: &str) -> PathBuf {
        let path = self.path().join("csv-runner");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// One run of the DAG, with `program` as `csv-runner`.
    fn launch(&self, version: &str, program: &Path) -> Launch {
        Launch::new("python3")
            .args(["-B", &format!("{TESTS}/run.py"), version, DAG, DAY])
            .env("CSV_RUNNER", program)
            .env("CSV_RUNNER_FILE", self.path().join("{{ data_interval_end | ds }}.csv"))
    }
}

/// What `run.py` has found.
#[track_caller]
fn found(process: &Process) -> Value {
    let output = process.wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
    let last = output.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn the_dag_compiles_and_waits_for_the_file_of_the_day_before_it_runs_the_job() {
    let inbox = Inbox::new();
    let compile = Launch::new("python3").args(["-m", "py_compile", DAG]);
    let output = compile.env("PYTHONPYCACHEPREFIX", inbox.path()).spawn().wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");

    for version in VERSIONS {
        let dag = found(&inbox.launch(version, &inbox.program("exit 0")).spawn());
        assert_eq!(dag["dags"][0]["dag_id"], "tally_files", "{dag}");
        assert_eq!(dag["dags"][0]["catchup"], false, "{dag}");
        assert_eq!(dag["edges"], json!([["wait_for", "load"]]), "{dag}");
        assert!(dag["retries"].as_i64() > Some(0), "{dag}");
    }
}

#[test]
fn the_dag_calls_the_program_by_its_name_with_flags_that_it_has() {
    let text = fs::read_to_string(DAG).unwrap();
    assert!(text.contains(r#"os.environ.get("CSV_RUNNER", "csv-runner")"#), "{text}");
    let help = Launch::new(binary("csv-runner")).args(["--help"]).spawn().wait(LONG).stdout;
    let known: Vec<&str> =
        help.split([' ', '\n', ',', '[']).filter(|word| word.starts_with("--")).collect();
    assert!(known.contains(&"--dry-run"), "{help}");

    for version in VERSIONS {
        let inbox = Inbox::new();
        let arguments = inbox.path().join("arguments");
        let script = format!("printf '%s\\n' \"$@\" >'{}'", arguments.display());
        found(&inbox.launch(version, &inbox.program(&script)).spawn());

        let arguments = fs::read_to_string(arguments).unwrap();
        let (flags, values): (Vec<&str>, Vec<&str>) =
            arguments.lines().partition(|argument| argument.starts_with("--"));
        assert_eq!(values[0], inbox.day_file().to_str().unwrap());
        assert!(flags.contains(&"--flow"), "{arguments}");
        for flag in flags {
            assert!(known.contains(&flag), "{flag} is not in\n{help}");
        }
    }
}

#[test]
fn an_exit_code_is_retried_where_the_same_call_may_succeed() {
    let inbox = Inbox::new();
    for (script, error) in [
        ("exit 0", None),
        ("exit 2", Some(FAILED)),
        ("exit 65", Some(FAILED)),
        ("exit 66", Some(FAILED)),
        ("exit 69", Some(RETRIED)),
        ("exit 74", Some(FAILED)),
        ("exit 75", Some(RETRIED)),
        ("exit 78", Some(FAILED)),
        ("exit 130", Some(RETRIED)),
        ("exit 143", Some(RETRIED)),
        ("kill -9 $$", Some(RETRIED)),
    ] {
        for version in VERSIONS {
            let run = found(&inbox.launch(version, &inbox.program(script)).spawn());
            assert_eq!(run["error"].as_str(), error, "{script}: {run}");
        }
    }
    let run = found(&inbox.launch("3", &inbox.path().join("none")).spawn());
    assert_eq!(run["error"], FAILED, "a program that is not there: {run}");
}

#[test]
fn a_task_that_airflow_stops_stops_the_program_and_waits_for_it() {
    for version in VERSIONS {
        let inbox = Inbox::new();
        let drained = inbox.path().join("drained");
        let program = inbox.program(&format!(
            "trap 'touch {}; exit 143' TERM; echo runs; while :; do sleep 0.01; done",
            drained.display()
        ));
        let process = inbox.launch(version, &program).env("PYTHONUNBUFFERED", "1").spawn();
        process.wait_for_line("runs", LONG);
        process.signal(Signal::SIGTERM);
        let run = found(&process);
        assert_eq!(run["error"], RETRIED, "{run}");
        assert!(drained.exists(), "{run}");
    }
}

#[tokio::test]
async fn the_dag_takes_a_file_into_a_database_once() {
    let (inbox, model, target) = (Inbox::new(), ModelService::start(), Target::sqlite());
    let launch = |version: &str, database: &str| {
        let launch = inbox.launch(version, &binary("csv-runner"));
        launch.env("DATABASE_URL", database).env("ML_API_URL", model.url())
    };
    let url = target.url();
    let early = found(&launch("3", &url).spawn());
    assert_eq!(early["is_there"], false, "{early}");
    assert_eq!(early["error"], FAILED, "a file that is not there: {early}");

    let sample = Sample::new(50);
    fs::copy(sample.path(), inbox.day_file()).unwrap();
    let unavailable = "postgres://127.0.0.1:1/tally";
    let away = found(&launch("3", unavailable).env("TALLY_MAX_OUTAGE", "100ms").spawn());
    assert_eq!(away["error"], RETRIED, "a database that is unavailable: {away}");
    assert!(away["message"].as_str().unwrap().contains("exited with 69"), "{away}");

    for version in VERSIONS {
        let run = found(&launch(version, &url).spawn());
        assert_eq!((&run["is_there"], &run["error"]), (&json!(true), &Value::Null), "{run}");
        sample.check_taken(&target, 1).await;
    }
}
