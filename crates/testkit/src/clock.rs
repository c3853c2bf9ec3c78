//! Statements that leave a database as a process does that was killed while the clock was a day ahead: what it noted of
//! leases and heartbeats lies a day further ahead.

/// For Postgres.
pub const POSTGRES_TURNED_BACK_A_DAY: &str = "
    update positions set updated_at = updated_at + interval '1 day', lease_until = lease_until + interval '1 day';
    update workers set seen_at = seen_at + interval '1 day', seen_until = seen_until + interval '1 day'";

/// For SQLite.
pub const SQLITE_TURNED_BACK_A_DAY: &str = "
    update positions set updated_at = strftime('%Y-%m-%d %H:%M:%f', updated_at, '+1 day'),
        lease_until = strftime('%Y-%m-%d %H:%M:%f', lease_until, '+1 day');
    update workers set seen_at = strftime('%Y-%m-%d %H:%M:%f', seen_at, '+1 day'),
        seen_until = strftime('%Y-%m-%d %H:%M:%f', seen_until, '+1 day')";
