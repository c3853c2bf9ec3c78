//! From a command to its module.

use tally_app::Flows;

use crate::arguments::{Arguments, Command};
use crate::console::{Console, Ended};
use crate::replay::Asked;
use crate::{act, export, list, replay, show, stats};

/// Runs `command`.
pub async fn run(
    command: &Command,
    arguments: &Arguments,
    flows: &Flows,
    console: &Console,
) -> Result<(), Ended> {
    let output = arguments.output;
    match command {
        Command::List(list) => list::run(list, output, console).await,
        Command::Show { id } => show::run(*id, output, console).await,
        Command::Stats { filters, state } => {
            stats::run(&filters.filter(&[], *state), output, console).await
        }
        Command::Replay(which) => {
            replay::run(Asked::to_replay(which), arguments, flows, console).await
        }
        Command::Repair(which) => {
            replay::run(Asked::to_repair(which), arguments, flows, console).await
        }
        Command::Discard { .. } | Command::Purge { .. } => act::run(command, output, console).await,
        Command::Export { ids, filters, state, file } => {
            export::run(&filters.filter(ids, *state), file.as_deref(), console).await
        }
    }
}
