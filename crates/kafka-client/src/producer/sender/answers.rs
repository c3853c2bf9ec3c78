//! What leaders answer, and links that break or stay silent.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ProduceResponse;
use tokio::time::Instant;

use super::Sender;
use super::link::{Link, Sent};
use crate::api::{Api, milliseconds};
use crate::error::{About, Error};

/// What came over a link.
pub(super) struct Answered {
    pub(super) link: u64,
    pub(super) answer: Result<ProduceResponse, Error>,
}

impl Sender {
    pub(super) fn answered(&mut self, Answered { link: number, answer }: Answered) {
        let of_number = |link: &&mut Link| link.number() == number;
        let Some(link) = self.links.values_mut().flatten().find(of_number) else { return };
        let broker = link.broker().clone();
        match answer {
            Ok(answer) => {
                let Some(sent) = link.answered(milliseconds(answer.throttle_time_ms)) else {
                    return;
                };
                self.read(&broker, sent, &answer);
            }
            Err(error) => self.lose_link(&broker, &error),
        }
    }

    fn read(&mut self, broker: &Arc<str>, sent: Sent, answer: &ProduceResponse) {
        let now = Instant::now();
        let mut settled = Vec::new();
        let mut failed = Vec::new();
        for (index, batch) in sent {
            let lane = &mut self.lanes[index];
            let about = About { topic: Some(lane.topic.clone()), partition: Some(lane.partition) };
            let of_topic =
                answer.responses.iter().find(|topic| topic.name.as_str() == &*lane.topic);
            let found = of_topic.and_then(|topic| {
                topic.partition_responses.iter().find(|found| found.index == lane.partition)
            });
            let (broker, api) = (broker.clone(), Api::Produce);
            let error = if let Some(found) = found {
                let code = ResponseError::try_from_code(found.error_code);
                let error = |code| Error::Refused { broker, api, about, code };
                let packing = self.packing;
                lane.answered(batch, code, error, packing, now, &mut settled)
            } else {
                let reason = format!("nothing is in it{about}");
                Some(lane.lost(batch, Error::Garbled { broker, api, reason }, now))
            };
            if let Some(error) = error {
                lane.leader = None;
                failed.push((index, error));
            }
        }
        self.calls.settle(settled);
        for (lane, error) in failed {
            self.report(lane, &error, now);
        }
    }

    fn lose_link(&mut self, broker: &Arc<str>, error: &Error) {
        let Some(Some(link)) = self.links.remove(broker) else { return };
        let now = Instant::now();
        for (index, batch) in link.into_sent() {
            self.lanes[index].lost(batch, error.clone(), now);
        }
        self.lose_broker(broker, error);
    }

    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let late = self.links.values().flatten().filter_map(|link| link.is_late(now));
        for (broker, error) in late.collect::<Vec<_>>() {
            self.lose_link(&broker, &error);
        }
    }
}
