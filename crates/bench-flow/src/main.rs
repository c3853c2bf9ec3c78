//! `kafka-consumer` for flows that only publish: what `just bench-publish` measures, and user logins without their counts, for
//! `just bench-logins`. A crate of its own, so that the
//! other benchmarks need not build it.

mod copies;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tally_domain::Flow;
use tally_ports::{KnownFlow, Migrations};
use tally_user_logins::UserLogins;

use self::copies::Copies;

fn main() -> io::Result<ExitCode> {
    let flows: [Arc<dyn Flow>; 2] = [Arc::new(Copies), Arc::new(UserLogins::without_counts())];
    let known = flows.map(|flow| {
        let name = if flow.name() == Copies::NAME { Copies::NAME } else { UserLogins::NAME };
        let no_tables = Migrations { name, scripts: &[] };
        let (postgres, sqlite) = (no_tables, no_tables);
        KnownFlow { flow, postgres, sqlite, avro: None, generator: None }
    });
    kafka_consumer::main(known.into())
}
