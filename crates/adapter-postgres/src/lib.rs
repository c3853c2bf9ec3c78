//! Sink, positions, leases, ledger and dead letters on Postgres.
