//! `csv-runner`: CSV files of any flow through its model into a database.

mod arguments;
mod compose;
mod screen;
mod summary;

use std::io;
use std::process::ExitCode;

use tally_app::{Flows, Layers, Settings, Span, exit, print, print_logged};
use tally_ports::{KnownFlow, Stop, StopKind};
use tally_runs::files::Watch;

use crate::arguments::Arguments;
use crate::screen::Screen;

/// The program, for these flows.
///
/// # Errors
/// When the runtime cannot be started.
pub fn main(flows: Vec<KnownFlow>) -> io::Result<ExitCode> {
    exit(async {
        let flows = Flows::new(flows)?;
        Box::pin(run(&flows.parse(), &flows)).await // it is large
    })
}

async fn run(arguments: &Arguments, flows: &Flows) -> Result<u8, Stop> {
    let known = flows.chosen(&arguments.flow)?;
    let (common, given) = (&arguments.flags.common, arguments.flags.given());
    // As a consumer of a topic, who watches a place waits for whatever is away.
    let defaults = match arguments.watch {
        Some(_) => Settings { max_outage: Span::never(), ..Settings::default() },
        None => Settings::default(),
    };
    let layers = Layers::load(defaults, common, &given, flows, &*known.flow)?;
    if arguments.flags.common.print_config {
        return Ok(print(&layers.show()?));
    }
    let screen = Screen::new();
    let worker =
        tally_app::start("csv-runner", "file", &layers.settings, screen.log_writer()).await?;
    let report = compose::run(known, arguments, &layers.settings, &worker, &screen).await;
    screen.close();
    let report = match report {
        Ok(report) => report,
        // From here on messages go to the log.
        Err(stop) => {
            tracing::error!("{stop}");
            return Ok(stop.kind.exit_code());
        }
    };

    let printed =
        if report.began { print_logged(&summary::show(&report, arguments.summary)) } else { 0 };
    if printed != 0 {
        return Ok(printed);
    }
    let stopped = report.stop.map(StopKind::exit_code);
    Ok(worker.shutdown.exit_code().or(stopped).unwrap_or(0))
}
