//! A connection to a leader, and what is in flight on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;
use tokio::time::Instant;

use crate::api::Api;
use crate::connection::Pipeline;
use crate::error::Error;
use crate::producer::lane::Batch;

/// A broker remembers the numbers of so many batches of a producer.
const MOST_IN_FLIGHT: usize = 5;

/// The batches of a request, with their lanes.
pub(super) type Sent = Vec<(usize, Batch)>;

pub(super) struct Link {
    number: u64,
    pipeline: Pipeline<ProduceRequest>,
    broker: Arc<str>,
    limit: Duration,
    in_flight: VecDeque<(Instant, Sent)>,
    /// The broker reads nothing before.
    throttled_until: Option<Instant>,
}

impl Link {
    pub(super) fn new(
        number: u64,
        pipeline: Pipeline<ProduceRequest>,
        broker: Arc<str>,
        limit: Duration,
    ) -> Self {
        let (in_flight, throttled_until) = (VecDeque::new(), None);
        Self { number, pipeline, broker, limit, in_flight, throttled_until }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn broker(&self) -> &Arc<str> {
        &self.broker
    }

    /// How long a request may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Nothing is in flight and nothing more should be.
    pub(super) fn is_worn_out(&self) -> bool {
        self.in_flight.is_empty() && !self.pipeline.is_fresh()
    }

    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.in_flight.len() < MOST_IN_FLIGHT
            && self.pipeline.is_fresh()
            && self.throttled_until.is_none_or(|until| until <= now)
    }

    pub(super) fn send(&mut self, request: &ProduceRequest, sent: Sent, now: Instant) {
        self.in_flight.push_back((now + self.limit, sent));
        self.pipeline.send(request);
    }

    /// The batches that an answer is about. While the broker is throttling nothing is late.
    pub(super) fn answered(&mut self, throttle: Duration) -> Option<Sent> {
        if !throttle.is_zero() {
            self.throttled_until = Some(Instant::now() + throttle);
            for (deadline, _) in &mut self.in_flight {
                *deadline += throttle;
            }
        }
        self.in_flight.pop_front().map(|(_, sent)| sent)
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let deadline = self.in_flight.front().map(|(deadline, _)| *deadline);
        let now = Instant::now();
        let throttled = self.throttled_until.filter(|until| *until > now);
        deadline.into_iter().chain(throttled).min()
    }

    pub(super) fn is_late(&self, now: Instant) -> Option<(Arc<str>, Error)> {
        let (deadline, _) = self.in_flight.front()?;
        let (broker, limit) = (self.broker.clone(), self.limit);
        let error = Error::Timeout { broker: broker.clone(), api: Api::Produce, limit };
        (*deadline <= now).then_some((broker, error))
    }

    /// In the order in which they were sent.
    pub(super) fn into_sent(self) -> impl Iterator<Item = (usize, Batch)> {
        self.in_flight.into_iter().flat_map(|(_, sent)| sent)
    }
}
