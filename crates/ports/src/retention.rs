//! Old rows of histories.

use std::future::Future;

use chrono::NaiveDateTime;

use crate::{Fault, LoggedAct};

/// The verb of acts that delete old rows.
pub const RETENTION: &str = "retention";

/// Where an act's result counts them.
pub const DELETED: &str = "deleted";

/// Deletes old rows of histories.
pub trait Retention: Send + Sync + 'static {
    /// Deletes rows of the appended `table` of a [`History`](tally_domain::History) that were ingested before `before`, at most
    /// `limit`, and counts them in the act as [`DELETED`], in one transaction. How many; none are left where that is less than
    /// `limit`. Where nothing is deleted the act is not written.
    fn delete_old(
        &self,
        table: &str,
        before: NaiveDateTime,
        limit: usize,
        logged_act: &LoggedAct,
    ) -> impl Future<Output = Result<i64, Fault>> + Send;
}
