//! `dead-letters`: lists, shows, replays, repairs, discards, exports and purges dead letters.

mod act;
mod arguments;
mod command;
mod console;
mod diff;
mod export;
mod json;
mod list;
mod replay;
mod report;
mod show;
mod stats;

use std::io::{self, stderr};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tally_app::{Flows, Layers, Settings, exit};
use tally_domain::Flow;
use tally_ports::{KnownFlow, Stop};

use crate::arguments::{Arguments, Command};
use crate::console::{Console, Ended};

/// The program, for these flows.
///
/// # Errors
/// When the runtime cannot be started.
pub fn main(flows: Vec<KnownFlow>) -> io::Result<ExitCode> {
    exit(async {
        let arguments = Arguments::parse();
        Box::pin(run(&arguments, &Flows::new(flows)?)).await // it is large
    })
}

/// The settings for one flow.
fn layers(arguments: &Arguments, flows: &Flows, flow: &dyn Flow) -> Result<Layers, Stop> {
    let flags = &arguments.flags;
    let mut given = flags.given();
    if let Some(Command::Repair(repair)) = &arguments.command {
        given.extend(repair.brokers.given());
    }
    Layers::load(Settings::default(), &flags.common, &given, flows, flow)
}

async fn run(arguments: &Arguments, flows: &Flows) -> Result<u8, Stop> {
    let flags = &arguments.flags;
    let layers = layers(arguments, flows, &*flows.first().flow)?;
    if flags.common.print_config {
        return Ok(tally_app::print(&layers.show()?));
    }
    let Some(command) = &arguments.command else {
        let message = "say what to do: list, show, stats, replay, repair, discard, export or purge";
        Arguments::command().error(ErrorKind::MissingSubcommand, message).exit()
    };
    let worker = match command {
        Command::Replay(_) | Command::Repair(_) => {
            tally_app::start("dead-letters", "schema registry", &layers.settings, stderr).await?
        }
        _ => tally_app::console("dead-letters", "schema registry", &layers.settings)?,
    };
    let shutdown = worker.shutdown.clone();
    let ended = async {
        let console = Console::open(&layers.settings, worker).await?;
        command::run(command, arguments, flows, &console).await
    };
    let code = ended.await.map_or_else(Ended::told, |()| 0);
    Ok(shutdown.exit_code().unwrap_or(code))
}
