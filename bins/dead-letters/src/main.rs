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

use std::io::{self, Write, stderr};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tally_app::{Layers, Settings};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::Stop;
use tokio::runtime::Runtime;

use crate::arguments::{Arguments, Command};
use crate::console::{Console, EXIT_OUTPUT, Ended, print};

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = Runtime::new()?;
    let code = match runtime.block_on(run(&arguments)) {
        Ok(code) => code,
        Err(stop) => {
            let _nobody_to_tell = writeln!(stderr(), "error: {stop}");
            stop.kind.exit_code()
        }
    };
    runtime.shutdown_background(); // whatever still waits for a locked file would hold up the end
    Ok(ExitCode::from(code))
}

async fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let flags = &arguments.flags;
    let layers =
        Layers::load(Settings::default(), &flags.common, flags.given(), Transactions::RULES)?;
    if flags.common.print_config {
        let Err(Ended::Output(what, error)) = print(&layers.show()?) else { return Ok(0) };
        let _nobody_to_tell = writeln!(stderr(), "error: cannot write to {what}: {error}");
        return Ok(EXIT_OUTPUT);
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
