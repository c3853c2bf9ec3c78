//! `producer`: CSV files of any flow, or generated records, to a Kafka topic.

mod arguments;
mod chunks;
mod output;
mod rate_limiter;
mod rejects;
mod send;
mod summary;

use std::io::{self, stderr};
use std::process::ExitCode;

use tally_app::{Flows, Layers, Settings, exit, print, print_logged};
use tally_ports::{KnownFlow, Stop, StopKind};

use crate::arguments::Arguments;

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
    let mut given = arguments.common.given();
    given.extend(arguments.topic.given());
    let layers = Layers::load(Settings::default(), &arguments.common, &given, flows, &*known.flow)?;
    if arguments.common.print_config {
        return Ok(print(&layers.show()?));
    }
    let worker = tally_app::start("producer", "kafka", &layers.settings, stderr).await?;
    let (summary, ended) = send::run(known, arguments, &layers.settings, &worker).await;
    if let Err(stop) = &ended {
        tracing::error!("{stop}");
    }
    let printed = print_logged(&summary.to_string());
    if printed != 0 {
        return Ok(printed);
    }
    let ended = ended.err().map(|stop| stop.kind).map(StopKind::exit_code);
    if let Some(code) = worker.shutdown.exit_code().or(ended) {
        return Ok(code);
    }
    let (read, left_out) = summary.left_out();
    if left_out == 0 || arguments.skip_invalid {
        return Ok(0);
    }
    let advice = if arguments.rejects.is_some() { "" } else { "; --rejects FILE keeps them" };
    tracing::error!(
        "{left_out} of {read} rows were not sent: correct them and send them again{advice}; --skip-invalid exits with 0"
    );
    Ok(StopKind::Data.exit_code())
}
