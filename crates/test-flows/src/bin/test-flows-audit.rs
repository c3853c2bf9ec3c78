//! `audit` for the test flows alone.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    audit::main(tally_test_flows::all())
}
