//! The start of interactive programs.

use std::io::stderr;

use tally_ports::Stop;
use tally_telemetry::{Counts, Shutdown, logging};

use crate::settings::{Settings, wrong};
use crate::start::{Worker, process};
use crate::store::StoreUrl;

/// Starts logs and listens for signals, like [`start`](crate::start()) but without metrics and endpoints.
///
/// # Errors
/// When one of these settings is wrong.
pub fn console(binary: &str, source: &'static str, settings: &Settings) -> Result<Worker, Stop> {
    logging::start(&settings.log.level, settings.log.format, stderr)
        .map_err(|error| wrong(format!("setting log.level: {error}")))?;
    let shutdown =
        Shutdown::listen().map_err(|error| wrong(format!("cannot listen to signals: {error}")))?;
    let process = process(binary, source, settings, &shutdown);
    Ok(Worker { process, shutdown, counts: Counts::default() })
}

/// Refuses a file that does not exist, so that a read never creates a new store.
///
/// # Errors
/// When `settings.database_url` names such a file.
pub fn existing(settings: &Settings) -> Result<(), Stop> {
    let missing = match StoreUrl::of(&settings.database_url)? {
        StoreUrl::File(path) => Some(path).filter(|path| !path.exists()),
        #[cfg(feature = "postgres")]
        StoreUrl::Server => None,
    };
    match missing {
        Some(path) => {
            let path = path.display();
            Err(wrong(format!("there is no database {path}: check --database-url")))
        }
        None => Ok(()),
    }
}

/// `USER@HOST`, for the table of acts.
pub fn who(host: &str) -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    format!("{user}@{host}")
}
