//! `dead-letters` for the flows of this workspace.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    dead_letters::main(tally_flows::all())
}
