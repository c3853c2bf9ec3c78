//! The flows that the programs know, by name. Nothing else names one.

use std::sync::Arc;

use tally_domain::transactions::Transactions;
use tally_ports::{KnownFlow, Migrations};

/// All of them; the first is the one that is meant where none is named.
pub fn all() -> Vec<KnownFlow> {
    vec![
        transactions(),
        #[cfg(feature = "user-logins")]
        user_logins(),
        #[cfg(feature = "companies")]
        companies(),
        #[cfg(feature = "companies")]
        insolvencies(),
    ]
}

fn transactions() -> KnownFlow {
    KnownFlow {
        flow: Arc::new(Transactions::default()),
        postgres: Migrations {
            name: Transactions::NAME,
            scripts: &[
                include_str!("../../../migrations/postgres/transactions/0001_transactions.sql"),
                include_str!("../../../migrations/postgres/transactions/0002_replay.sql"),
                include_str!("../../../migrations/postgres/transactions/0003_refusals.sql"),
                include_str!("../../../migrations/postgres/transactions/0004_no_functions.sql"),
            ],
        },
        sqlite: Migrations {
            name: Transactions::NAME,
            scripts: &[include_str!(
                "../../../migrations/sqlite/transactions/0001_transactions.sql"
            )],
        },
        avro: Some(include_str!("../../../infra/schemas/transactions_v1.avsc")),
        generator: None,
    }
}

#[cfg(feature = "user-logins")]
fn user_logins() -> KnownFlow {
    use tally_user_logins::UserLogins;

    KnownFlow {
        flow: Arc::new(UserLogins::default()),
        postgres: Migrations {
            name: UserLogins::NAME,
            scripts: &[include_str!("../../../migrations/postgres/user-logins/0001_counts.sql")],
        },
        sqlite: Migrations {
            name: UserLogins::NAME,
            scripts: &[include_str!("../../../migrations/sqlite/user-logins/0001_counts.sql")],
        },
        avro: None,
        #[cfg(feature = "generators")]
        generator: Some(|seed, spoil_share| Box::new(tally_sample::Logins::new(seed, spoil_share))),
        #[cfg(not(feature = "generators"))]
        generator: None,
    }
}

#[cfg(feature = "companies")]
fn companies() -> KnownFlow {
    KnownFlow {
        flow: Arc::new(tally_companies::Companies::default()),
        postgres: Migrations {
            name: tally_companies::MIGRATIONS,
            scripts: &[include_str!("../../../migrations/postgres/companies/0001_companies.sql")],
        },
        sqlite: Migrations {
            name: tally_companies::MIGRATIONS,
            scripts: &[include_str!("../../../migrations/sqlite/companies/0001_companies.sql")],
        },
        avro: None,
        #[cfg(feature = "generators")]
        generator: Some(|seed, share| Box::new(tally_sample::Companies::new(seed, share))),
        #[cfg(not(feature = "generators"))]
        generator: None,
    }
}

#[cfg(feature = "companies")]
fn insolvencies() -> KnownFlow {
    KnownFlow {
        flow: Arc::new(tally_companies::Insolvencies::default()),
        generator: None,
        ..companies()
    }
}
