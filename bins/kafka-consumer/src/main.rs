//! `kafka-consumer` for the flows of this workspace.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    kafka_consumer::main(tally_flows::all())
}
