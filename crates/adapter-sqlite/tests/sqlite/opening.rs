//! How a database is opened: migrations, and everything that cannot be opened.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Database, flows};
use tally_adapter_sqlite::{Settings, Sqlite, SqliteLedgerReader};
use tally_domain::transactions::Transactions;
use tally_domain::{Column, Flow, Incoming, Reason, Record, Stage, Table};
use tally_ports::{Begin, Claim, Fault, KnownFlow, Migrations, Positions, StopKind};
use tally_testkit::build::{LONG, stream};
use tally_testkit::visits::Visits;

/// Opening fails for good, with a text that names the file and contains each of `words`.
#[track_caller]
fn check_refused(result: Result<Sqlite, Fault>, path: &Path, words: &[&str]) {
    let Err(Fault::Stop(stop)) = result else { panic!("{result:?}") };
    assert_eq!(stop.kind, StopKind::Setting, "{stop}");
    for word in words.iter().chain([&path.to_str().unwrap()]) {
        assert!(stop.message.contains(word), "{word} is not in: {stop}");
    }
}

fn open(path: &Path) -> Result<Sqlite, Fault> {
    Sqlite::open(
        &Settings { path: path.to_owned(), lease: Duration::from_secs(20), migrate: true },
        &flows(),
    )
}

#[test]
fn tables_are_made_once_by_whoever_comes_first() {
    let database = Database::new();
    for _ in 0..5 {
        std::thread::scope(|scope| {
            let openings: Vec<_> =
                (0..12).map(|_| scope.spawn(|| database.try_open().map(drop))).collect();
            for opening in openings {
                opening.join().unwrap().unwrap();
            }
        });
        let applied = database.texts(
            "select name || ' ' || version as text from tally_migrations order by name, version",
        );
        assert_eq!(
            applied,
            [
                "accounts 1",
                "companies 1",
                "tally 1",
                "tally 2",
                "tally 3",
                "tally 4",
                "tally 5",
                "tally 6",
                "tally 7",
                "tally 8",
                "tally 9",
                "tally 10",
                "tally 11",
                "transactions 1",
                "user-logins 1",
                "visits 1"
            ]
            .map(|text| Some(text.to_owned()))
        );
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", database.path().display()));
        }
    }
}

const CHILD: &str = "TALLY_TEST_OPEN";

#[test]
fn several_processes_may_migrate_at_once() {
    if let Some(path) = std::env::var_os(CHILD) {
        open(Path::new(&path)).unwrap();
        return;
    }
    let database = Database::new();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "opening::several_processes_may_migrate_at_once"])
        .env(CHILD, database.path());
    let children: Vec<_> = (0..6).map(|_| child.spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(database.texts("select name as text from tally_migrations").len(), 16);
}

#[test]
fn a_newer_database_is_refused() {
    let database = Database::new();
    database.try_open().unwrap();
    database.execute(
        "insert into tally_migrations values ('transactions', 2, '2030-01-01 00:00:00.000')",
    );
    let newer = ["newer than this program", "transactions at version 2"];
    check_refused(database.try_open(), &database.path(), &newer);
    check_refused(
        Sqlite::open(&Settings { migrate: false, ..database.settings() }, &flows()),
        &database.path(),
        &newer,
    );
    database
        .execute("update tally_migrations set name = 'a flow of somebody else' where name = 'transactions' and version = 2");
    database.try_open().unwrap();
}

#[test]
fn later_migrations_are_applied_to_an_older_database() {
    let database = Database::new();
    database.try_open().unwrap();
    let scripts = &[
        "create table never_again (a)",
        "create table second (a)",
        "insert into second values (2)",
    ];
    let with =
        |name, scripts| KnownFlow { sqlite: Migrations { name, scripts }, ..Visits::known() };
    Sqlite::open(&database.settings(), &[with("visits", scripts)]).unwrap();
    assert_eq!(
        database.texts("select name as text from sqlite_schema where name = 'never_again'").len(),
        0
    );
    assert_eq!(
        database.texts("select cast(a as text) as text from second"),
        [Some("2".to_owned())]
    );

    let broken = with("broken", &["create table third (a)", "create tables"]);
    check_refused(
        Sqlite::open(&database.settings(), &[broken]),
        &database.path(),
        &["near \"tables\""],
    );
    let left = "select name as text from sqlite_schema where name = 'third'";
    assert_eq!(database.texts(left).len(), 0, "all of the migrations or none");
}

/// As a version before left it: what it finished stays finished, and nothing of it is rejected.
#[tokio::test]
async fn passes_of_an_earlier_version_are_kept() {
    let database = Database::new();
    database.try_open().unwrap();
    database.execute("alter table positions drop column rejected_at");
    database.execute("alter table positions drop column log");
    database.execute("alter table workers drop column seen_at");
    database.execute("alter table batches drop column passed");
    database.execute("alter table batches drop column detail");
    database.execute("drop table counted");
    database.execute("drop table outbox");
    database.execute("drop table files");
    database.execute("alter table positions drop column outbox_next");
    database.execute("alter table dead_letters drop column record_timestamp");
    database.execute("delete from tally_migrations where name = 'tally' and version > 2");
    database.execute(
        "insert into positions (flow, stream, partition, pass, label, next, epoch, ended_at, updated_at) \
         values ('transactions', 'file/1', 0, 1, '1.csv', 20, 1, '2026-11-28 10:00:00.000', '2026-11-28 10:00:00.000')",
    );
    let store = database.try_open().unwrap();
    let claim = store.claim(&stream::<Transactions>("file/1"), "a", LONG, Begin::default()).await;
    let Ok(Claim::Finished(finished)) = claim else { panic!("{claim:?}") };
    assert!(!finished.is_rejected && finished.read == 0, "{finished:?}");
}

#[test]
fn without_migrations_the_tables_must_be_there() {
    let database = Database::new();
    let settings = Settings { migrate: false, ..database.settings() };
    let path = database.path();
    check_refused(Sqlite::open(&settings, &flows()), &path, &["there is no database"]);
    assert!(!path.exists(), "no file is made");

    std::fs::write(&path, "").unwrap();
    check_refused(Sqlite::open(&settings, &flows()), &path, &["tally at version 0", "needs 11"]);
    Sqlite::open(&database.settings(), &flows()[..1]).unwrap();
    check_refused(
        Sqlite::open(&settings, &flows()),
        &path,
        &["user-logins at version 0", "needs 1"],
    );
    Sqlite::open(&settings, &flows()[..1]).unwrap();
}

#[test]
fn tables_of_something_else_are_left_alone() {
    for table in ["positions (a)", "tally_migrations (name text, a)"] {
        let database = Database::new();
        database.execute(&format!("create table {table}"));
        let result = database.try_open();
        let what = if table.starts_with('p') {
            "table positions already exists"
        } else {
            "no such column: version"
        };
        check_refused(result, &database.path(), &[what]);
        assert_eq!(
            database.texts("select name as text from sqlite_schema where type = 'table'").len(),
            1
        );
        assert_eq!(
            database.texts("select journal_mode as text from pragma_journal_mode"),
            [Some("delete".to_owned())]
        );
    }
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("short", "hello".to_owned()), ("long", "id,amount\n".repeat(1_000))] {
        let path = folder.path().join(name);
        std::fs::write(&path, &content).unwrap();
        check_refused(open(&path), &path, &["file is not a database"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    check_refused(open(folder.path()), folder.path(), &["cannot open the database"]);
    let nowhere = folder.path().join("no/such/folder/tally.db");
    check_refused(open(&nowhere), &nowhere, &["cannot open the database"]);
}

#[test]
fn a_read_only_file_is_refused() {
    let database = Database::new();
    std::fs::write(database.path(), "").unwrap();
    database.execute("create table something (a)");
    // Root may write any file; a file whose header asks for a later SQLite nobody may.
    let mut bytes = std::fs::read(database.path()).unwrap();
    bytes[18] = 3;
    std::fs::write(database.path(), bytes).unwrap();
    check_refused(database.try_open(), &database.path(), &["attempt to write a readonly database"]);
}

#[test]
fn a_file_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:x?mode=memory", "sqlite:", "a b%20'é.db"] {
        let path = folder.path().join(name);
        open(&path).unwrap();
        assert!(path.is_file(), "{name}");
    }
}

/// Each table with a column that is not as described, and one that nobody minds.
#[test]
fn tables_that_are_not_as_described_are_refused() {
    for (change, words) in [
        (
            "alter table visits drop column at",
            "visits is not as the flow visits describes it: it has no column at",
        ),
        ("alter table visits rename column at to when_", "it has no column at"),
        (
            "drop table totals; create table totals (day text primary key, count text not null, amount text not null) strict",
            "totals is not as the flow accounts describes it: its column count is of the type text",
        ),
        (
            "drop table totals; create table totals (day text primary key, count integer, amount text not null) strict",
            "its column count takes null",
        ),
        (
            "drop table totals; create table totals (day text primary key, count integer not null, amount text not null, \
            more text not null) strict",
            "its column more needs a value",
        ),
        ("alter table accounts drop column origin", "it has no column origin"),
        ("drop table totals", "it does not exist"),
    ] {
        let database = Database::new();
        database.try_open().unwrap();
        database.execute("alter table accounts add column note text; alter table accounts add column kind text not null default ''");
        database.try_open().unwrap();
        database.execute(change);
        check_refused(database.try_open(), &database.path(), &[words]);
        let settings = Settings { migrate: false, ..database.settings() };
        check_refused(Sqlite::open(&settings, &flows()), &database.path(), &[words]);
        let Err(fault) = SqliteLedgerReader::open(database.path(), &flows()) else {
            panic!("opened")
        };
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

/// Nothing is made for flows that get into each other's way.
#[test]
fn a_table_has_one_writer() {
    let database = Database::new();
    let open = |flows: &[KnownFlow]| match Sqlite::open(&database.settings(), flows) {
        Err(Fault::Stop(stop)) if stop.kind == StopKind::Setting => stop.message,
        other => panic!("{other:?}"),
    };
    assert_eq!(open(&[Visits::known(), Visits::known()]), "two flows are called visits");
    let others = |flow: &'static str, table: &'static str| KnownFlow {
        flow: std::sync::Arc::new(Other { name: flow, table: visits_called(table) }),
        ..Visits::known()
    };
    let message = "the flow others writes visits, a table of visits";
    assert_eq!(open(&[Visits::known(), others("others", "visits")]), message);
    let message = "the flow others writes batches, a table of the engine";
    assert_eq!(open(&[others("others", "batches")]), message);
    assert!(open(&[others("others", "not an identifier")]).contains("not an identifier"));
    assert!(database.texts("select name as text from sqlite_schema").is_empty());
}

fn visits_called(name: &'static str) -> Table {
    Table { name: name.into(), ..Visits::default().tables()[0].clone() }
}

/// A flow that writes a table like the visits'.
#[derive(Debug)]
struct Other {
    name: &'static str,
    table: Table,
}

impl Flow for Other {
    fn name(&self) -> &str {
        self.name
    }

    fn columns(&self) -> &[Column] {
        &[]
    }

    fn tables(&self) -> &[Table] {
        std::slice::from_ref(&self.table)
    }

    fn read(&self, _: Incoming<'_>) -> Result<Record, Reason> {
        Err(Reason::new(Stage::Validate, "none", "none"))
    }
}
