//! Who leads the partitions, and what is told when nobody does.

use std::sync::Arc;

use tokio::time::Instant;

use super::Sender;
use crate::error::Error;
use crate::metadata::Topic;
use crate::producer::lane::{Lane, Settled};

impl Sender {
    pub(super) fn learn_leaders(&mut self, topic: &Arc<str>, found: &Topic) {
        let mut unled = None;
        for lane in self.lanes.iter_mut().filter(|lane| {
            // What is in flight to a leader is answered, or lost, before another one is sent anything.
            lane.topic == *topic && lane.leader.is_none()
        }) {
            let led = found.partitions.iter().find(|led| led.partition == lane.partition);
            lane.leader = led.and_then(|led| self.client.address(led.leader?));
            unled = unled.or(lane.leader.is_none().then_some(lane.partition));
        }
        if let Some(partition) = unled {
            self.back_off_unled(topic, &Error::NoLeader { topic: topic.clone(), partition });
        }
    }

    pub(super) fn back_off_unled(&mut self, topic: &Arc<str>, error: &Error) {
        self.back_off(|lane| lane.topic == *topic && lane.leader.is_none(), error);
    }

    /// It leads no longer, as far as anybody here knows.
    pub(super) fn lose_broker(&mut self, broker: &Arc<str>, error: &Error) {
        self.back_off(|lane| lane.leader.take_if(|leader| leader == broker).is_some(), error);
    }

    pub(super) fn back_off(&mut self, is_meant: impl Fn(&mut Lane) -> bool, error: &Error) {
        let now = Instant::now();
        let mut failing = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if is_meant(lane) && !lane.is_idle() {
                lane.back_off(now);
                failing.push(index);
            }
        }
        for lane in failing {
            self.report(lane, error, now);
        }
    }

    /// Tells those who wait for a lane that fails for long, or for ever.
    pub(super) fn report(&mut self, lane: usize, error: &Error, now: Instant) {
        let lane = &mut self.lanes[lane];
        if !error.is_retriable() {
            let failed = lane.give_up();
            return self.calls.settle(vec![Settled::Failed(failed, error.clone())]);
        }
        let patience = self.settings.patience;
        if lane.failing_since.is_none_or(|since| now < since + patience) {
            return;
        }
        self.calls.tell(lane.deliveries(), error);
    }
}
