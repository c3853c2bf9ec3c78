//! Whole old days of histories.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDateTime, NaiveTime, Utc};
use tally_domain::Flow;
use tally_ports::retention::{DELETED, RETENTION};
use tally_ports::{Act, Fault, LoggedAct, Retention};
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked for days that have become old.
const EVERY: Duration = Duration::from_hours(1);

/// How many rows a transaction deletes.
const AT_ONCE: usize = 10_000;

/// Deletes the days of a flow's histories that are older than is kept.
pub struct OldDays<S> {
    flow: Arc<dyn Flow>,
    store: Arc<S>,
    kept: Duration,
    who: String,
}

impl<S: Retention> OldDays<S> {
    /// Keeps whole days, as many as `kept` has, and today; each deletion is an act of `who`.
    pub fn new(flow: &Arc<dyn Flow>, store: &Arc<S>, kept: Duration, who: String) -> Self {
        Self { flow: Arc::clone(flow), store: Arc::clone(store), kept, who }
    }

    /// Deletes them now, and then each hour.
    pub async fn delete_each_hour(self: Arc<Self>) {
        let mut beat = interval(EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            self.delete().await;
        }
    }

    /// Deletes them now. What cannot be deleted is left for the next time.
    pub async fn delete(&self) {
        let Some(before) = self.before(Utc::now().naive_utc()) else { return };
        for history in self.flow.histories() {
            let table = &self.flow.tables()[history.versions].name;
            match self.delete_of(table, before).await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!(
                    "deleted {deleted} rows of {table} ingested before {}",
                    before.date()
                ),
                Err(fault) => {
                    tracing::warn!(
                        "rows of {table} ingested before {} are left for the next time: {fault}",
                        before.date()
                    );
                }
            }
        }
    }

    /// The first moment that is kept.
    fn before(&self, now: NaiveDateTime) -> Option<NaiveDateTime> {
        let days = i64::try_from(self.kept.as_secs() / (24 * 60 * 60)).ok()?;
        let day = now.date().checked_sub_signed(chrono::Duration::try_days(days)?)?;
        Some(day.and_time(NaiveTime::MIN))
    }

    async fn delete_of(&self, table: &str, before: NaiveDateTime) -> Result<i64, Fault> {
        let mut logged_act = LoggedAct::new(Act {
            who: self.who.clone(),
            verb: RETENTION,
            flow: self.flow.name().to_owned(),
            target: table.to_owned(),
            reason: "the setting retention".to_owned(),
            result: serde_json::Value::Null,
        });
        logged_act.act.result["before"] = before.to_string().into();
        let mut all = 0;
        loop {
            let deleted = self.store.delete_old(table, before, AT_ONCE, &logged_act).await?;
            logged_act.add(DELETED, deleted);
            all += deleted;
            if deleted < i64::try_from(AT_ONCE).unwrap_or(i64::MAX) {
                return Ok(all);
            }
        }
    }
}
