//! SQLite passes the contract of the stores.

mod database;

use database::Database;

tally_testkit::store_contract!(async { Database::new() });
tally_testkit::single_contract!(async { Database::new() });
tally_testkit::redrive_contract!(async { Database::new() });
