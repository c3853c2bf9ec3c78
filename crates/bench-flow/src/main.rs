//! `kafka-consumer` for a flow that only publishes: what `just bench-publish` measures. A crate of its own, so that the
//! other benchmarks need not build it.

mod copies;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tally_ports::{KnownFlow, Migrations};

use self::copies::Copies;

fn main() -> io::Result<ExitCode> {
    let no_tables = Migrations { name: Copies::NAME, scripts: &[] };
    kafka_consumer::main(vec![KnownFlow {
        flow: Arc::new(Copies),
        postgres: no_tables,
        sqlite: no_tables,
        avro: None,
    }])
}
