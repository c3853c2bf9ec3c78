//! What `bench` prints, and leaves behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tally_harness::process::{Process, Signal, binary};

const TIMEOUT: Duration = Duration::from_mins(2);

fn bench(flags: &[&str]) -> Process {
    // It looks for them beside itself; this says what to do where they are not.
    for name in ["csv-runner", "ml-api", "sample"] {
        binary(name);
    }
    Process::spawn(env!("CARGO_BIN_EXE_bench"), flags, &[])
}

/// `1,234.5 (1-2)` as 1234.5.
#[track_caller]
fn first_number(cell: &str) -> f64 {
    let number = cell.split_whitespace().next().unwrap_or_default().replace(',', "");
    number.parse().unwrap_or_else(|_| panic!("{cell:?} begins with no number"))
}

#[test]
fn the_table_has_a_line_for_each() {
    let output = bench(&["--rows", "2500", "--runs", "2", "--memory-rows", "3000"]).wait(TIMEOUT);
    let table = output.stdout.as_str();
    assert_eq!(output.code, Some(0), "{output}");
    assert!(table.contains("fsync on"), "{table}");

    let (_, lines) = table.split_once("| --- |").unwrap();
    let lines: Vec<Vec<&str>> =
        lines.lines().skip(1).map(|line| line.split('|').map(str::trim).collect()).collect();
    let kinds: Vec<&str> = lines.iter().map(|cells| cells[1]).collect();
    let expected = ["floor: COPY and upsert", "csv-runner into Postgres", "csv-runner into SQLite"];
    assert_eq!(kinds[..3], expected);
    assert_eq!(kinds[3..], ["the same into Postgres, 3000 rows"]);

    for cells in &lines {
        let rate = first_number(cells[2]);
        assert!((10.0..10e6).contains(&rate), "{table}");
    }
    assert!((first_number(lines[0][3]) - 1.0).abs() < 1e-9, "{table}");
    for cells in &lines[1..] {
        let (wall, own, peak) =
            (first_number(cells[2]), first_number(cells[4]), first_number(cells[5]));
        assert!(own > wall * 0.9, "the start and the end are no part of its own rate\n{table}");
        assert!((1.0..1000.0).contains(&peak), "{table}");
    }
}

#[test]
fn an_audit_is_measured_on_both_stores() {
    binary("audit");
    let output = bench(&["audit", "--batches", "20000", "--runs", "1"]).wait(TIMEOUT);
    let table = output.stdout.as_str();
    assert_eq!(output.code, Some(0), "{output}");
    assert!(table.starts_with("audit of 20,000 batches with 20,000,000 records, "), "{table}");
    for store in ["Postgres", "SQLite"] {
        let line = table.lines().find(|line| line.starts_with(&format!("| {store} |")));
        let cells: Vec<&str> =
            line.unwrap_or_else(|| panic!("{table}")).split('|').map(str::trim).collect();
        assert!((0.01..60.0).contains(&first_number(cells[2])), "{table}");
        assert!((1.0..1000.0).contains(&first_number(cells[3])), "{table}");
    }
}

#[test]
fn a_flow_that_only_publishes_is_measured_both_ways() {
    for name in ["producer", "bench-flow"] {
        binary(name);
    }
    let output = bench(&["publish", "--records", "5000", "--pairs", "2"]).wait(TIMEOUT);
    let table = output.stdout.as_str();
    assert_eq!(output.code, Some(0), "{output}");
    for way in ["at least once", "exactly once"] {
        let line = table.lines().find(|line| line.contains(&format!("only publishes, {way} |")));
        let cells: Vec<&str> =
            line.unwrap_or_else(|| panic!("{table}")).split('|').map(str::trim).collect();
        assert!((10.0..10e6).contains(&first_number(cells[2])), "{table}");
        assert!((1.0..1000.0).contains(&first_number(cells[4])), "{table}");
    }
    let (_, ratio) = table.split_once("by pair: ").unwrap_or_else(|| panic!("{table}"));
    assert!((0.01..100.0).contains(&first_number(ratio)), "{table}");
}

#[test]
fn the_kafka_client_is_measured_alone() {
    binary("producer");
    let flags = ["kafka-client", "--records", "20000", "--runs", "2"];
    let output = bench(&flags).wait(TIMEOUT);
    let table = output.stdout.as_str();
    assert_eq!(output.code, Some(0), "{output}");
    assert!(table.starts_with("20000 records of "), "{table}");
    let line = table.lines().find(|line| line.starts_with("| tally-kafka-client |"));
    let cells: Vec<&str> =
        line.unwrap_or_else(|| panic!("{table}")).split('|').map(str::trim).collect();
    assert!((1_000.0..1e9).contains(&first_number(cells[2])), "{table}");
    assert!((1.0..1000.0).contains(&first_number(cells[3])), "{table}");
}

#[test]
fn a_signal_takes_everything_away() {
    let bench = bench(&["--rows", "200000", "--runs", "1"]);
    let line = bench.wait_for_line("working in ", TIMEOUT);
    let folder = line.trim_start_matches("working in ");
    // Then csv-runner runs, and the model and the server with it.
    bench.wait_for_line("floor: COPY and upsert: ", TIMEOUT);
    bench.signal(Signal::SIGTERM);
    let output = bench.wait(TIMEOUT);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains("stopped by SIGTERM\n"), "{output}");
    assert!(!Path::new(folder).exists());
    assert_eq!(processes_of(folder), Vec::<String>::new());
}

/// The command lines of all processes that run in `folder` or name it.
fn processes_of(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let cwd = fs::read_link(process.path().join("cwd")).unwrap_or_default();
        if line.contains(folder) || cwd.to_string_lossy().starts_with(folder) {
            found.push(line);
        }
    }
    found
}
