//! A model whose answers a test scripts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::SOON;

/// The ids of the records that a request asks about.
pub fn ids(request: &Request) -> Vec<Uuid> {
    let records: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
    records.iter().map(|record| record["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// What `ml-api` answers.
pub fn answer(request: &Request) -> Reply {
    let named = |id: Uuid| json!({"transaction_id": id, "category": ml_api::category(id)});
    Reply::json(ids(request).into_iter().map(named).collect::<Value>().to_string())
}

/// A model in phases: what it does with requests from now on, the test says.
pub struct PhasedModel {
    server: ScriptedServer,
    phase: Arc<Mutex<Phase>>,
    /// How many requests came in this phase.
    came: watch::Sender<usize>,
}

enum Phase {
    /// It answers as `ml-api` does.
    Up,
    /// It answers 503 and asks to come again at once.
    Down,
    /// It answers as `ml-api` does once the test lets it.
    Held(watch::Receiver<bool>),
}

impl PhasedModel {
    /// Up.
    pub async fn start() -> Self {
        let (phase, came) = (Arc::new(Mutex::new(Phase::Up)), watch::Sender::new(0));
        let (shared, count) = (Arc::clone(&phase), came.clone());
        let script = move |request: &Request| {
            let phase = shared.lock().unwrap();
            count.send_modify(|came| *came += 1);
            match &*phase {
                Phase::Up => answer(request),
                Phase::Down => Reply::status(503).header("retry-after", "0").body("busy"),
                Phase::Held(until) => answer(request).held(until.clone()),
            }
        };
        Self { server: ScriptedServer::start(script).await, phase, came }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Requests from now on are answered.
    pub fn up(&self) {
        self.enter(Phase::Up);
    }

    /// Requests from now on are answered with 503.
    pub fn down(&self) {
        self.enter(Phase::Down);
    }

    /// Requests from now on are answered once the sender sends true.
    pub fn hold(&self) -> watch::Sender<bool> {
        let (sender, until) = watch::channel(false);
        self.enter(Phase::Held(until));
        sender
    }

    /// Returns once so many requests came in this phase.
    pub async fn until_came(&self, count: usize) {
        let mut came = self.came.subscribe();
        let enough = timeout(SOON, came.wait_for(|&came| came >= count)).await;
        assert!(enough.is_ok(), "fewer than {count} requests came");
    }

    fn enter(&self, phase: Phase) {
        let mut current = self.phase.lock().unwrap();
        *current = phase;
        self.came.send_replace(0);
    }
}

/// A server whose answers to a list of records are made of one list of items per id; answers 422 to what is refused.
pub async fn by_id(items: BTreeMap<u128, Vec<Value>>, refused: Vec<u128>) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let ids = ids(request);
        if ids.iter().any(|id| refused.contains(&id.as_u128())) {
            return Reply::status(422).body("id 9 is odd");
        }
        let usual = |id: Uuid| vec![json!(ml_api::category(id))];
        let mut answer: Vec<Value> = Vec::new();
        for id in ids.into_iter().rev() {
            for category in items.get(&id.as_u128()).cloned().unwrap_or_else(|| usual(id)) {
                answer.push(json!({"transaction_id": id, "category": category}));
            }
        }
        answer.push(json!({"transaction_id": Uuid::from_u128(4711), "category": "Food"}));
        Reply::json(Value::from(answer).to_string())
    })
    .await
}
