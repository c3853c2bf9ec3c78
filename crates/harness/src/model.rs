//! A model that a test lets answer only so much.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::http::{Reply, Request, ScriptedServer};

/// What `ml-api` answers.
pub fn answer(request: &Request) -> Reply {
    let records: Vec<Value> = serde_json::from_slice(&request.body).expect("a list of records");
    let answers = records.iter().map(|record| {
        let id = record["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()).expect("an id");
        json!({"transaction_id": id, "category": ml_api::category(id)})
    });
    Reply::json(answers.collect::<Value>().to_string())
}

/// Answers as `ml-api` does, but only as many requests as the test allows: a run comes so far and is still at work
/// whenever the test looks, however late that is on a busy machine.
pub struct RationedModel {
    server: ScriptedServer,
    ration: Arc<Mutex<Ration>>,
}

struct Ration {
    left: usize,
    released: watch::Sender<bool>,
}

impl RationedModel {
    /// Answers nothing yet.
    pub async fn start() -> Self {
        let ration = Arc::new(Mutex::new(Ration { left: 0, released: watch::Sender::new(false) }));
        let shared = Arc::clone(&ration);
        let server = ScriptedServer::start(move |request| {
            let Ration { left, released } = &mut *shared.lock().unwrap();
            match left.checked_sub(1) {
                Some(rest) => {
                    *left = rest;
                    answer(request)
                }
                None => answer(request).held(released.subscribe()),
            }
        });
        Self { server: server.await, ration }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The next `requests` are answered; those after them wait.
    pub fn allow(&self, requests: usize) {
        *self.ration.lock().unwrap() =
            Ration { left: requests, released: watch::Sender::new(false) };
    }

    /// All are answered until the next [`allow`](Self::allow), those that wait among them.
    pub fn release(&self) {
        self.ration.lock().unwrap().released.send_replace(true);
    }
}
