//! `dead-letters` for the test flows alone.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    dead_letters::main(tally_test_flows::all())
}
