//! `csv-runner`: CSV files through the model into a database.

mod arguments;
mod columns;
mod dry_run;
mod files;
mod rejection;
mod screen;
mod summary;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tally_app::{Layers, Settings, exit, print, print_logged};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::{Stop, StopKind};

use crate::arguments::Arguments;
use crate::screen::Screen;

fn main() -> io::Result<ExitCode> {
    exit(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let layers = Layers::load(
        Settings::default(),
        &arguments.flags.common,
        arguments.flags.given(),
        Transactions::RULES,
    )?;
    if arguments.flags.common.print_config {
        return Ok(print(&layers.show()?));
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

    let printed = if report.began { print_logged(&report.show(arguments.summary)) } else { 0 };
    if printed != 0 {
        return Ok(printed);
    }
    let stopped = report.stop.map(StopKind::exit_code);
    Ok(worker.shutdown.exit_code().or(stopped).unwrap_or(0))
}
