//! `producer` for the test flows alone.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    producer::main(tally_test_flows::all())
}
