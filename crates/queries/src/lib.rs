//! The ledger's SQL and the rows that it finds, as far as Postgres and SQLite understand the same text.
//!
//! Parameters are `$1`, `$2`, ... and each stands first in the order of its number: SQLite counts them so.

pub mod audit;
pub mod dead_letters;
pub mod earlier;
pub mod ledger;
pub mod replay;
pub mod writes;
