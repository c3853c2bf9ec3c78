//! Companies, kept fresh from events that say how they are now, with their history; and insolvencies of organisations. They
//! share a database's views, so each brings the tables of both.

mod companies;
mod event;
mod insolvencies;

pub use companies::{Companies, SCHEMA};
pub use insolvencies::Insolvencies;

/// The name of the scripts that make the tables of both flows.
pub const MIGRATIONS: &str = "companies";

#[cfg(test)]
mod tests;
