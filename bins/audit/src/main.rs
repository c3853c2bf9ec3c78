//! `audit`: a proof that nothing was lost.

mod arguments;
mod files;
mod report;
mod run;
#[cfg(feature = "kafka")]
mod topic;

use std::io::{self, Write, stderr, stdout};
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
            say(&format!("error: {stop}"));
            stop.kind.exit_code()
        }
    };
    runtime.shutdown_background(); // whatever still waits for a locked file would hold up the end
    Ok(ExitCode::from(code))
}

async fn run(arguments: &Arguments) -> Result<u8, Stop> {
    #[cfg_attr(not(feature = "kafka"), expect(unused_mut, reason = "only brokers add to it"))]
    let mut given = arguments.store.given();
    #[cfg(feature = "kafka")]
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

/// Prints `text` on standard output; the exit code.
fn print(text: &str) -> u8 {
    let mut out = stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return 0 };
    say(&format!("error: cannot write to standard output: {error}"));
    EXIT_OUTPUT
}

fn say(text: &str) {
    let _nobody_to_tell = writeln!(stderr(), "{text}");
}
