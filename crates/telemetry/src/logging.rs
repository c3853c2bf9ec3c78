//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Pretty on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For reading on a terminal.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Sends all log lines to `writer` from now on. A second call changes nothing.
///
/// # Errors
/// When `levels` (`info`, or `warn,tally_pipeline=debug`) cannot be read.
pub fn start<W>(levels: &str, format: Format, writer: W) -> Result<(), String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A bare word that is not a level would be taken for a crate: everything of it would be logged, and nothing else.
    for word in levels.split(',').filter(|directive| !directive.contains('=')) {
        if word.parse::<LevelFilter>().is_err() {
            return Err(format!("{word} is not one of off, error, warn, info, debug, trace"));
        }
    }
    let filter = levels.parse::<Targets>().map_err(|error| format!("{levels}: {error}"))?;
    let is_terminal = stderr().is_terminal();
    let pretty = format == Format::Pretty || (format == Format::Auto && is_terminal);
    let layer = fmt::layer().with_writer(writer).with_ansi(is_terminal).with_target(false);
    let layer =
        if pretty { layer.compact().boxed() } else { layer.json().flatten_event(true).boxed() };
    let _already_started =
        tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    Ok(())
}
