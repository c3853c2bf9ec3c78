//! One request to the model and its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tally_domain::{AnswerField, ModelApi, Type, Value};
use tally_ports::{Fault, Stop, StopKind};

use crate::answer::{self, Reply, Unfit};
use crate::endpoint::Endpoint;
use crate::{Settings, outage, tls};

/// Bytes of an answer for each record: the id, the names of the fields and white space.
const ANSWER_BYTES_PER_RECORD: usize = 256;
/// As many of them may a character take, escaped as two halves of a surrogate pair.
const BYTES_PER_CHARACTER: usize = 12;
/// Bytes of a value that is no text, and of a text without a limit.
const VALUE_BYTES: usize = 32;
const TEXT_BYTES: usize = 4096;
/// Bytes of an answer besides.
const ANSWER_BYTES: usize = 64 * 1024;

/// Connections that were idle for this long are closed: before the servers close them that do so soonest (uvicorn,
/// after 5 s), for a request sent at that moment is lost.
const IDLE: Duration = Duration::from_secs(4);

/// The connections to the model.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    endpoint: Endpoint,
    settings: Settings,
    api: Arc<ModelApi>,
    /// What the ids of records are.
    id_kind: Type,
    /// Whether a fit answer was ever seen.
    is_proven: AtomicBool,
}

/// What the model answers that is not an outage by itself.
pub(crate) enum Response {
    /// The reply for each record; at least one is named.
    Answer(Vec<Reply>),
    /// A list that names none of the records.
    Nothing(Unfit),
    /// It refuses the list, with this status.
    Refusal(u16),
}

impl Connection {
    pub(crate) fn new(
        settings: &Settings,
        api: Arc<ModelApi>,
        id_kind: Type,
    ) -> Result<Self, Stop> {
        let endpoint = Endpoint::new(&settings.url, &api.path)?;
        let Settings { connect_timeout, answer_timeout, .. } = *settings;
        if connect_timeout.is_zero() || answer_timeout.is_zero() {
            return Err(Stop {
                kind: StopKind::Setting,
                message: "a timeout of the model is 0".into(),
            });
        }
        let client = tls::equip(Client::builder(), &endpoint)?
            .connect_timeout(connect_timeout)
            .timeout(answer_timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // A proxy named by the environment would see every record.
            .no_proxy()
            .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Stop {
                kind: StopKind::Setting,
                message: format!(
                    "cannot set up HTTP to the model at {endpoint}: {}",
                    outage::cause(&error, settings)
                ),
            })?;
        let (settings, is_proven) = (settings.clone(), AtomicBool::new(false));
        Ok(Self { client, endpoint, settings, api, id_kind, is_proven })
    }

    /// Posts `body`, the questions about the records `asked`, which holds no id twice.
    pub(crate) async fn ask(&self, body: Bytes, asked: &[&Value]) -> Result<Response, Fault> {
        let request = self
            .client
            .post(self.endpoint.url())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(body);
        let response = request.send().await.map_err(|error| self.broken(&error))?;

        let limit = ANSWER_BYTES + self.bytes_per_record() * asked.len();
        let status = response.status();
        match status {
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                // Read to the end, so that the connection can be used again. What breaks off is no refusal.
                self.read(response, limit).await?;
                Ok(Response::Refusal(status.as_u16()))
            }
            _ if status.is_success() => {
                let Some(body) = self.read(response, limit).await? else {
                    return Err(self.outage(&format!("the answer is longer than {limit} bytes")));
                };
                match answer::read(&body, asked, &self.api, self.id_kind) {
                    Ok(answer) => {
                        self.is_proven.store(true, Ordering::Relaxed);
                        Ok(Response::Answer(answer))
                    }
                    Err(unfit @ (Unfit::NoFitItem | Unfit::NamesNone)) => {
                        Ok(Response::Nothing(unfit))
                    }
                    Err(unfit @ (Unfit::NotJson | Unfit::NoList)) => {
                        Err(self.outage(&unfit.told(&self.api)))
                    }
                }
            }
            _ => Err(self.unfit(&response)),
        }
    }

    /// The most that an item of an answer takes.
    fn bytes_per_record(&self) -> usize {
        let bytes = |field: &AnswerField| match field.kind {
            Type::Text { limit: Some(limit) } => BYTES_PER_CHARACTER * limit,
            Type::Text { limit: None } | Type::Json => TEXT_BYTES,
            _ => VALUE_BYTES,
        };
        ANSWER_BYTES_PER_RECORD + self.api.answers.iter().map(bytes).sum::<usize>()
    }

    /// An outage, with the model's display name.
    pub(crate) fn outage(&self, what: &str) -> Fault {
        Fault::outage(self.told(what))
    }

    fn told(&self, what: &str) -> String {
        format!("model at {}: {what}", self.endpoint)
    }

    fn broken(&self, error: &reqwest::Error) -> Fault {
        self.outage(&outage::cause(error, &self.settings))
    }

    /// The body; `None` if it is longer than `limit`.
    async fn read(
        &self,
        mut response: reqwest::Response,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let announced = response
            .content_length()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or_default();
        let mut body = Vec::with_capacity(announced.min(limit));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len() + chunk.len() > limit {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    /// What a response means that is neither an answer nor a refusal.
    fn unfit(&self, response: &reqwest::Response) -> Fault {
        let status = response.status();
        let to_check = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "the user and password in its URL".to_owned()
            }
            StatusCode::NOT_FOUND => format!("its URL, to which /{} is appended", self.api.path),
            _ => String::new(),
        };
        if !to_check.is_empty() && !self.is_proven.load(Ordering::Relaxed) {
            let what = format!(
                "answered {} to the first request: check {to_check} (ML_API_URL)",
                status.as_u16()
            );
            return Fault::stop(StopKind::Setting, self.told(&what));
        }
        let hint = if status.is_redirection() { ": redirects are not followed" } else { "" };
        Fault::Outage {
            message: self.told(&format!("answered {}{hint}", status.as_u16())),
            retry_after: outage::retry_after(response.headers(), SystemTime::now()),
        }
    }
}
