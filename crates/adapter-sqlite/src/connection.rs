//! Opening connections.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use tally_ports::{Fault, KnownFlow, StopKind};

use crate::{Settings, fault, migrate};

/// FULL: a commit that was answered survives a power cut too. NORMAL, which syncs only when the log is written back, would
/// lose the last commits whole, position included, and was no more than 8 % faster in batches of 1,000 rows.
const DURABLE: &str = "pragma synchronous = full";

/// The 14 MiB that the pages of a batch may take, and the 16 MiB that the log may grow to before it is written back: keys at random
/// touch a page each.
const SIZES: [&str; 2] = ["pragma cache_size = -14336", "pragma wal_autocheckpoint = 4096"];

/// Between two attempts at what SQLite does not wait for by itself.
const PAUSE: Duration = Duration::from_millis(5);

/// Opens the database and brings its tables up to date.
pub(crate) fn open(settings: &Settings, flows: &[KnownFlow]) -> Result<SqliteConnection, Fault> {
    let mut connection = open_to_read(settings, flows)?;
    tune(&mut connection, settings)?;
    refuse_read_only(&mut connection, settings)?;
    Ok(connection)
}

/// Opens the database and brings its tables up to date, or makes sure that they are, as the settings say.
pub(crate) fn open_to_read(
    settings: &Settings,
    flows: &[KnownFlow],
) -> Result<SqliteConnection, Fault> {
    let path = &settings.path;
    if !settings.migrate && !path.exists() {
        let message =
            format!("there is no database {} and migrations are not allowed", path.display());
        return Err(Fault::stop(StopKind::Setting, message));
    }
    let mut connection = establish(settings)?;
    migrate::run(&mut connection, settings, flows)?;
    Ok(connection)
}

/// Opens a database that was open before.
pub(crate) fn connect(settings: &Settings) -> Result<SqliteConnection, Fault> {
    let mut connection = establish(settings)?;
    tune(&mut connection, settings)?;
    Ok(connection)
}

fn establish(settings: &Settings) -> Result<SqliteConnection, Fault> {
    let path = &settings.path;
    let cannot = |why: &str| {
        let message = format!("cannot open the database {}: {why}", path.display());
        Fault::stop(StopKind::Setting, message)
    };
    let file = plain(path);
    let file = file.to_str().ok_or_else(|| cannot("its path is not UTF-8"))?;
    let mut connection =
        SqliteConnection::establish(file).map_err(|error| cannot(&error.to_string()))?;
    wait_for_others(&mut connection, path, settings.lease)?;
    Ok(connection)
}

/// How long a statement waits for what another connection holds.
fn wait_for_others(
    connection: &mut SqliteConnection,
    path: &Path,
    time: Duration,
) -> Result<(), Fault> {
    let pragma = format!("pragma busy_timeout = {}", time.as_millis().min(i32::MAX as u128));
    connection.batch_execute(&pragma).map_err(|error| fault::at_open(path, &error))
}

/// Where another process has it open, a read-only file is only noticed on a write. That check comes before any lock, so it
/// does not wait for a writer.
fn refuse_read_only(connection: &mut SqliteConnection, settings: &Settings) -> Result<(), Fault> {
    let path = &settings.path;
    wait_for_others(connection, path, Duration::ZERO)?;
    match connection.batch_execute("delete from tally_migrations where false") {
        Err(error) if !fault::is_locked(&error) => return Err(fault::at_open(path, &error)),
        _ => {}
    }
    wait_for_others(connection, path, settings.lease)
}

/// A path that SQLite always takes for a file, even if it is called `file:x` or `:memory:`.
fn plain(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

fn tune(connection: &mut SqliteConnection, settings: &Settings) -> Result<(), Fault> {
    let path = &settings.path;
    let mode =
        write_ahead(connection, settings.lease).map_err(|error| fault::at_open(path, &error))?;
    if mode.journal_mode != "wal" {
        let message =
            format!("{}: its file system has no write-ahead log; use a local one", path.display());
        return Err(Fault::stop(StopKind::Setting, message));
    }
    SIZES
        .iter()
        .chain([&DURABLE])
        .try_for_each(|pragma| connection.batch_execute(pragma))
        .map_err(|error| fault::at_open(path, &error))
}

/// Turns the write-ahead log on. That needs exclusive use of a new file, and SQLite does not wait by itself for other
/// processes that open it too.
fn write_ahead(connection: &mut SqliteConnection, lease: Duration) -> QueryResult<JournalMode> {
    let began = Instant::now();
    loop {
        match sql_query("pragma journal_mode = wal").get_result(connection) {
            Err(error) if fault::is_locked(&error) && began.elapsed() < lease => {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_always_a_files() {
        for name in [":memory:", "file:x?mode=memory", "sqlite://x", "tally.db"] {
            assert_eq!(plain(Path::new(name)).to_str(), Some(&*format!("./{name}")));
        }
        assert_eq!(plain(Path::new("/x/tally.db")), Path::new("/x/tally.db"));
    }
}
