//! One connection to one broker.

mod pool;
mod transport;
mod versions;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

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
        let header = RequestHeader::default()
            .with_request_api_key(C::API.key())
            .with_request_api_version(version)
            .with_correlation_id(self.sent)
            .with_client_id(Some(self.client_id.clone()));
        let unsendable = |error| Error::Setting(format!("cannot send {}: {error:#}", C::API));
        let mut message = BytesMut::new();
        header.encode(&mut message, C::header_version(version)).map_err(unsendable)?;
        request.encode(&mut message, version).map_err(unsendable)?;

        let limit = self.limit + wait;
        let (broker, api) = (self.broker.clone(), C::API);
        let mut answer = match timeout(limit, self.send_and_receive(api, &message)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Error::Timeout { broker, api, limit }),
        };
        let header = ResponseHeader::decode(&mut answer, C::Answer::header_version(version))
            .map_err(|error| self.garbled(api, &error.to_string()))?;
        if header.correlation_id != self.sent {
            let reason = format!("it is for request {}, not {}", header.correlation_id, self.sent);
            return Err(self.garbled(api, &reason));
        }
        Ok(answer)
    }

    async fn send_and_receive(&mut self, api: Api, message: &[u8]) -> Result<Bytes, Error> {
        let broker = self.broker.clone();
        let lost = |source: io::Error| Error::Lost { broker: broker.clone(), api, source };
        let length = i32::try_from(message.len())
            .map_err(|_| Error::Setting(format!("{api} would be over 2 GiB")))?;
        let mut framed = BytesMut::with_capacity(message.len() + 4);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        self.transport.write_all(&framed).await.map_err(lost)?;
        self.transport.flush().await.map_err(lost)?;

        let announced = self.transport.read_i32().await.map_err(lost)?;
        let limit = self.max_answer_bytes;
        let size = match usize::try_from(announced) {
            Ok(size) if size <= limit => size,
            Ok(_) if api == Api::Fetch => {
                self.is_spent = true;
                limit
            }
            _ => {
                let size = announced.into();
                return Err(Error::AnswerTooLarge { broker, api, size, limit });
            }
        };
        let mut answer = BytesMut::with_capacity(size);
        let mut rest = (&mut self.transport).take(size as u64);
        while answer.len() < size {
            if rest.read_buf(&mut answer).await.map_err(lost)? == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(answer.freeze())
    }

    fn garbled(&self, api: Api, reason: &str) -> Error {
        Error::Garbled { broker: self.broker.clone(), api, reason: reason.trim().to_owned() }
    }
}
