//! `producer`: CSV files to a Kafka topic.

mod arguments;
mod send;
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
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}

async fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let mut given = arguments.common.given();
    given.extend(arguments.topic.given());
    let layers =
        Layers::load(Settings::default(), &arguments.common, given, Transactions::RULES)?;
    if arguments.common.print_config {
        return Ok(print(&layers.show()?));
    }
    let worker = tally_app::start("producer", "kafka", &layers.settings, stderr).await?;
    let (summary, ended) = send::run(arguments, &layers.settings, &worker).await;
    if let Err(stop) = &ended {
        tracing::error!("{stop}");
    }
    let printed = print(&summary.to_string());
    if printed != 0 {
        return Ok(printed);
    }
    let stopped = ended.err().map(|stop| stop.kind).map(StopKind::exit_code);
    Ok(worker.shutdown.exit_code().or(stopped).unwrap_or(0))
}

/// Prints `text` on standard output; the exit code.
fn print(text: &str) -> u8 {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return 0 };
    let _nobody_to_tell = writeln!(stderr(), "error: cannot write to standard output: {error}");
    EXIT_OUTPUT
}
