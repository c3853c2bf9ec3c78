//! Versions of the tables.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tally_ports::{Fault, KnownFlow, Migrations, StopKind};
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::connection::within;
use crate::target::Target;
use crate::{described, fault};

/// The tables of positions, ledger, dead letters, workers and acts.
const LEDGER: Migrations = Migrations {
    name: "tally",
    scripts: &[
        include_str!("../../../migrations/postgres/tally/0001_ledger.sql"),
        include_str!("../../../migrations/postgres/tally/0002_workers_and_acts.sql"),
        include_str!("../../../migrations/postgres/tally/0003_rejected_passes.sql"),
        include_str!("../../../migrations/postgres/tally/0004_refusals_and_signs_of_life.sql"),
        include_str!("../../../migrations/postgres/tally/0005_logs.sql"),
        include_str!("../../../migrations/postgres/tally/0006_passed_offsets.sql"),
        include_str!("../../../migrations/postgres/tally/0007_counted.sql"),
        include_str!("../../../migrations/postgres/tally/0008_record_timestamps.sql"),
        include_str!("../../../migrations/postgres/tally/0009_outdated_by.sql"),
        include_str!("../../../migrations/postgres/tally/0010_outbox.sql"),
        include_str!("../../../migrations/postgres/tally/0011_files.sql"),
    ],
};

const CREATE_MIGRATIONS: &str = "create table if not exists tally_migrations (
    name text not null,
    version integer not null,
    applied_at timestamptz not null default now(),
    primary key (name, version)
)";

/// Held by the session that migrates; the number is `tally` in ASCII.
const LOCK: i64 = 0x0074_616c_6c79;
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);
/// Long enough to build an index on a large table.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(30);
const ANSWER_TIMEOUT: Duration = Duration::from_mins(31);
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// Brings the tables to the versions of this program, on a connection of its own, under a lock that makes other
/// processes wait.
///
/// Of `sessions` at once there may be as many as the process needs.
pub(crate) async fn run(
    target: &Target,
    migrate: bool,
    flows: &[KnownFlow],
    sessions: usize,
) -> Result<(), Fault> {
    KnownFlow::check(flows)?;
    let wanted = wanted(flows);
    let client = connect(target).await?;
    check_sessions(&client, target, sessions).await?;
    let mut pending = pending(&wanted, &applied(&client).await?)?;
    if !pending.is_empty() {
        if !migrate {
            let names: Vec<String> = pending.iter().map(Script::to_string).collect();
            let message = format!(
                "the database lacks the migrations {}: run once without --no-migrate",
                names.join(", ")
            );
            return Err(Fault::stop(StopKind::Setting, message));
        }
        lock(&client).await?;
        let applied = applied(&client).await?;
        pending = self::pending(&wanted, &applied)?;
        check_foreign(&client, &target.name, flows, &applied).await?;
        let create = client.batch_execute(CREATE_MIGRATIONS);
        ask(ANSWER_TIMEOUT, "creating tally_migrations", create).await?;
        for script in pending {
            apply(&client, &script).await?;
        }
    }
    check_described(&client, flows).await?;
    check_privileges(&client).await
}

async fn check_described(client: &Client, flows: &[KnownFlow]) -> Result<(), Fault> {
    let check = described::check(client, flows);
    ask(LOOK_TIMEOUT, "reading columns", check).await?.map_or(Ok(()), Err)
}

/// Makes sure, for a read-only store, that the tables have this program's versions and may be read; of the `flows`, those
/// that were ever written there.
pub(crate) async fn check(target: &Target, flows: &[KnownFlow]) -> Result<Vec<KnownFlow>, Fault> {
    let client = connect(target).await?;
    let applied = applied(&client).await?;
    let is_there = |known: &&KnownFlow| applied.contains_key(known.postgres.name);
    let flows: Vec<KnownFlow> = flows.iter().filter(is_there).cloned().collect();
    let pending = pending(&wanted(&flows), &applied)?;
    if !pending.is_empty() {
        let (name, names) = (&target.name, pending.iter().map(Script::to_string));
        let message = format!(
            "the database {name} is not a Tally database, or older than this program: it lacks the migrations {}, which are \
             not applied by a program that only reads",
            names.collect::<Vec<_>>().join(", ")
        );
        return Err(Fault::stop(StopKind::Setting, message));
    }
    check_described(&client, &flows).await?;
    let mut tables = vec!["positions", "batches", "dead_letters"];
    if flows.iter().any(|known| tally_ports::counts(&*known.flow)) {
        tables.push("counted");
    }
    tables.extend(flows.iter().flat_map(|known| known.flow.tables()).map(|table| &*table.name));
    let sql = "select string_agg(name, ', ') from unnest($1::text[]) as needed(name)
        where not has_table_privilege(name, 'select')";
    let row = ask(LOOK_TIMEOUT, "reading privileges", client.query_one(sql, &[&tables])).await?;
    match row.get::<_, Option<String>>(0) {
        None => Ok(flows),
        Some(missing) => Err(Fault::stop(
            StopKind::Setting,
            format!("postgres: the user has no privilege to select on {missing}: grant it"),
        )),
    }
}

fn wanted(flows: &[KnownFlow]) -> Vec<Migrations> {
    let mut wanted = vec![LEDGER];
    for KnownFlow { postgres, .. } in flows {
        if wanted.iter().all(|other| other.name != postgres.name) {
            wanted.push(*postgres);
        }
    }
    wanted
}

async fn connect(target: &Target) -> Result<Client, Fault> {
    let Target { config, tls, name, connect_timeout } = target;
    let connected = within(*connect_timeout, config.connect(tls.connector.clone())).await?;
    let (client, driver) = connected.map_err(|error| fault::of_connecting(name, &error))?;
    // It ends with the client, whose calls report its errors.
    tokio::spawn(driver);
    let (lock, statement) = (LOCK_TIMEOUT.as_millis(), STATEMENT_TIMEOUT.as_millis());
    let settings = format!(
        "set lock_timeout = {lock}; set statement_timeout = {statement}; \
         set idle_in_transaction_session_timeout = {lock}; set client_min_messages = warning"
    );
    ask(LOOK_TIMEOUT, "settings of the session", client.batch_execute(&settings)).await?;
    check_encoding(&client, name).await?;
    Ok(client)
}

/// Makes sure that the server gives a process as many sessions as it needs, and each connection a session of its own.
async fn check_sessions(client: &Client, target: &Target, needed: usize) -> Result<(), Fault> {
    let name = &target.name;
    let sql = "select pg_backend_pid(), rolname::text, rolconnlimit from pg_roles where rolname = current_user";
    let row = ask(LOOK_TIMEOUT, "reading the session", client.query_one(sql, &[])).await?;
    let (pid, role, limit): (i32, String, i32) = (row.get(0), row.get(1), row.get(2));
    if usize::try_from(limit).is_ok_and(|limit| limit < needed) {
        let message = format!(
            "postgres at {name}: the role {role} may have {limit} connections, and a process needs up to {needed}: \
             alter role {role} connection limit {needed}, or more where there are several processes"
        );
        return Err(Fault::stop(StopKind::Setting, message));
    }
    // A pooler in transaction mode gives the backend that is idle now to the next one that asks. Which one that is depends
    // on when the statements before are closed, hence more than one look.
    let other = connect(target).await?;
    for _ in 0..3 {
        if backend(&other).await? == pid || backend(client).await? != pid {
            return Err(fault::of_pooler(name));
        }
    }
    Ok(())
}

/// Without a prepared statement, which would be closed later.
async fn backend(client: &Client) -> Result<i32, Fault> {
    let query = client.simple_query("select pg_backend_pid()");
    let messages = ask(LOOK_TIMEOUT, "reading the session", query).await?;
    let pid = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    pid.ok_or_else(|| Fault::outage("postgres: a session without a process"))
}

/// In any other encoding one record whose text it cannot hold would cause an endless outage.
async fn check_encoding(client: &Client, name: &str) -> Result<(), Fault> {
    let query = client.query_one("select current_setting('server_encoding')", &[]);
    let encoding: String = ask(LOOK_TIMEOUT, "reading the encoding", query).await?.get(0);
    if encoding == "UTF8" {
        return Ok(());
    }
    let message = format!(
        "postgres: the encoding of the database {name} is {encoding}, not UTF8: use one made with \
         `create database NAME encoding 'UTF8' template template0`"
    );
    Err(Fault::stop(StopKind::Setting, message))
}

/// How many scripts were applied, by name.
async fn applied(client: &Client) -> Result<BTreeMap<String, i32>, Fault> {
    let look = async {
        let row =
            client.query_one("select to_regclass('tally_migrations') is not null", &[]).await?;
        if !row.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        client.query("select name, max(version) from tally_migrations group by name", &[]).await
    };
    let rows = ask(LOOK_TIMEOUT, "reading tally_migrations", look).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The pending scripts, in order.
fn pending(wanted: &[Migrations], applied: &BTreeMap<String, i32>) -> Result<Vec<Script>, Fault> {
    let mut scripts = Vec::new();
    for migrations in wanted {
        let (name, ours) = (migrations.name, migrations.version());
        let theirs = applied.get(name).copied().unwrap_or(0);
        if theirs > ours {
            let message = format!(
                "the database is newer than this program: {name} has version {theirs} there and {ours} here"
            );
            return Err(Fault::stop(StopKind::Setting, message));
        }
        scripts.extend(
            (1..)
                .zip(migrations.scripts)
                .filter(|(version, _)| *version > theirs)
                .map(|(version, sql)| Script { name, version, sql }),
        );
    }
    Ok(scripts)
}

/// Until the session ends.
async fn lock(client: &Client) -> Result<(), Fault> {
    let lock = client.execute("select pg_advisory_lock($1)", &[&LOCK]);
    ask(ANSWER_TIMEOUT, "waiting for another migration", lock).await.map(|_| ())
}

/// Makes sure that no table is there already that a migration would make: nothing is made beside somebody else's.
async fn check_foreign(
    client: &Client,
    name: &str,
    flows: &[KnownFlow],
    applied: &BTreeMap<String, i32>,
) -> Result<(), Fault> {
    let tables = KnownFlow::tables_to_make(flows, |name| applied.contains_key(name));
    let sql = "select string_agg(name, ', ') from unnest($1::text[]) as needed(name)
        where to_regclass(quote_ident(name)) is not null and name <> 'tally_migrations'";
    let row = ask(LOOK_TIMEOUT, "looking for tables", client.query_one(sql, &[&tables])).await?;
    let Some(found) = row.get::<_, Option<String>>(0) else { return Ok(()) };
    let message = format!(
        "postgres: the database {name} has {found} already, which Tally did not make: take a schema of its own, made by \
         `create schema tally` and named at the end of the URL: ?options=-csearch_path%3Dtally"
    );
    Err(Fault::stop(StopKind::Setting, message))
}

async fn apply(client: &Client, script: &Script) -> Result<(), Fault> {
    let Script { name, version, sql } = script;
    let transaction = async {
        client.batch_execute("begin").await?;
        client.batch_execute(sql).await?;
        client
            .execute(
                "insert into tally_migrations (name, version) values ($1, $2)",
                &[name, version],
            )
            .await?;
        client.batch_execute("commit").await
    };
    ask(ANSWER_TIMEOUT, &format!("migration {script}"), transaction).await
}

/// Checks the privileges on the ledger's tables before the first batch; a flow's are checked by its first batch.
async fn check_privileges(client: &Client) -> Result<(), Fault> {
    let sql = "select string_agg(format('%s on %s', privilege, name), ', ')
        from (values
            ('positions', 'select'), ('positions', 'insert'), ('positions', 'update'),
            ('batches', 'select'), ('batches', 'insert'),
            ('dead_letters', 'select'), ('dead_letters', 'insert'), ('dead_letters', 'update'),
            ('workers', 'select'), ('workers', 'insert'), ('workers', 'update'), ('workers', 'delete'),
            ('acts', 'insert')
        ) as needed(name, privilege)
        where not has_table_privilege(name, privilege)";
    let row = ask(LOOK_TIMEOUT, "reading privileges", client.query_one(sql, &[])).await?;
    if let Some(missing) = row.get::<_, Option<String>>(0) {
        let message = format!("postgres: the user has no privilege to {missing}: grant it");
        return Err(Fault::stop(StopKind::Setting, message));
    }
    // Rows that cannot be written together are written by a temporary function.
    let sql = "select has_database_privilege(current_database(), 'temporary')";
    let row = ask(LOOK_TIMEOUT, "reading privileges", client.query_one(sql, &[])).await?;
    if row.get(0) {
        return Ok(());
    }
    let message = "postgres: the user has no privilege to create temporary functions: \
        grant temporary on the database";
    Err(Fault::stop(StopKind::Setting, message))
}

async fn ask<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Fault> {
    within(limit, work).await?.map_err(|error| fault::of_migration(what, &error))
}

/// One step of one name.
struct Script {
    name: &'static str,
    version: i32,
    sql: &'static str,
}

impl std::fmt::Display for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
