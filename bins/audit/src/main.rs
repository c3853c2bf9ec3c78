//! `audit`: a proof that nothing was lost.

mod arguments;
mod files;
mod records;
mod report;
mod run;
mod topic;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tally_app::{Layers, Settings, exit, print, say};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::{Stop, StopKind};

use crate::arguments::Arguments;

fn main() -> io::Result<ExitCode> {
    exit(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let mut given = arguments.store.given();
    given.extend(arguments.topic.given());
    let common = &arguments.store.common;
    let layers = Layers::load(Settings::default(), common, given, Transactions::RULES)?;
    if common.print_config {
        return Ok(print(&layers.show()?));
    }
    let report = run::run::<Transactions>(arguments, &layers.settings).await?;
    let printed = print(&report.show(arguments.output));
    if printed != 0 {
        return Ok(printed);
    }
    let Some(summary) = report.violations_in_words() else { return Ok(0) };
    say(&format!("error: {summary}"));
    Ok(StopKind::Data.exit_code())
}
