//! Settings, databases that are not Tally databases or away, and what is said of them.

use std::fs::File;
use std::process::{Command, Stdio};

use tally_harness::eventually;
use tally_harness::job::{ModelService, Target};
use tally_harness::postgres::{OwnPostgres, TestDatabase};
use tally_harness::process::{Launch, Output, Process};
use tempfile::TempDir;

use crate::support::{LONG, Sample, audit, audit_of, audited};

const NONE: [&str; 0] = [];

/// It ends with this code, says one line with all of these texts, and nothing on standard output.
#[track_caller]
fn assert_refused(output: &Output, code: i32, texts: &[&str]) {
    assert_eq!((output.code, output.stdout.as_str()), (Some(code), ""), "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    for text in texts {
        assert!(output.stderr.contains(text), "{text}: {output}");
    }
}

#[test]
fn a_file_that_is_not_there_is_not_made() {
    let folder = TempDir::new().unwrap();
    let output = audit_of("sqlite:x.db", &NONE).current_dir(folder.path()).spawn().wait(LONG);
    assert_refused(&output, 78, &["there is no database x.db"]);
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_file_that_is_no_database() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("x.db"), "id;amount\n".repeat(1_000)).unwrap();
    let output = audit_of("sqlite:x.db", &NONE).current_dir(folder.path()).spawn().wait(LONG);
    assert_refused(&output, 78, &["x.db", "not a database"]);
}

#[tokio::test]
async fn a_database_without_our_tables() {
    let target = Target::sqlite();
    target.execute("create table other (x)").await;
    assert_refused(&audit(&target, &NONE), 78, &["tally.db has tally at version 0"]);
    assert_eq!(target.number("select count(*) from sqlite_schema").await, 1, "it makes none");

    let target = Target::postgres().await;
    let texts = [
        "is not a Tally database",
        "lacks the migrations tally 1, tally 2, tally 3, tally 4, tally 5, tally 6, tally 7, tally 8, tally 9, tally 10, tally 11, which",
    ];
    assert_refused(&audit(&target, &NONE), 78, &texts);
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(target.number(tables).await, 0, "it makes none");
}

#[tokio::test]
async fn a_database_that_is_not_utf8() {
    let target = Target::Postgres(TestDatabase::encoded("LATIN1").await);
    assert_refused(&audit(&target, &NONE), 78, &["is LATIN1", "encoding 'UTF8'"]);
}

#[test]
fn settings_that_are_wrong() {
    let run =
        |flags: &[&str]| Launch::new(env!("CARGO_BIN_EXE_audit")).args(flags).spawn().wait(LONG);
    assert_refused(
        &run(&["--database-url=mysql://x"]),
        78,
        &["mysql://x is not one of sqlite:PATH"],
    );
    assert_eq!(run(&["--batch-size=1"]).code, Some(2));
    assert_eq!(run(&["--source"]).code, Some(2));
    assert_eq!(run(&["--output=xml"]).code, Some(2));
    let output = run(&["--help"]);
    assert_eq!(output.code, Some(0));
    for text in ["--source <FILE>...", "--database-url <URL>", "--output <OUTPUT>", "65 violations"]
    {
        assert!(output.stdout.contains(text), "{text}: {output}");
    }
    let output = run(&["--print-config", "--database-url=sqlite:x.db"]);
    assert!(
        output.stdout.contains("database_url = \"sqlite:x.db\" # flag --database-url"),
        "{output}"
    );
}

#[test]
fn a_server_that_is_away() {
    let output = audit_of("postgres://me:hidden@127.0.0.1:9/tally", &NONE).spawn().wait(LONG);
    assert_refused(&output, 69, &["postgres at 127.0.0.1:9/tally"]);
    assert!(!output.stderr.contains("hidden"), "{output}");
}

#[tokio::test]
async fn a_report_that_cannot_be_written() {
    let target = Target::sqlite();
    Sample::new(5, 0.0).ingested(&target, &ModelService::start(), &[]);
    let output = Command::new(env!("CARGO_BIN_EXE_audit"))
        .args(["--database-url", &target.url()])
        .stdout(Stdio::from(File::options().write(true).open("/dev/full").unwrap()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74), "{output:?}");
}

/// Whoever may read and nothing else can audit; who may not is told so.
#[tokio::test]
async fn a_user_who_may_only_read() {
    let database = TestDatabase::create().await;
    let (role, url) = (format!("{}_auditor", database.name()), database.url());
    let reader = database.url_as(&role, "secret");
    let target = Target::Postgres(database);
    Sample::new(50, 0.1).ingested(&target, &ModelService::start(), &[]);
    let create = format!(
        "create role {role} login password 'secret';
        grant select on positions, batches, tally_migrations, transactions to {role}"
    );
    tally_harness::postgres::execute(&url, &create).await;
    let output = audit_of(&reader, &NONE).spawn().wait(LONG);
    assert_refused(&output, 78, &["no privilege to select on dead_letters"]);
    tally_harness::postgres::execute(&url, &format!("grant select on dead_letters to {role}"))
        .await;
    let output = audit_of(&reader, &NONE).spawn().wait(LONG);
    assert_eq!(output.code, Some(0), "{output}");
    tally_harness::postgres::execute(&url, &format!("drop owned by {role}; drop role {role}"))
        .await;
}

/// A query may take any time; a server that no longer answers anything may not.
mod serial {
    use super::*;

    const WAITING: &str =
        "select count(*) from pg_locks where not granted and relation = 'dead_letters'::regclass";

    /// An audit in the middle of its work, held up by a lock.
    async fn waiting_audit(server: &OwnPostgres) -> (Process, impl Send + use<>) {
        let job = tally_harness::job::Job::new(&server.url());
        let (sample, model) = (Sample::new(50, 0.1), ModelService::start());
        let output = job.model(model.url()).file(sample.path()).spawn().wait(LONG);
        assert_eq!(output.code, Some(0), "{output}");
        let lock = server.connect().await;
        lock.batch_execute("begin; lock table dead_letters in access exclusive mode")
            .await
            .unwrap();
        let process = audit_of(&server.url(), &NONE).spawn();
        eventually(LONG, async || server.query_text(WAITING).await == [[Some("1".to_owned())]])
            .await;
        (process, lock)
    }

    #[tokio::test]
    async fn a_server_that_freezes_in_the_middle() {
        let server = OwnPostgres::start().await;
        let (process, _lock) = waiting_audit(&server).await;
        server.freeze();
        let output = process.wait(LONG);
        server.thaw();
        assert_refused(&output, 69, &["postgres", "no answer within"]);
    }

    #[tokio::test]
    async fn a_server_that_stops_in_the_middle() {
        let server = OwnPostgres::start().await;
        let (process, _lock) = waiting_audit(&server).await;
        server.kill().await;
        assert_refused(&process.wait(LONG), 69, &["postgres"]);
    }
}

/// One that writes in the same file is not waited for.
#[tokio::test]
async fn a_writer_in_the_middle_of_its_transaction_is_not_waited_for() {
    let target = Target::sqlite();
    Sample::new(50, 0.1).ingested(&target, &ModelService::start(), &[]);
    let Target::Sqlite(file) = &target else { unreachable!() };
    let mut writer = file.connection();
    let begin = "begin immediate; update batches set read = 0; delete from dead_letters";
    tally_adapter_sqlite::diesel::connection::SimpleConnection::batch_execute(&mut writer, begin)
        .unwrap();
    audited(&target, 0, &[]);
}
