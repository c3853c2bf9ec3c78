//! Settings, and what stops it before it begins.

use crate::support::{Desk, SOON, launch, row};
use tally_harness::job::Target;
use tally_harness::postgres::TestDatabase;
use tally_harness::process::Launch;

const NO_MODEL: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn a_database_that_is_not_there_is_not_made() {
    let target = Target::sqlite();
    for verb in [&["list"][..], &["replay", "--all"], &["export"]] {
        let output = launch(&target.url(), NO_MODEL, verb).spawn().wait(SOON);
        assert_eq!(output.code, Some(78), "{output}");
        assert!(output.stderr.contains("there is no database"), "{output}");
    }
    let Target::Sqlite(file) = &target else { unreachable!() };
    assert!(!file.path().exists());
}

#[tokio::test]
async fn pending_migrations_are_refused_on_request() {
    let target = Target::postgres().await;
    let output = launch(&target.url(), NO_MODEL, &["list", "--no-migrate"]).spawn().wait(SOON);
    assert_eq!(output.code, Some(78), "{output}");
    assert!(output.stderr.contains("run once without --no-migrate"), "{output}");
    let output = launch(&target.url(), NO_MODEL, &["list"]).spawn().wait(SOON);
    assert_eq!((output.code, &*output.stdout), (Some(0), "no dead letters\n"), "{output}");
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused() {
    let database = TestDatabase::encoded("LATIN1").await;
    let output = launch(&database.url(), NO_MODEL, &["list"]).spawn().wait(SOON);
    assert_eq!(output.code, Some(78), "{output}");
    assert!(output.stderr.contains("is LATIN1"), "{output}");
}

#[tokio::test]
async fn a_database_that_stays_away_ends_it() {
    let url = "postgres://postgres:secret@127.0.0.1:9/db";
    let output = launch(url, NO_MODEL, &["list", "--max-outage", "1s"]).spawn().wait(SOON);
    assert_eq!(output.code, Some(69), "{output}");
    assert!(!output.stderr.contains("secret"), "{output}");
}

#[tokio::test]
async fn settings_are_shown_and_checked() {
    let output =
        launch("postgres://me:secret@h/db", NO_MODEL, &["--print-config"]).spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(
        output.stdout.contains("database_url = \"postgres://***@h/db\" # flag --database-url"),
        "{output}"
    );
    let unknown = launch("sqlite:x", NO_MODEL, &["list"]).env("TALLY_NONE", "1").spawn().wait(SOON);
    assert_eq!(unknown.code, Some(78), "{unknown}");
    let help = Launch::new(env!("CARGO_BIN_EXE_dead-letters")).args(["--help"]).spawn().wait(SOON);
    assert!(help.stdout.contains("Exit codes: 0 done"), "{help}");
}

/// It does not go on when nobody listens any more.
#[tokio::test]
async fn standard_output_that_cannot_be_written_is_told() {
    let desk = Desk::new(Target::sqlite()).await;
    desk.ingest("a.csv", &row(1, "x").replace("debit", ""));
    let url = desk.target.url();
    let binary = env!("CARGO_BIN_EXE_dead-letters");
    for verb in ["list", "export", "stats", "replay --all"] {
        let command =
            format!("exec '{binary}' --database-url '{url}' --ml-url {NO_MODEL} {verb} >/dev/full");
        let output = Launch::new("sh").args(["-c", &command]).spawn().wait(SOON);
        assert_eq!(output.code, Some(74), "{verb}: {output}");
    }
}
