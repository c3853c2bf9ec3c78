//! `kafka-consumer`: a Kafka topic through the model into a database.

mod arguments;
mod consume;
mod positions;
mod progress;
mod topic;

use std::io::{self, stderr};
use std::process::ExitCode;

use clap::Parser;
use tally_app::{Layers, Settings, Span, exit, print};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::{Stop, StopKind};

use crate::arguments::{Arguments, Command};

fn main() -> io::Result<ExitCode> {
    exit(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let Arguments { flags, consumer, .. } = arguments;
    let mut given = flags.given();
    given.extend(consumer.given());
    let defaults = Settings { max_outage: Span::never(), ..Settings::default() };
    let layers = Layers::load(defaults, &flags.common, given, Transactions::RULES)?;
    if flags.common.print_config {
        return Ok(print(&layers.show()?));
    }
    let settings = layers.settings;
    if let Some(Command::Positions { command }) = &arguments.command {
        return positions::run::<Transactions>(command, &settings).await;
    }

    let worker = tally_app::start("kafka-consumer", "kafka", &settings, stderr).await?;
    let stopped = match consume::run::<Transactions>(arguments, &settings, &worker).await {
        Ok(()) => None,
        // From here on what is said is a line of the log.
        Err(stop) => {
            tracing::error!("{stop}");
            Some(stop.kind)
        }
    };
    Ok(worker.shutdown.exit_code().or(stopped.map(StopKind::exit_code)).unwrap_or(0))
}
