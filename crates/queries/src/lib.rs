//! The ledger's SQL and its rows, where Postgres and SQLite share the same text.
//!
//! Parameters are `$1`, `$2`, ... and first appear in the order of their numbers: SQLite numbers them so.

pub mod audit;
pub mod counters;
pub mod dead_letters;
pub mod earlier;
pub mod files;
pub mod ledger;
pub mod outbox;
pub mod replay;
pub mod writes;
