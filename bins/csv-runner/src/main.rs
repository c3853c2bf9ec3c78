//! `csv-runner`: CSV files through the model into a database.

mod arguments;
mod columns;
mod dry_run;
mod files;
mod screen;
mod summary;

use std::io::{self, Write, stderr};
use std::process::ExitCode;

use clap::Parser;
use tally_app::{Layers, Settings};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::{Stop, StopKind};
use tokio::runtime::Runtime;

use crate::arguments::Arguments;
use crate::screen::Screen;

/// Standard output cannot be written.
const EXIT_OUTPUT: u8 = 74;

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
    let layers = Layers::load(
        Settings::default(),
        &arguments.flags.common,
        arguments.flags.given(),
        Transactions::RULES,
    )?;
    if arguments.flags.common.print_config {
        let shown = layers.show()?;
        let Err(error) = summary::print(&shown) else { return Ok(0) };
        let _nobody_to_tell = writeln!(stderr(), "error: cannot write to standard output: {error}");
        return Ok(EXIT_OUTPUT);
    }
    let screen = Screen::new();
    let worker =
        tally_app::start("csv-runner", "file", &layers.settings, screen.log_writer()).await?;
    let report = files::run::<Transactions>(arguments, &layers.settings, &worker, &screen).await;
    screen.close();
    let report = match report {
        Ok(report) => report,
        // From here on what is said is a line of the log.
        Err(stop) => {
            tracing::error!("{stop}");
            return Ok(stop.kind.exit_code());
        }
    };

    if report.began
        && let Err(error) = summary::print(&report.show(arguments.summary))
    {
        tracing::error!("cannot write to standard output: {error}");
        return Ok(EXIT_OUTPUT);
    }
    let stopped = report.stop.map(StopKind::exit_code);
    Ok(worker.shutdown.exit_code().or(stopped).unwrap_or(0))
}
