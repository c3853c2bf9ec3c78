//! Migrations.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Integer, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{Fault, KnownFlow, Migrations, StopKind};

use crate::atomic::exclusive_transaction;
use crate::statement::{Statement, execute};
use crate::{Failure, Settings, described, fault};

/// The tables of the ledger, which every flow needs.
const LEDGER: Migrations = Migrations {
    name: "tally",
    scripts: &[
        include_str!("../../../migrations/sqlite/tally/0001_ledger.sql"),
        include_str!("../../../migrations/sqlite/tally/0002_workers_and_acts.sql"),
        include_str!("../../../migrations/sqlite/tally/0003_rejected_passes.sql"),
        include_str!("../../../migrations/sqlite/tally/0004_signs_of_life.sql"),
        include_str!("../../../migrations/sqlite/tally/0005_logs.sql"),
        include_str!("../../../migrations/sqlite/tally/0006_passed_offsets.sql"),
        include_str!("../../../migrations/sqlite/tally/0007_counted.sql"),
        include_str!("../../../migrations/sqlite/tally/0008_record_timestamps.sql"),
        include_str!("../../../migrations/sqlite/tally/0009_outdated_by.sql"),
        include_str!("../../../migrations/sqlite/tally/0010_outbox.sql"),
        include_str!("../../../migrations/sqlite/tally/0011_files.sql"),
    ],
};

const TABLE: &str = "create table if not exists tally_migrations (\
    name text not null, version integer not null, applied_at text not null, primary key (name, version)) strict";

struct Record;

impl Statement for Record {
    const SQL: &'static str = "insert into tally_migrations (name, version, applied_at) \
        values (?, ?, strftime('%Y-%m-%d %H:%M:%f', 'now'))";
}

/// Applies the pending migrations of the ledger and of `flows`, all of them or nothing. Safe to run from several
/// processes at once: one does it and the others find it done.
pub(crate) fn run(
    connection: &mut SqliteConnection,
    settings: &Settings,
    flows: &[KnownFlow],
) -> Result<(), Fault> {
    KnownFlow::check(flows)?;
    let all = || std::iter::once(&LEDGER).chain(flows.iter().map(|known| &known.sqlite));
    let result = if settings.migrate {
        exclusive_transaction(connection, |connection| {
            connection.batch_execute(TABLE)?;
            all().try_for_each(|migrations| apply(connection, settings, migrations))?;
            described::check(connection, settings, flows)
        })
    } else {
        all()
            .try_for_each(|migrations| none_pending(connection, settings, migrations))
            .and_then(|()| described::check(connection, settings, flows))
    };
    result.map_err(|failure| match failure {
        Failure::Fault(fault) => fault,
        Failure::Database(error) => fault::at_open(&settings.path, &error),
    })
}

fn apply(
    connection: &mut SqliteConnection,
    settings: &Settings,
    migrations: &Migrations,
) -> Result<(), Failure> {
    let applied = applied(connection, settings, migrations)?;
    for (version, script) in (1_i32..).zip(migrations.scripts) {
        if version > applied {
            connection.batch_execute(script)?;
            execute::<Record>(connection, &[migrations.name.into(), version.into()])?;
        }
    }
    Ok(())
}

fn none_pending(
    connection: &mut SqliteConnection,
    settings: &Settings,
    migrations: &Migrations,
) -> Result<(), Failure> {
    let is_ours =
        sql_query("select count(*) as number from sqlite_schema where name = 'tally_migrations'");
    let applied = match is_ours.get_result(connection)? {
        Number { number: 0 } => 0,
        Number { .. } => applied(connection, settings, migrations)?,
    };
    let (name, wanted) = (migrations.name, migrations.version());
    if applied == wanted {
        return Ok(());
    }
    let message = format!(
        "database {} has {name} at version {applied}, this program needs {wanted}, and migrations are not allowed",
        settings.path.display()
    );
    Err(Fault::stop(StopKind::Setting, message).into())
}

/// The names whose migrations were applied.
pub(crate) fn names(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Name {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let found: Vec<Name> =
        sql_query("select distinct name from tally_migrations").load(connection)?;
    Ok(found.into_iter().map(|Name { name }| name).collect())
}

/// The database's version; it must not be newer than ours.
fn applied(
    connection: &mut SqliteConnection,
    settings: &Settings,
    migrations: &Migrations,
) -> Result<i32, Failure> {
    let (name, known) = (migrations.name, migrations.version());
    let Number { number } = sql_query(
        "select coalesce(max(version), 0) as number from tally_migrations where name = ?",
    )
    .bind::<Text, _>(name)
    .get_result(connection)?;
    if number > known {
        let path = settings.path.display();
        let message = format!(
            "database {path} is newer than this program: it has {name} at version {number}, we know {known}"
        );
        return Err(Fault::stop(StopKind::Setting, message).into());
    }
    Ok(number)
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Integer)]
    number: i32,
}
