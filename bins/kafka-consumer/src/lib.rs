//! `kafka-consumer`: a Kafka topic of any flow through its model into a database.

mod arguments;
mod compose;
mod positions;
mod tail;
mod top;

use std::io::{self, stderr};
use std::process::ExitCode;

use tally_app::{Flows, Layers, Settings, Span, exit, print};
use tally_ports::{KnownFlow, Stop};

use crate::arguments::{Arguments, Command};

/// The program, for these flows.
///
/// # Errors
/// When the runtime cannot be started.
pub fn main(flows: Vec<KnownFlow>) -> io::Result<ExitCode> {
    exit(async {
        let flows = Flows::new(flows)?;
        run(&flows.parse(), &flows).await
    })
}

async fn run(arguments: &Arguments, flows: &Flows) -> Result<u8, Stop> {
    let known = flows.chosen(&arguments.flow)?;
    let Arguments { flags, consumer, .. } = arguments;
    let mut given = flags.given();
    given.extend(consumer.given());
    let defaults = Settings { max_outage: Span::never(), ..Settings::default() };
    let layers = Layers::load(defaults, &flags.common, &given, flows, &*known.flow)?;
    if flags.common.print_config {
        return Ok(print(&layers.show()?));
    }
    let settings = layers.settings;
    match &arguments.command {
        Some(Command::Positions { command }) => {
            return positions::run(known, command, &settings).await;
        }
        Some(Command::Top { output }) => return top::run(flows, known, *output, &settings).await,
        Some(Command::Tail(tail)) => {
            let until_end = tail.until_end || arguments.until_end;
            return tail::run(known, tail, until_end, &settings).await;
        }
        None => {}
    }

    let worker = tally_app::start("kafka-consumer", "kafka", &settings, stderr).await?;
    let code = match compose::run(known, arguments, &settings, &worker).await {
        Ok(code) => code,
        // From here on messages go to the log.
        Err(stop) => {
            tracing::error!("{stop}");
            stop.kind.exit_code()
        }
    };
    Ok(worker.shutdown.exit_code().unwrap_or(code))
}
