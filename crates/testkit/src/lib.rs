//! For authors of adapters: the contract that every store must pass, a store in memory that passes it, and flows that
//! write in every way there is.
//!
//! The tests of a store make one empty database per test and tell how to look into it past the ports; the macros make one
//! test of each guarantee. The database needs the tables of [`Transactions`](tally_domain::transactions::Transactions),
//! [`Visits`](visits::Visits), [`Accounts`](accounts::Accounts) and [`Alerts`](alerts::Alerts); the crate that calls the macros needs `tokio` with
//! `macros` and `rt-multi-thread`.
//!
//! ```
//! use tally_testkit::contract::{Record, Store, Table};
//! use tally_testkit::memory::MemoryStore as YourStore;
//!
//! struct Database(YourStore); // the address of an empty database
//!
//! impl Store for Database {
//!     type Sink = YourStore;
//!
//!     async fn open(&self) -> YourStore {
//!         self.0.open().await // connect once more
//!     }
//!
//!     async fn read(&self, table: &'static Table) -> Vec<Record> {
//!         self.0.read(table).await // run `table.select(..)`
//!     }
//!
//!     async fn purge(&self, position: i64) {
//!         self.0.purge(position).await; // delete from dead_letters where position = ..
//!     }
//!
//!     async fn refuse_amounts_above(&self, limit: i64) {
//!         self.0.refuse_amounts_above(limit).await; // add a check to the table transactions
//!     }
//!
//!     async fn restart_logs(&self) {
//!         self.0.restart_logs().await; // update positions set log = log + 1 where ended_at is null
//!     }
//!
//!     async fn turn_clock_back_a_day(&self) {
//!         self.0.turn_clock_back_a_day().await; // see `tally_testkit::clock`
//!     }
//!
//!     fn refusal_code(&self) -> &'static str {
//!         self.0.refusal_code() // 23514 on Postgres
//!     }
//! }
//!
//! tally_testkit::store_contract!(async { Database(YourStore::default()) });
//! tally_testkit::server_contract!(async { Database(YourStore::default()) }); // several processes share it
//! ```
//!
//! A store that serves one worker takes [`single_contract!`] in place of [`server_contract!`]; one whose dead letters
//! can be replayed takes [`replay_contract!`] as well. For tests of code that uses a store, [`memory::MemoryStore`] fails on
//! request and [`build`] makes the values that cross the ports.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test helper fails the test by panicking: that is its contract"
)]

pub mod accounts;
pub mod alerts;
pub mod build;
pub mod clock;
pub mod contract;
pub mod memory;
pub mod visits;

mod poll;

pub use poll::eventually;
