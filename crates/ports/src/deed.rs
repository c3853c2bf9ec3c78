//! An act that takes its time.

use std::future::Future;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Act, Fault};

/// Where acts are written.
pub trait Acts: Send + Sync + 'static {
    /// Writes the row of `deed`, or what has come of it since.
    fn note(&self, deed: &Deed) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// An act in many transactions: one row of `acts`, whose result counts what each of them changed. So the counts hold
/// also when it is cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The id of the row.
    pub id: Uuid,
    /// Who does what and why. Its result is an object of counts.
    pub act: Act,
}

impl Deed {
    /// Nothing was done yet.
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
        let before = counts.get(what).and_then(Value::as_i64).unwrap_or(0);
        counts.insert(what.to_owned(), (before + count).into());
        Value::Object(counts)
    }
}
