//! Commits that stand still in the middle, while they hold their position.

use std::time::Duration;

use tally_harness::eventually;
use tally_harness::postgres::TestDatabase;
use tokio_postgres::Client;

const PATIENCE: Duration = Duration::from_secs(20);

/// From now on whoever writes transactions locks its position and then waits.
pub struct Freezing {
    lock: Client,
}

impl Freezing {
    /// The database needs its tables.
    pub async fn begin(database: &TestDatabase) -> Self {
        let lock = database.connect().await;
        let held = "
            select pg_advisory_lock(7);
            create function stand_still() returns trigger language plpgsql as $$
            begin
                perform from positions where id = new.origin for update;
                perform pg_advisory_xact_lock_shared(7);
                return new;
            end $$;
            create trigger stand_still before insert on transactions for each row execute function stand_still()";
        lock.batch_execute(held).await.unwrap();
        Self { lock }
    }

    /// Returns once so many commits stand still.
    pub async fn until(&self, commits: i64) {
        let sql = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event = 'advisory'";
        let waiting = async || self.lock.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        eventually(PATIENCE, async || waiting().await == commits).await;
    }

    /// The server goes on with all of them.
    pub async fn end(self) {
        self.lock.batch_execute("select pg_advisory_unlock(7)").await.unwrap();
    }
}
