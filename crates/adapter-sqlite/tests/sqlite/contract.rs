//! SQLite passes the contract of the stores.

use crate::support::Database;

tally_testkit::store_contract!(async { Database::new() });
tally_testkit::single_contract!(async { Database::new() });
tally_testkit::replay_contract!(async { Database::new() });
