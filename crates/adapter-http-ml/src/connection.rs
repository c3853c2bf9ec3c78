//! One request to the model and its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode};
use tally_domain::{AnswerField, ModelApi, Type};
use tally_ports::{Fault, Stop, StopKind};
use tokio::time::Instant;

use crate::answer::{self, Reply, Unfit};
use crate::clients::Clients;
use crate::endpoint::{Endpoint, shown};
use crate::inquiry::Question;
use crate::pace::Pace;
use crate::request_size::RequestSize;
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

/// How often a request is sent that is answered with 429.
const ATTEMPTS: u32 = 3;
/// A longer pause after a 429 is an outage.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many refused records without an accepted one are worth a warning.
const SUSPICIOUS: usize = 10;

/// The connections to the model.
#[derive(Debug)]
pub(crate) struct Connection {
    clients: Clients,
    endpoint: Endpoint,
    settings: Settings,
    api: Arc<ModelApi>,
    /// What the ids of records are.
    id_kind: Type,
    pace: Pace,
    size: RequestSize,
    /// Whether a fit answer was ever seen.
    is_proven: AtomicBool,
    /// How many records were refused by themselves.
    refused: AtomicUsize,
}

/// What the model says to a list that is not an outage by itself.
pub(crate) enum Said {
    /// The reply for each record; at least one is named.
    Answer(Vec<Reply>),
    /// A list that names none of the records.
    Nothing(Unfit),
    /// Something that cannot be read, and why.
    Unreadable(String),
    /// It refuses the list, with this status.
    Refusal(u16),
    /// It fails on the list: 500, where failures are isolated.
    Failure,
}

impl Connection {
    pub(crate) fn new(
        settings: &Settings,
        api: Arc<ModelApi>,
        id_kind: Type,
    ) -> Result<Self, Stop> {
        let endpoint = Endpoint::new(&settings.url, &api.path)?;
        let Settings { connect_timeout, answer_timeout, request_size, .. } = *settings;
        if connect_timeout.is_zero() || answer_timeout.is_zero() || request_size == 0 {
            let message = "a timeout of the model or ml.request_size is 0".into();
            return Err(Stop { kind: StopKind::Setting, message });
        }
        Ok(Self {
            clients: Clients::new(settings, &endpoint)?,
            settings: settings.clone(),
            api,
            id_kind,
            pace: Pace::new(settings.max_requests_per_second),
            size: RequestSize::new(request_size),
            is_proven: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            endpoint,
        })
    }

    /// How many records a question may have.
    pub(crate) fn request_size(&self) -> usize {
        self.size.now()
    }

    /// Posts a question; what the model says to it.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Said, Fault> {
        let asked = question.ids.len();
        let (response, sent) = self.send(question).await?;

        let limit = ANSWER_BYTES + self.bytes_per_record() * asked;
        let status = response.status();
        match status {
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                // Read to the end, so that the connection can be used again. What breaks off is no refusal.
                self.read(response, limit, asked).await?;
                self.note_refusal(asked);
                Ok(Said::Refusal(status.as_u16()))
            }
            StatusCode::INTERNAL_SERVER_ERROR if self.settings.isolate_errors => {
                self.read(response, limit, asked).await?;
                Ok(Said::Failure)
            }
            _ if status.is_success() => {
                let Some(body) = self.read(response, limit, asked).await? else {
                    return Ok(Said::Unreadable(format!(
                        "the answer is longer than {limit} bytes"
                    )));
                };
                self.size.answered(asked, sent.elapsed(), self.settings.answer_timeout);
                Ok(match answer::read(&body, &question.ids, &self.api, self.id_kind) {
                    Ok(answer) => {
                        self.is_proven.store(true, Ordering::Relaxed);
                        Said::Answer(answer)
                    }
                    Err(unfit @ (Unfit::NoFitItem | Unfit::NamesNone)) => Said::Nothing(unfit),
                    Err(unfit @ (Unfit::NotJson | Unfit::NoList)) => {
                        Said::Unreadable(unfit.told(&self.api))
                    }
                })
            }
            _ => Err(self.unfit(&response)),
        }
    }

    /// Sends the question when it is its turn; again, and slower, while it is answered with 429.
    /// When it was sent is told too.
    async fn send(&self, question: &Question<'_>) -> Result<(Response, Instant), Fault> {
        let mut attempt = 1;
        loop {
            let sent = self.pace.turn().await;
            let response = self
                .clients
                .send(&self.endpoint, question, self.is_proven())
                .await
                .map_err(|error| self.broken(&error, question.ids.len()))?;
            if response.status() != StatusCode::TOO_MANY_REQUESTS {
                self.pace.speed_up();
                return Ok((response, sent));
            }
            let pause = outage::retry_after(response.headers(), SystemTime::now());
            if pause > Some(LONGEST_PAUSE) || attempt == ATTEMPTS {
                return Ok((response, sent));
            }
            if let Some(rate) = self.pace.slow_down(sent, pause) {
                let what = format!("answered 429: sending at most {rate:.1} requests per second");
                tracing::warn!(dependency = "model", "{}", self.told(&what));
            }
            attempt += 1;
        }
    }

    fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    /// Counts a record that was refused by itself, and warns when the model has refused several and accepted none.
    fn note_refusal(&self, asked: usize) {
        if asked == 1
            && !self.is_proven()
            && self.refused.fetch_add(1, Ordering::Relaxed) + 1 == SUSPICIOUS
        {
            let what = format!(
                "refused {SUSPICIOUS} records and accepted none: check ml.url, and that the model takes \
                 records of this flow"
            );
            tracing::warn!(dependency = "model", "{}", self.told(&what));
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

    /// A question about `asked` records has no answer.
    fn broken(&self, error: &reqwest::Error, asked: usize) -> Fault {
        if let Some(fault) = tls::distrusted(error).filter(|_| !self.is_proven()) {
            return Fault::stop(StopKind::Setting, self.told(&fault));
        }
        let cause = outage::cause(error, &self.settings, &self.endpoint);
        if error.is_timeout() && !error.is_connect() {
            let next = self.size.timed_out(asked);
            return self.outage(&format!(
                "{cause} to a request of {asked} records: the next has {next} (ml.request_size); \
                 if the model needs longer, raise ml.answer_timeout"
            ));
        }
        self.outage(&cause)
    }

    /// The body; `None` if it is longer than `limit`.
    async fn read(
        &self,
        mut response: Response,
        limit: usize,
        asked: usize,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let announced = response
            .content_length()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or_default();
        let mut body = Vec::with_capacity(announced.min(limit));
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.broken(&error, asked))?
        {
            if body.len() + chunk.len() > limit {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    /// What a response means that is neither an answer nor a refusal.
    fn unfit(&self, response: &Response) -> Fault {
        let status = response.status();
        let leads_to = self.leads_to(response);
        let to_check = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(
                "check the user and password in its URL (ML_API_URL), ml.bearer_token or ml.headers"
                    .to_owned(),
            ),
            StatusCode::NOT_FOUND => Some(format!(
                "check its URL, to which /{} is appended (ML_API_URL)",
                self.api.path
            )),
            StatusCode::METHOD_NOT_ALLOWED => Some(format!(
                "POST is not allowed at {}: check its URL (ML_API_URL)",
                shown(&self.endpoint.url())
            )),
            _ => leads_to.as_ref().map(|to| {
                format!("it leads to {to}, and redirects are not followed: set its URL (ML_API_URL)")
            }),
        };
        if let Some(to_check) = to_check.filter(|_| !self.is_proven()) {
            let what = format!("answered {} to the first request: {to_check}", status.as_u16());
            return Fault::stop(StopKind::Setting, self.told(&what));
        }
        let hint = leads_to.map_or_else(String::new, |to| {
            format!(": it leads to {to}, and redirects are not followed")
        });
        Fault::Outage {
            message: self.told(&format!("answered {}{hint}", status.as_u16())),
            retry_after: outage::retry_after(response.headers(), SystemTime::now()),
        }
    }

    /// Where a redirect leads, without user, password and query.
    fn leads_to(&self, response: &Response) -> Option<String> {
        let location =
            response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
        let location = location?.to_str().ok()?;
        let url = self.endpoint.url().join(location).ok()?;
        Some(shown(&url))
    }
}
