//! `dead-letters`: lists, shows, replays, discards, exports and purges dead letters.

mod act;
mod arguments;
mod bytes;
mod command;
mod console;
mod decode;
mod export;
mod json;
mod list;
mod replay;
mod report;
mod show;
mod stats;
mod table;

use std::io::{self, stderr};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tally_app::{Layers, Settings, exit};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::Stop;

use crate::arguments::{Arguments, Command};
use crate::console::{Console, Ended};

fn main() -> io::Result<ExitCode> {
    exit(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let flags = &arguments.flags;
    let layers =
        Layers::load(Settings::default(), &flags.common, flags.given(), Transactions::RULES)?;
    if flags.common.print_config {
        return Ok(tally_app::print(&layers.show()?));
    }
    let Some(command) = &arguments.command else {
        let message = "say what to do: list, show, stats, replay, discard, export or purge";
        Arguments::command().error(ErrorKind::MissingSubcommand, message).exit()
    };
    let worker = match command {
        Command::Replay(_) => {
            tally_app::start("dead-letters", "schema registry", &layers.settings, stderr).await?
        }
        _ => tally_app::console("dead-letters", "schema registry", &layers.settings)?,
    };
    let shutdown = worker.shutdown.clone();
    let ended = async {
        let console = Console::open::<Transactions>(&layers.settings, worker).await?;
        command::run(command, arguments.output, &layers.settings, &console).await
    };
    let code = ended.await.map_or_else(Ended::told, |()| 0);
    Ok(shutdown.exit_code().unwrap_or(code))
}
