//! The broker that keeps the offsets of a group or the state of transactions, or that creates topics.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep};

use crate::api::{Api, Call};
use crate::client::Client;
use crate::error::{About, Error};
use crate::metadata::{self, Brokers, address};

/// The pause before a coordinator is asked again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

const GROUP: i8 = 0;
const PRODUCER: i8 = 1;

/// What has a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Coordinated {
    /// A consumer group, by its name.
    Group(String),
    /// A producer, by its transactional id.
    Producer(String),
    /// The cluster's topics; theirs is the controller.
    Topics,
}

impl Client {
    /// Asks the coordinator, not above a version. Where it may have moved, is loading or is busy with the end of a
    /// transaction, it is looked for and asked again, for the request timeout at most. What is asked twice must have no other effect.
    pub(crate) async fn ask_coordinator<C: Call, T>(
        &self,
        of: &Coordinated,
        highest: i16,
        build: impl Fn(i16) -> C,
        read: impl Fn(&Arc<str>, C::Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.pool().settings().request_timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = async {
                let broker = self.coordinator(of).await?;
                let answer = self.pool().call(&broker, Duration::ZERO, highest, &build).await;
                answer.and_then(|answer| read(&broker, answer))
            };
            let error = match asked.await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !is_busy(&error) {
                self.coordinators().remove(of);
            }
            if !may_answer_soon(&error) || Instant::now() + pause > deadline {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn coordinator(&self, of: &Coordinated) -> Result<Arc<str>, Error> {
        let known = self.coordinators().get(of).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = match of {
            Coordinated::Group(name) => self.find_coordinator(GROUP, name).await?,
            Coordinated::Producer(id) => self.find_coordinator(PRODUCER, id).await?,
            Coordinated::Topics => self.find_controller().await?,
        };
        self.coordinators().insert(of.clone(), found.clone());
        Ok(found)
    }

    async fn find_coordinator(&self, kind: i8, key: &str) -> Result<Arc<str>, Error> {
        let (broker, answer) = self.ask_anyone(|_| request(kind, key)).await?;
        match ResponseError::try_from_code(answer.error_code) {
            None => Ok(address(&answer.host, answer.port)),
            Some(code) => {
                let (api, about) = (Api::FindCoordinator, About::default());
                Err(Error::Refused { broker, api, about, code })
            }
        }
    }

    /// With `KRaft` it is any broker, which passes on what it is asked.
    async fn find_controller(&self) -> Result<Arc<str>, Error> {
        let (broker, answer) = self.ask_anyone(|_| metadata::brokers()).await?;
        let found = Brokers::of(&answer).address(answer.controller_id.0);
        found.ok_or(Error::NoController { broker })
    }
}

pub(crate) fn request(kind: i8, key: &str) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default()
        .with_key(StrBytes::from_string(key.to_owned()))
        .with_key_type(kind)
}

/// The coordinator is the right one, and cannot answer yet.
fn is_busy(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(ResponseError::ConcurrentTransactions | ResponseError::CoordinatorLoadInProgress)
    )
}

fn may_answer_soon(error: &Error) -> bool {
    match error {
        Error::Refused { code, .. } | Error::NotCreated { code, .. } => matches!(
            code,
            ResponseError::ConcurrentTransactions
                | ResponseError::CoordinatorLoadInProgress
                | ResponseError::CoordinatorNotAvailable
                | ResponseError::NotCoordinator
                | ResponseError::NotController
        ),
        // Who is gone may have a successor.
        Error::Connect { .. } | Error::Lost { .. } | Error::NoController { .. } => true,
        _ => false,
    }
}
