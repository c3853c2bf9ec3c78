//! A database that cannot be used: a wrong setting stops at once with 78, one that is unavailable is waited for, and neither
//! loses a row.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tally_adapter_sqlite::diesel::connection::SimpleConnection;
use tally_harness::job::{Job, ModelService, SqliteFile, Target};
use tally_harness::postgres::TestDatabase;
use tally_harness::process::{Launch, Output, binary};

use crate::support::{Folder, HEADER, NO_MODEL, SOON, assert_accounted, run, said, summary, table};

/// The run ends with this code and this last line, in which DIR is the folder.
#[track_caller]
fn refused(folder: &Folder, url: &str, flags: &[&str], (code, line): (i32, &str)) -> Output {
    let path = folder.write("good.csv", table([1]));
    let output = Job::new(url).model(NO_MODEL).file(path).flags(flags).spawn().wait(SOON);
    assert_eq!(output.code, Some(code), "{url}: {output}");
    assert_eq!(folder.shown(said(&output)).last().map(String::as_str), Some(line), "{output}");
    assert_eq!(output.stdout, "", "nothing was begun");
    output
}

fn sqlite_url(folder: &Folder, name: &str) -> String {
    format!("sqlite:{}", folder.path().join(name).display())
}

/// Makes the tables.
fn migrate(target: &Target, folder: &Folder) {
    let path = folder.write("header.csv", HEADER);
    let output = run(target, NO_MODEL, &[path], &[]);
    assert_eq!(output.code, Some(0), "{output}");
}

fn file_of(target: &Target) -> &SqliteFile {
    match target {
        Target::Sqlite(file) => file,
        Target::Postgres(_) => panic!("not a file"),
    }
}

#[test]
fn a_path_where_no_database_can_be() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("folder")).unwrap();
    for name in ["nowhere/tally.db", "folder"] {
        let line =
            format!("ERROR cannot open the database DIR/{name}: unable to open database file");
        refused(&folder, &sqlite_url(&folder, name), &[], (78, &line));
    }
    assert_eq!(folder.names(), ["folder", "good.csv"]);
}

#[test]
fn a_file_that_is_no_database() {
    let folder = Folder::new();
    let content = table(1..100);
    folder.write("other.csv", &content);
    let line = "ERROR cannot open the database DIR/other.csv: file is not a database";
    refused(&folder, &sqlite_url(&folder, "other.csv"), &[], (78, line));
    assert_eq!(fs::read_to_string(folder.path().join("other.csv")).unwrap(), content);
}

#[test]
fn a_file_that_may_not_be_written() {
    let (folder, target) = (Folder::new(), Target::sqlite());
    migrate(&target, &folder);
    let database = file_of(&target).path();
    // Everything but the permission to write, to the folder too.
    fs::set_permissions(database.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&database, Permissions::from_mode(0o444)).unwrap();
    let path = folder.write("good.csv", table([1]));
    let line = "ERROR cannot open the database DATABASE: attempt to write a readonly database";
    let check = || {
        let job = Job::new(&target.url()).model(NO_MODEL).file(&path);
        let output = job.launch().as_user(65534).current_dir("/").spawn().wait(SOON);
        assert_eq!(output.code, Some(78), "{output}");
        let shown: Vec<String> = said(&output)
            .iter()
            .map(|line| line.replace(database.to_str().unwrap(), "DATABASE"))
            .collect();
        assert_eq!(shown, [line]);
    };
    check();
    // Somebody else has it open: its write-ahead log is there.
    let mut other = file_of(&target).connection();
    other.batch_execute("select 1 from positions").unwrap();
    check();
}

async fn newer(target: &Target, line: &str) {
    let folder = Folder::new();
    migrate(target, &folder);
    target
        .execute("update tally_migrations set version = version + 7 where name = 'transactions'")
        .await;
    let line = match target {
        Target::Sqlite(file) => line.replace("FILE", file.path().to_str().unwrap()),
        Target::Postgres(_) => line.to_owned(),
    };
    refused(&folder, &target.url(), &[], (78, &line));
    assert_eq!(target.number("select count(*) from positions where ended_at is null").await, 0);
}

#[tokio::test]
async fn an_sqlite_database_of_a_newer_version() {
    let line = "ERROR database FILE is newer than this program: it has transactions at version 8, we know 1";
    newer(&Target::sqlite(), line).await;
}

#[tokio::test]
async fn a_postgres_database_of_a_newer_version() {
    let line = "ERROR the database is newer than this program: transactions has version 11 there and 4 here";
    newer(&Target::postgres().await, line).await;
}

#[tokio::test]
async fn migrations_are_refused_when_they_may_not_be_run() {
    let folder = Folder::new();
    let missing = "ERROR there is no database DIR/tally.db and migrations are not allowed";
    refused(&folder, &sqlite_url(&folder, "tally.db"), &["--no-migrate"], (78, missing));
    assert_eq!(folder.names(), ["good.csv"]);

    folder.write("tally.db", "");
    let pending = "ERROR database DIR/tally.db has tally at version 0, this program needs 11, \
        and migrations are not allowed";
    refused(&folder, &sqlite_url(&folder, "tally.db"), &["--no-migrate"], (78, pending));
    assert_eq!(fs::read(folder.path().join("tally.db")).unwrap(), b"");

    let target = Target::postgres().await;
    let pending = "ERROR the database lacks the migrations tally 1, tally 2, tally 3, tally 4, tally 5, tally 6, tally 7, tally 8, tally 9, tally 10, tally 11, transactions 1, transactions 2, transactions 3, transactions 4: run once without --no-migrate";
    refused(&folder, &target.url(), &["--no-migrate"], (78, pending));
    assert!(!target.has_tables().await);

    migrate(&target, &folder);
    let again = run(&target, NO_MODEL, &[folder.path().join("header.csv")], &["--no-migrate"]);
    assert_eq!(again.code, Some(0), "{again}");
}

#[tokio::test]
async fn a_database_that_does_not_let_us_in() {
    let (folder, target) = (Folder::new(), Target::postgres().await);
    let Target::Postgres(database) = &target else { unreachable!() };
    let addr = database.addr();
    let at = |name: &str| format!("postgres at {addr}/{name}");
    let wrong = |url: &str, line: &str| {
        let output = refused(&folder, url, &[], (78, &format!("ERROR {line}")));
        assert!(!output.stderr.contains("hidden"), "{output}");
    };
    let name = database.name();
    wrong(
        &database.url_as("postgres", "hidden"),
        &format!(
            "{}: password authentication failed for user \"postgres\" (SQLSTATE 28P01)",
            at(name)
        ),
    );
    wrong(
        &format!("postgres://postgres:postgres@{addr}/nowhere?application_name=hidden"),
        &format!("{}: database \"nowhere\" does not exist (SQLSTATE 3D000)", at("nowhere")),
    );
    wrong(
        &format!("postgres://postgres:hidden@{addr}/{name}?sslmode=hidden"),
        "sslmode in the database URL is not one of disable, prefer, require or verify-full",
    );
    assert!(!target.has_tables().await);
}

#[tokio::test]
async fn a_database_that_is_not_utf8() {
    let folder = Folder::new();
    for encoding in ["LATIN1", "WIN1252"] {
        let database = TestDatabase::encoded(encoding).await;
        let name = format!("{}/{}", database.addr(), database.name());
        let line = format!(
            "ERROR postgres: the encoding of the database {name} is {encoding}, not UTF8: \
             use one made with `create database NAME encoding 'UTF8' template template0`"
        );
        for flags in [&[][..], &["--no-migrate"]] {
            refused(&folder, &database.url(), flags, (78, &line));
        }
        assert!(!Target::Postgres(database).has_tables().await);
    }
}

#[tokio::test]
async fn a_database_that_is_away() {
    let folder = Folder::new();
    let away =
        "postgres at 127.0.0.1:9/x: error connecting to server: Connection refused (os error 111)";
    let last = format!("ERROR database stayed unavailable for 1 s: {away}");
    let url = "postgres://me:hidden@127.0.0.1:9/x";
    let output = refused(&folder, url, &["--max-outage", "1s"], (69, &last));
    assert_eq!(said(&output)[0], format!("WARN unavailable, retrying: {away}"));
    assert!(!output.stderr.contains("hidden"), "{output}");
}

/// A limit on the size of files makes writes fail as a full disk does. In blocks of 512 bytes.
fn with_full_disk(target: &Target, model: &ModelService, path: &Path) -> Output {
    let (runner, url) = (binary("csv-runner"), target.url());
    let script = "trap '' XFSZ; ulimit -f 1500; exec \"$@\"";
    let command = [
        "-c",
        script,
        "sh",
        runner.to_str().unwrap(),
        "--database-url",
        &url,
        "--ml-url",
        model.url(),
    ];
    let flags = ["--summary", "json", "--batch-size", "100", "--max-outage", "1s"];
    Launch::new("sh").args(command).args(flags).args([path]).spawn().wait(SOON)
}

#[tokio::test]
async fn a_full_disk_below_sqlite_is_an_outage() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let path = folder.write("good.csv", table(1..=10_000));
    let output = with_full_disk(&target, &model, &path);
    assert_eq!(output.code, Some(69), "{output}");
    let database = file_of(&target).path();
    let last = format!(
        "ERROR database stayed unavailable for 1 s: database {}: disk I/O error",
        database.display()
    );
    assert_eq!(said(&output).last(), Some(&last), "{output}");
    let first = summary(&output);
    assert_accounted(&target, &first).await;
    let written = first["written"].as_i64().unwrap();
    assert!((100..10_000).contains(&written), "{written} rows before the disk was full");
    assert_eq!(first["files"][0]["state"], "failed");

    completes(&target, &model, path, written, 10_000).await;
}

/// A rerun goes on where the other one stopped.
async fn completes(target: &Target, model: &ModelService, path: PathBuf, done: i64, rows: i64) {
    let output = run(target, model.url(), &[path], &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let second = summary(&output);
    let file = &second["files"][0];
    assert_eq!((&file["state"], &file["resumed_at"]), (&json!("done"), &json!(done)));
    assert_eq!((&second["written"], &second["dead_lettered"]), (&json!(rows - done), &json!(0)));
    assert_eq!(target.number("select count(*) from transactions").await, rows);
    assert_eq!(target.number("select count(*) from dead_letters").await, 0);
    assert_eq!(target.number("select sum(read) from batches").await, rows);
}

const FULL: &str = "create function full_disk() returns trigger language plpgsql as \
    $$ begin raise exception 'no space left on %', new.description using errcode = '53100'; end $$; \
    create trigger full_disk before insert on transactions for each row when (new.position >= 500) \
    execute function full_disk()";
const FULL_MESSAGE: &str = "postgres: the rows of a batch cannot be written: SQLSTATE 53100";

#[tokio::test]
async fn a_full_disk_below_postgres_is_an_outage() {
    let (folder, target, model) = (Folder::new(), Target::postgres().await, ModelService::start());
    migrate(&target, &folder);
    target.execute(FULL).await;
    let path = folder.write("good.csv", table(1..=1_000));
    let flags = ["--batch-size", "100", "--max-outage", "2s"];
    let output = run(&target, model.url(), &[&path], &flags);
    assert_eq!(output.code, Some(69), "{output}");
    let said = said(&output);
    assert_eq!(said[0], format!("WARN unavailable, retrying: {FULL_MESSAGE}"));
    assert_eq!(
        said[said.len() - 1],
        format!("ERROR database stayed unavailable for 2 s: {FULL_MESSAGE}")
    );
    let first = summary(&output);
    assert_eq!((&first["written"], &first["dead_lettered"]), (&json!(500), &json!(0)));
    assert_accounted(&target, &first).await;

    target.execute("drop trigger full_disk on transactions").await;
    completes(&target, &model, path, 500, 1_000).await;
}

#[tokio::test]
async fn a_run_goes_on_by_itself_once_there_is_room_again() {
    let (folder, target, model) = (Folder::new(), Target::postgres().await, ModelService::start());
    migrate(&target, &folder);
    target.execute(FULL).await;
    let path = folder.write("good.csv", table(1..=1_000));
    let job = Job::new(&target.url()).model(model.url()).file(path);
    let process = job.flags(["--summary", "json", "--batch-size", "100"]).spawn();
    process.wait_for_line("unavailable, retrying", SOON);
    target.execute("drop trigger full_disk on transactions").await;
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let lines =
        [format!("WARN unavailable, retrying: {FULL_MESSAGE}"), "INFO available again".to_owned()];
    assert_eq!(said(&output), lines);
    assert_accounted(&target, &summary(&output)).await;
    assert_eq!(target.number("select count(*) from transactions").await, 1_000);
}
