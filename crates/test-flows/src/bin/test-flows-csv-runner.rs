//! `csv-runner` for the test flows alone.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    csv_runner::main(tally_test_flows::all())
}
