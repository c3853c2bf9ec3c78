//! Versions of a database's tables.

use std::sync::Arc;

use tally_domain::Flow;

/// A named list of SQL scripts, applied in order and never changed once released.
///
/// A database remembers for each name how many scripts it has; it is newer than the program when it has more.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// The owner of the tables: `tally` for the ledger, else the flow's name.
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
    /// The flow.
    pub flow: Arc<dyn Flow>,
    /// Its tables on Postgres.
    pub postgres: Migrations,
    /// Its tables on `SQLite`.
    pub sqlite: Migrations,
    /// The schema by which `producer` writes its records as Avro.
    pub avro: Option<&'static str>,
}
