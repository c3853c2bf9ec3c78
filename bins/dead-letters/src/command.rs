//! From a command to its module.

use tally_app::Settings;
use tally_domain::transactions::Transactions;

use crate::arguments::{Command, Output};
use crate::console::{Console, Ended};
use crate::{act, export, list, replay, show, stats};

/// Does what `command` says.
pub async fn run(
    command: &Command,
    output: Output,
    settings: &Settings,
    console: &Console,
) -> Result<(), Ended> {
    match command {
        Command::List(list) => list::run(list, output, console).await,
        Command::Show { id } => show::run(*id, output, console).await,
        Command::Stats { filters, state } => {
            stats::run(&filters.choice(&[], *state), output, console).await
        }
        Command::Replay(replay) => {
            replay::run::<Transactions>(replay, output, settings, console).await
        }
        Command::Discard { .. } | Command::Purge { .. } => act::run(command, output, console).await,
        Command::Export { ids, filters, state, file } => {
            export::run(&filters.choice(ids, *state), file.as_deref(), console).await
        }
    }
}
