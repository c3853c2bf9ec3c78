//! `csv-runner` for the flows of this workspace.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    csv_runner::main(tally_flows::all())
}
