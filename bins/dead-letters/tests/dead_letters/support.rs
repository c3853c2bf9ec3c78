//! Dead letters of `csv-runner`, a model that a test scripts, and `dead-letters` on what they leave behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_harness::job::{Job, Target};
use tally_harness::process::{Launch, Output};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

/// How long anything may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(45);

pub const HEADER: &str = "id;description;amount;timestamp;merchant;operation_type;side\n";

/// A valid row; one that is `bad` may be refused by the model.
pub fn row(id: u64, description: &str) -> String {
    format!("{id};\"{description}\";-1,50;2024-01-15 08:30:00;RATP;payment;debit\n")
}

/// A database, a model, and a folder for files.
pub struct Desk {
    pub target: Target,
    pub model: Model,
    folder: TempDir,
}

impl Desk {
    pub async fn new(target: Target) -> Self {
        Self { target, model: Model::start().await, folder: TempDir::new().unwrap() }
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A run of `csv-runner` over a file of these rows, in batches of 1,000. All of them may become dead letters.
    pub fn job(&self, name: &str, rows: &str) -> Job {
        let file = self.file(name, format!("{HEADER}{rows}"));
        let job = Job::new(&self.target.url()).model(&self.model.url()).file(file);
        job.env("TALLY_BUDGET__RATIO", "1")
    }

    /// Takes a file of these rows.
    pub fn ingest(&self, name: &str, rows: &str) {
        let output = self.job(name, rows).spawn().wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
    }

    /// `dead-letters` with these arguments.
    pub fn launch(&self, arguments: &[&str]) -> Launch {
        launch(&self.target.url(), &self.model.url(), arguments)
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.launch(arguments).spawn().wait(SOON)
    }

    /// What it prints when all goes well.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, Some(0), "{arguments:?}: {output}");
        output.stdout
    }

    /// The one object that it prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let [object] = self.lines(arguments).try_into().unwrap();
        object
    }

    /// The objects that it prints, line by line.
    #[track_caller]
    pub fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        objects(&self.done(&[arguments, &["--output", "json"]].concat()))
    }

    /// A replay's outcomes by position and its counts.
    #[track_caller]
    pub fn replay(&self, arguments: &[&str]) -> (Vec<(i64, String)>, Value) {
        replayed(self.lines(&[&["replay"], arguments].concat()))
    }

    /// Position, attempt and state of all dead letters, in order.
    pub async fn states(&self) -> Vec<String> {
        let sql = "select position, attempt, state from dead_letters order by stream, pass, position, attempt";
        self.texts(sql).await
    }

    /// The rows of a query as texts.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
        let rows = self.target.query(sql).await;
        rows.into_iter()
            .map(|row| row.into_iter().map(text).collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// The results of all acts of a verb, in order.
    pub async fn acts(&self, verb: &str) -> Vec<Value> {
        let sql = format!("select result from acts where verb = '{verb}' order by at, id");
        let results = self.texts(&sql).await;
        results.iter().map(|result| serde_json::from_str(result).unwrap()).collect()
    }

    /// The ids of dead letters in order of position.
    pub async fn ids(&self) -> Vec<String> {
        self.texts("select id from dead_letters order by stream, pass, position, attempt").await
    }

    /// Rows whose amount is above 100 are refused from now on. The tables must be there.
    pub async fn refuse_descriptions(&self) -> &'static str {
        match &self.target {
            Target::Postgres(database) => {
                let sql = "alter table transactions add constraint no_bad check (description not like '%bad%')";
                database.execute(sql).await;
                "23514"
            }
            Target::Sqlite(_) => {
                self.target.execute("create table refused (never check (false))").await;
                for when in ["insert", "update"] {
                    let sql = format!(
                        "create trigger no_bad_{when} before {when} on transactions \
                         when new.description like '%bad%' begin insert into refused values (1); end"
                    );
                    self.target.execute(&sql).await;
                }
                "constraint_check"
            }
        }
    }

    /// The cause is gone.
    pub async fn accept_descriptions(&self) {
        match &self.target {
            Target::Postgres(database) => {
                database.execute("alter table transactions drop constraint no_bad").await;
            }
            Target::Sqlite(_) => {
                self.target.execute("drop trigger no_bad_insert; drop trigger no_bad_update").await;
            }
        }
    }

    /// All that a replay must leave as it is: ledger and positions.
    pub async fn ledger(&self) -> Vec<String> {
        let batches =
            self.texts("select id, read, written, dead_lettered from batches order by id").await;
        let positions = self
            .texts("select id, next, epoch, stats, updated_at from positions order by id")
            .await;
        [batches, positions].concat()
    }
}

/// `dead-letters` with these arguments on a database.
pub fn launch(database_url: &str, model: &str, arguments: &[&str]) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_dead-letters"))
        .args(["--database-url", database_url, "--ml-url", model])
        .args(arguments)
        .env("USER", "ann")
}

/// Lines of JSON.
#[track_caller]
pub fn objects(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    text.lines().map(parse).collect()
}

/// A replay's outcomes by position and its counts.
pub fn replayed(mut lines: Vec<Value>) -> (Vec<(i64, String)>, Value) {
    let summary = lines.pop().unwrap();
    let outcome = |line: &Value| {
        (line["position"].as_i64().unwrap(), line["outcome"].as_str().unwrap().to_owned())
    };
    (lines.iter().map(outcome).collect(), summary["counts"].clone())
}

/// Outcomes as [`Desk::replay`] tells them.
pub fn outcomes<const N: usize>(expected: [(i64, &str); N]) -> Vec<(i64, String)> {
    expected.map(|(position, outcome)| (position, outcome.to_owned())).to_vec()
}

/// A model that a test tells what to do with records whose description contains `bad`.
pub struct Model {
    server: ScriptedServer,
    mode: Arc<AtomicUsize>,
    /// How many milliseconds it takes for an answer.
    delay: Arc<AtomicUsize>,
    /// From which request on answers wait.
    held_from: Arc<AtomicUsize>,
    released: watch::Sender<bool>,
}

const ANSWER: usize = 0;
const REFUSE: usize = 1;
const OMIT: usize = 2;
const AWAY: usize = 3;

impl Model {
    pub async fn start() -> Self {
        let (mode, delay) = (Arc::new(AtomicUsize::new(ANSWER)), Arc::<AtomicUsize>::default());
        let (held_from, released) =
            (Arc::new(AtomicUsize::new(usize::MAX)), watch::Sender::new(false));
        let (mode_now, delay_now) = (Arc::clone(&mode), Arc::clone(&delay));
        let (held_now, until) = (Arc::clone(&held_from), released.subscribe());
        let server = ScriptedServer::start(move |request| {
            let delay = Duration::from_millis(delay_now.load(Ordering::SeqCst) as u64);
            let reply = reply(request, mode_now.load(Ordering::SeqCst)).delay(delay);
            let is_held = request.number >= held_now.load(Ordering::SeqCst);
            if is_held { reply.held(until.clone()) } else { reply }
        });
        Self { server: server.await, mode, delay, held_from, released }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// It answers for all records.
    pub fn answer(&self) {
        self.mode.store(ANSWER, Ordering::SeqCst);
    }

    /// It refuses requests with a bad record.
    pub fn refuse(&self) {
        self.mode.store(REFUSE, Ordering::SeqCst);
    }

    /// It says nothing of bad records.
    pub fn omit(&self) {
        self.mode.store(OMIT, Ordering::SeqCst);
    }

    /// It answers 503.
    pub fn away(&self) {
        self.mode.store(AWAY, Ordering::SeqCst);
    }

    /// From now on it takes so many milliseconds for an answer.
    pub fn slow(&self, milliseconds: usize) {
        self.delay.store(milliseconds, Ordering::SeqCst);
    }

    /// It answers no more than so many requests before [`release`](Self::release).
    pub fn hold_after(&self, requests: usize) {
        self.held_from.store(requests, Ordering::SeqCst);
    }

    /// It answers all again.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Returns once so many requests have come.
    pub async fn until_requests(&self, count: usize) {
        self.server.until_requests(count).await;
    }

    pub fn requests(&self) -> usize {
        self.server.requests().len()
    }
}

fn reply(request: &Request, mode: usize) -> Reply {
    let records: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
    let is_bad = |record: &Value| record["description"].as_str().unwrap().contains("bad");
    if mode == AWAY {
        return Reply::status(503).header("retry-after", "0").body("busy");
    }
    if mode == REFUSE && records.iter().any(is_bad) {
        return Reply::status(422).body("it is bad");
    }
    let answered = records.iter().filter(|record| mode != OMIT || !is_bad(record));
    let answers = answered.map(|record| {
        let id: Uuid = record["id"].as_str().unwrap().parse().unwrap();
        json!({"transaction_id": id, "category": ml_api::category(id)})
    });
    Reply::json(answers.collect::<Value>().to_string())
}

/// How often each text occurs.
pub fn counted<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_insert(0) += 1;
    }
    counts
}

/// One test for each store.
macro_rules! on_both_stores {
    ($($name:ident)*) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::Desk::new(super::Target::sqlite()).await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::Desk::new(super::Target::postgres().await).await).await;
                }
            )*
        }
    };
}

pub(crate) use on_both_stores;
