//! An act over several transactions.

use std::future::Future;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Act, Fault};

/// Where acts are written.
pub trait Acts: Send + Sync + 'static {
    /// Writes the row of `logged_act`, or updates its result.
    fn note(&self, logged_act: &LoggedAct) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// An act over many transactions: one row of `acts`, whose result counts what each of them changed. So the counts are
/// right even when it is interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedAct {
    /// The id of the row.
    pub id: Uuid,
    /// Who does what and why. Its result is an object of counts.
    pub act: Act,
}

impl LoggedAct {
    /// An act with no counts yet.
    pub fn new(act: Act) -> Self {
        let result = Value::Object(Map::new());
        Self { id: Uuid::now_v7(), act: Act { result, ..act } }
    }

    /// Counts `count` more of `what`.
    pub fn add(&mut self, what: &str, count: i64) {
        self.act.result = self.result_with(what, count);
    }

    /// The result with `count` more of `what`.
    pub fn result_with(&self, what: &str, count: i64) -> Value {
        let mut counts = self.act.result.as_object().cloned().unwrap_or_default();
        counts.insert(what.to_owned(), (count_of(&self.act.result, what) + count).into());
        Value::Object(counts)
    }

    /// How many more of `what` the act's row holds, whose result is `noted`: those of a transaction that was committed
    /// without an answer.
    pub fn unacknowledged(&self, what: &str, noted: &Value) -> i64 {
        count_of(noted, what) - count_of(&self.act.result, what)
    }
}

fn count_of(result: &Value, what: &str) -> i64 {
    result.get(what).and_then(Value::as_i64).unwrap_or(0)
}
