//! `audit`: a proof that nothing was lost.

mod arguments;
mod report;
mod run;

use std::io;
use std::process::ExitCode;

use tally_app::{Flows, Layers, Settings, exit, print, say};
use tally_ports::{KnownFlow, Stop, StopKind};

use crate::arguments::Arguments;
use crate::report::Report;

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
    let mut given = arguments.store.given();
    given.extend(arguments.topic.given());
    let common = &arguments.store.common;
    let layers =
        |known: &KnownFlow| Layers::load(Settings::default(), common, &given, flows, &*known.flow);
    if common.print_config {
        return Ok(print(&layers(flows.chosen(&arguments.flow)?)?.show()?));
    }
    let report = Report(run::run(flows, arguments, layers).await?);
    let printed = print(&report.show(arguments.output));
    if printed != 0 {
        return Ok(printed);
    }
    let Some(summary) = report.violations_in_words() else { return Ok(0) };
    say(&format!("error: {summary}"));
    Ok(StopKind::Data.exit_code())
}
