//! One connection to one broker.

mod conversation;
mod pipeline;
mod pool;
mod transport;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep_until, timeout};

use self::conversation::{Conversation, frame};
pub(crate) use self::pipeline::Pipeline;
pub(crate) use self::pool::Pool;
use self::transport::Transport;
use self::versions::Versions;
use crate::api::{Api, Call};
use crate::client::Settings;
use crate::error::Error;
use crate::security::sasl;

/// A broker closes what is silent for ten minutes; some clouds do so after four.
const LONGEST_IDLE: Duration = Duration::from_mins(3);
/// What is left of a login's lifetime is not used.
const LIFETIME_USED: f64 = 0.9;

/// One connection to one broker, which answers one request after the other.
///
/// It is not usable after an error, a timeout or a call that was dropped, as an answer may still be on its way: whoever
/// has it drops it then. [`Pool`] does.
pub(crate) struct Connection {
    transport: Transport,
    broker: Arc<str>,
    client_id: StrBytes,
    versions: Versions,
    sent: i32,
    limit: Duration,
    max_answer_bytes: usize,
    /// The broker reads nothing before.
    throttled_until: Option<Instant>,
    /// It is not used any more after this.
    expires: Option<Instant>,
    /// The end of an answer was left unread, and whatever comes behind it.
    is_spent: bool,
    used: Instant,
}

impl Connection {
    /// Connects, encrypts, asks for the broker's versions and logs in.
    pub(crate) async fn open(settings: &Settings, broker: &Arc<str>) -> Result<Self, Error> {
        let limit = settings.connect_timeout;
        match timeout(limit, Self::open_without_limit(settings, broker)).await {
            Ok(result) => result,
            Err(_) => Err(Error::ConnectTimeout { broker: broker.clone(), limit }),
        }
    }

    async fn open_without_limit(settings: &Settings, broker: &Arc<str>) -> Result<Self, Error> {
        let transport = Transport::open(broker, settings.security.tls.as_ref()).await?;
        let mut connection = Self {
            transport,
            broker: broker.clone(),
            client_id: StrBytes::from_string(settings.client_id.clone()),
            versions: Versions::default(),
            sent: 0,
            limit: settings.request_timeout,
            max_answer_bytes: settings.max_answer_bytes,
            throttled_until: None,
            expires: None,
            is_spent: false,
            used: Instant::now(),
        };
        connection.versions = versions::ask(&mut connection).await?;
        if let Some(sasl) = &settings.security.sasl {
            let lifetime = sasl::log_in(&mut connection, sasl).await?;
            connection.expires =
                lifetime.map(|lifetime| Instant::now() + lifetime.mul_f64(LIFETIME_USED));
        }
        Ok(connection)
    }

    pub(crate) fn broker(&self) -> &Arc<str> {
        &self.broker
    }

    /// Whether it can be used again, and the broker probably still has it.
    fn is_fresh(&self) -> bool {
        let now = Instant::now();
        let is_expired = self.expires.is_some_and(|expires| now >= expires);
        !self.is_spent && !is_expired && now < self.used + LONGEST_IDLE
    }

    /// Sends a request in the highest version that both sides speak, which it is built for.
    pub(crate) async fn call<C: Call>(
        &mut self,
        build: impl FnOnce(i16) -> C,
    ) -> Result<C::Answer, Error> {
        self.call_with(Duration::ZERO, i16::MAX, build).await
    }

    /// The same, not above a version, for a broker that takes its time to answer.
    pub(crate) async fn call_with<C: Call>(
        &mut self,
        wait: Duration,
        highest: i16,
        build: impl FnOnce(i16) -> C,
    ) -> Result<C::Answer, Error> {
        if let Some(until) = self.throttled_until.take() {
            sleep_until(until).await;
        }
        let version = self.versions.of::<C>(&self.broker)?.min(highest);
        let answer = self.exchange(wait, version, &build(version)).await?;
        let answer = C::decode(answer, self.is_spent, version)
            .map_err(|reason| self.garbled(C::API, &reason))?;
        let throttle = C::throttle(&answer);
        if !throttle.is_zero() {
            self.throttled_until = Some(Instant::now() + throttle);
        }
        self.used = Instant::now();
        Ok(answer)
    }

    /// Sends a request and answers what is behind the header of its answer; if that is over the limit, of a fetch what is up
    /// to the limit.
    async fn exchange<C: Call>(
        &mut self,
        wait: Duration,
        version: i16,
        request: &C,
    ) -> Result<Bytes, Error> {
        self.sent = self.sent.wrapping_add(1);
        let message = frame(&self.client_id, self.sent, version, request)?;
        let limit = self.limit + wait;
        let (broker, api) = (self.broker.clone(), C::API);
        let answer = match timeout(limit, self.send_and_receive(api, &message)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Error::Timeout { broker, api, limit }),
        };
        self.conversation().open::<C>(answer, self.sent, version)
    }

    async fn send_and_receive(&mut self, api: Api, message: &[u8]) -> Result<Bytes, Error> {
        let conversation = self.conversation();
        conversation.send(api, &mut self.transport, message).await?;
        let (answer, is_whole) = conversation.receive(api, &mut self.transport).await?;
        self.is_spent = !is_whole;
        Ok(answer)
    }

    fn conversation(&self) -> Conversation {
        Conversation { broker: self.broker.clone(), max_answer_bytes: self.max_answer_bytes }
    }

    fn garbled(&self, api: Api, reason: &str) -> Error {
        self.conversation().garbled(api, reason)
    }
}
