//! Versions of a database's tables.

use std::sync::Arc;

use tally_domain::{Flow, Raw, table};

use crate::{Stop, StopKind};

/// A named list of SQL scripts, applied in order and never changed once released.
///
/// A database remembers for each name how many scripts it has; it is newer than the program when it has more.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// The owner of the tables: `tally` for the ledger, else the flow's name, or one that several flows share, which then bring
    /// the same scripts.
    pub name: &'static str,
    /// The scripts; the first one makes version 1.
    pub scripts: &'static [&'static str],
}

impl Migrations {
    /// The version that this program wants.
    pub fn version(&self) -> i32 {
        i32::try_from(self.scripts.len()).unwrap_or(i32::MAX)
    }
}

/// A flow that a program knows, the scripts that make its tables in each store, and its schema.
#[derive(Clone, Debug)]
pub struct KnownFlow {
    pub flow: Arc<dyn Flow>,
    /// Its tables on Postgres.
    pub postgres: Migrations,
    /// Its tables on `SQLite`.
    pub sqlite: Migrations,
    /// The schema by which `producer` writes its records as Avro.
    pub avro: Option<&'static str>,
    /// What `producer` generates records with.
    pub generator: Option<Generator>,
}

/// Records of a topic without an end, always the same for a seed and a share of them, from 0 to 1, that has a fault.
pub type Generator = fn(seed: u64, spoil_share: f64) -> Box<dyn Iterator<Item = Raw> + Send>;

/// The tables of the engine itself.
const ENGINE: [&str; 9] = [
    "acts",
    "batches",
    "counted",
    "dead_letters",
    "files",
    "outbox",
    "positions",
    "tally_migrations",
    "workers",
];

impl KnownFlow {
    /// The tables that migrations are about to make: those of the names of which none `is_applied` yet, `tally` standing for
    /// the engine's.
    pub fn tables_to_make(flows: &[Self], is_applied: impl Fn(&str) -> bool) -> Vec<&str> {
        let engine = ENGINE.into_iter().filter(|_| !is_applied("tally"));
        let flows = flows.iter().filter(|known| !is_applied(known.postgres.name));
        engine
            .chain(flows.flat_map(|known| known.flow.tables()).map(|table| &*table.name))
            .collect()
    }

    /// Makes sure that the flows can work in one database.
    ///
    /// # Errors
    /// A wrong setting: a flow with an invalid description, two flows of one name, or two writers of one table.
    pub fn check(flows: &[Self]) -> Result<(), Stop> {
        let wrong = |message| Err(Stop { kind: StopKind::Setting, message });
        let mut writers: Vec<(&str, &str)> = ENGINE.map(|table| (table, "the engine")).into();
        for (index, Self { flow, .. }) in flows.iter().enumerate() {
            let name = flow.name();
            if flows[..index].iter().any(|other| other.flow.name() == name) {
                return wrong(format!("two flows are called {name}"));
            }
            if let Err(message) = table::check(&**flow) {
                return wrong(message);
            }
            for table in flow.tables() {
                if let Some((_, writer)) = writers.iter().find(|(other, _)| *other == table.name) {
                    return wrong(format!(
                        "the flow {name} writes {}, a table of {writer}",
                        table.name
                    ));
                }
                writers.push((&table.name, name));
            }
        }
        Ok(())
    }
}
