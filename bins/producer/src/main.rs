//! `producer` for the flows of this workspace.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    producer::main(tally_flows::all())
}
