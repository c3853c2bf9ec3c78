//! Sink, positions, leases, ledger and dead letters on an embedded SQLite file.
