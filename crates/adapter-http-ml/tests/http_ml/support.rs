//! Batches of transactions, and models that answer them as a test says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tally_adapter_http_ml::{Inquiry, Model, Settings};
use tally_domain::transactions::Transactions;
use tally_domain::{Field, Flow, Reason, Record};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_ports::{Answer, Answers, Enrich, Fault};
use tally_testkit::build;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a batch came to.
pub type Outcome = Result<Answers, Fault>;

/// The transaction with this id.
pub fn transaction(id: usize) -> Record {
    described(id, "coffee")
}

/// The transaction with this id and description.
pub fn described(id: usize, description: &str) -> Record {
    let mut fields = build::fields(id.try_into().unwrap(), "-3.50");
    fields[1] = Field::Text(description.into());
    fields[3] = Field::Text("2024-01-31 23:59:59".into());
    fields[4] = Field::Text("Café Zoë".into());
    build::record(fields, "")
}

/// The transactions with the ids from 1 to `count`.
pub fn batch(count: usize) -> Vec<Record> {
    (1..=count).map(transaction).collect()
}

/// The id's text.
pub fn id(number: usize) -> String {
    uuid::Uuid::from_u128(number.try_into().unwrap()).to_string()
}

/// The flow whose records they are.
pub fn transactions() -> Arc<dyn Flow> {
    Arc::new(Transactions::default())
}

/// The model at `url` with the default timeouts.
pub fn model_at(url: &str) -> Model {
    model_as(&Settings::new(url))
}

/// The model with these settings.
pub fn model_as(settings: &Settings) -> Model {
    Model::new(settings, &transactions()).unwrap()
}

/// Asks about all of the batch, or until a fault.
pub async fn ask(model: &Model, records: &[Record]) -> Outcome {
    ask_on(model, &mut inquiry(model, records)).await
}

/// The batch before its first request.
pub fn inquiry(model: &Model, records: &[Record]) -> Inquiry {
    model.begin(&records.iter().collect::<Vec<_>>()).unwrap()
}

/// Asks about what is left of the batch, or until a fault.
pub async fn ask_on(model: &Model, inquiry: &mut Inquiry) -> Outcome {
    loop {
        if let Some(answers) = ask_more(model, inquiry).await? {
            return Ok(answers);
        }
    }
}

/// Asks until the next answer.
pub async fn ask_more(model: &Model, inquiry: &mut Inquiry) -> Result<Option<Answers>, Fault> {
    model.ask(inquiry).await
}

/// Starts a model with this script and asks it once.
pub async fn ask_once(
    records: &[Record],
    script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Outcome, ScriptedServer) {
    let server = ScriptedServer::start(script).await;
    let outcome = ask(&model_at(&server.url()), records).await;
    (outcome, server)
}

/// The ids in a request, as numbers.
pub fn asked(request: &Request) -> Vec<usize> {
    let questions: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
    let id = |question: &Value| {
        let text = question["id"].as_str().unwrap().replace('-', "");
        usize::from_str_radix(&text, 16).unwrap()
    };
    questions.iter().map(id).collect()
}

/// The ids in each of the requests that came.
pub fn all_asked(server: &ScriptedServer) -> Vec<Vec<usize>> {
    server.requests().iter().map(asked).collect()
}

/// An answer with these categories.
pub fn answer<'a>(items: impl IntoIterator<Item = (usize, &'a str)>) -> Reply {
    let items: Vec<Value> = items
        .into_iter()
        .map(|(number, category)| json!({"transaction_id": id(number), "category": category}))
        .collect();
    Reply::json(serde_json::to_vec(&items).unwrap())
}

/// `Food` for each record asked for, unless `is_left_out`.
pub fn food_but(request: &Request, is_left_out: impl Fn(usize) -> bool) -> Reply {
    answer(
        asked(request)
            .into_iter()
            .filter(|&number| !is_left_out(number))
            .map(|number| (number, "Food")),
    )
}

/// `Food` for each record asked for.
pub fn food(request: &Request) -> Reply {
    food_but(request, |_| false)
}

/// Categories and codes, in the order of the records.
pub fn shown(outcome: Outcome) -> Vec<String> {
    let show = |result: Result<Answer, Reason>| match result {
        Ok(answer) => answer[0].as_str().unwrap().to_owned(),
        Err(reason) => format!("!{}", reason.code),
    };
    outcome.unwrap().into_iter().map(show).collect()
}

/// The message and the pause of an outage.
#[track_caller]
pub fn outage(outcome: Outcome) -> (String, Option<Duration>) {
    match outcome {
        Err(Fault::Outage { message, retry_after }) => (message, retry_after),
        other => panic!("no outage: {other:?}"),
    }
}

/// How a [`raw_server`] ends a connection.
#[derive(Clone, Copy)]
pub enum End {
    /// As usual.
    Close,
    /// So that the client's next read fails.
    Reset,
}

/// A server that reads a request's head and some of its body, sends these bytes and ends the connection; its URL.
pub async fn raw_server(answer: impl Into<Vec<u8>>, end: End) -> String {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            let mut read = 0;
            while !request[..read].windows(4).any(|end| end == b"\r\n\r\n") {
                read += client.read(&mut request[read..]).await.unwrap();
            }
            // The client may have gone away over it.
            let _ = client.write_all(&answer).await;
            match end {
                End::Close => drop(client.shutdown().await),
                End::Reset => client.set_zero_linger().unwrap(),
            }
        }
    });
    url
}
