//! Lanes against a broker that takes batches as Kafka does.

use std::time::Duration;

use super::*;

const PACKING: Packing =
    Packing { codec: crate::compression::Codec::None, is_transactional: false };
const TRANSACTIONAL: Packing = Packing { is_transactional: true, ..PACKING };
const PRODUCER: i64 = 9;

fn lane(max_batch_bytes: usize) -> Lane {
    Lane::new("t".into(), 0, max_batch_bytes, 0)
}

fn push(lane: &mut Lane, delivery: u64, bytes: usize) {
    let record = ProducerRecord { value: Some(vec![0; bytes].into()), ..Default::default() };
    let size = pack::size(&record);
    let entry = Entry { delivery, index: 0, record, time: 0, size };
    lane.push(entry, Instant::now());
}

/// The batches that can be sent, each with one record.
fn send(lane: &mut Lane, packing: Packing, settled: &mut Vec<Settled>) -> Vec<Batch> {
    let later = Instant::now() + Duration::from_mins(1);
    let mut sent = Vec::new();
    while lane.is_ready(later, 1).is_ok() {
        sent.extend(lane.take(packing, PRODUCER, 1, settled).map(|(batch, _)| batch));
    }
    sent
}

fn answer(
    lane: &mut Lane,
    batch: Batch,
    code: ResponseError,
    packing: Packing,
    settled: &mut Vec<Settled>,
) -> Option<Error> {
    let error = |code| Error::Refused {
        broker: "b:1".into(),
        api: crate::api::Api::Produce,
        about: crate::error::About::default(),
        code,
    };
    let code = Some(code).filter(|code| *code != ResponseError::UnknownServerError);
    lane.answered(batch, code, error, packing, Instant::now(), settled)
}

/// Answered without an error.
const FINE: ResponseError = ResponseError::UnknownServerError;

fn told(batches: &[Batch]) -> Vec<(u64, Option<i64>)> {
    batches.iter().map(|batch| (batch.entries[0].delivery, batch.sequence)).collect()
}

fn told_settled(settled: &[Settled]) -> Vec<(u64, &'static str)> {
    let tell = |settled: &Settled| {
        let (entries, became) = match settled {
            Settled::Delivered(entries) => (&entries[..], "delivered"),
            Settled::TooLarge(entry) => (std::slice::from_ref(entry), "too large"),
            Settled::Failed(entries, _) => (&entries[..], "failed"),
        };
        entries.iter().map(move |entry| (entry.delivery, became)).collect::<Vec<_>>()
    };
    settled.iter().flat_map(tell).collect()
}

#[test]
fn what_is_lost_goes_again_under_its_number_before_what_is_new() {
    let (mut lane, mut settled) = (lane(1_000), Vec::new());
    for delivery in 0..3 {
        push(&mut lane, delivery, 10);
    }
    let mut sent = send(&mut lane, PACKING, &mut settled);
    assert_eq!(told(&sent), [(0, Some(0)), (1, Some(1)), (2, Some(2))]);
    push(&mut lane, 3, 10);
    let (third, second, first) = (sent.pop().unwrap(), sent.pop().unwrap(), sent.pop().unwrap());
    assert!(answer(&mut lane, first, FINE, PACKING, &mut settled).is_none());
    let moved =
        answer(&mut lane, second, ResponseError::NotLeaderOrFollower, PACKING, &mut settled);
    assert!(moved.is_some(), "the leader is looked for");
    assert!(send(&mut lane, PACKING, &mut settled).is_empty(), "one is still in flight");
    let behind =
        answer(&mut lane, third, ResponseError::OutOfOrderSequenceNumber, PACKING, &mut settled);
    assert!(behind.is_none(), "it only came before the other");
    let again = send(&mut lane, PACKING, &mut settled);
    assert_eq!(told(&again), [(1, Some(1)), (2, Some(2)), (3, Some(3))]);
    for batch in again {
        answer(&mut lane, batch, ResponseError::DuplicateSequenceNumber, PACKING, &mut settled);
    }
    let delivered: Vec<_> = (0..4).map(|delivery| (delivery, "delivered")).collect();
    assert_eq!(told_settled(&settled), delivered);
    assert!(lane.is_idle() && lane.epoch == 0);
}

#[test]
fn a_broker_that_lost_what_it_had_gets_a_new_epoch() {
    for code in [ResponseError::OutOfOrderSequenceNumber, ResponseError::UnknownProducerId] {
        let (mut lane, mut settled) = (lane(1_000), Vec::new());
        push(&mut lane, 0, 10);
        let first = send(&mut lane, PACKING, &mut settled).remove(0);
        answer(&mut lane, first, FINE, PACKING, &mut settled);
        push(&mut lane, 1, 10);
        push(&mut lane, 2, 10);
        for batch in send(&mut lane, PACKING, &mut settled) {
            assert!(answer(&mut lane, batch, code, PACKING, &mut settled).is_none());
        }
        let again = send(&mut lane, PACKING, &mut settled);
        assert_eq!((lane.epoch, told(&again)), (1, vec![(1, Some(0)), (2, Some(1))]));
    }
}

#[test]
fn a_transaction_that_misses_something_fails() {
    let (mut lane, mut settled) = (lane(1_000), Vec::new());
    push(&mut lane, 0, 10);
    push(&mut lane, 1, 10);
    for batch in send(&mut lane, TRANSACTIONAL, &mut settled) {
        let code = ResponseError::OutOfOrderSequenceNumber;
        assert!(answer(&mut lane, batch, code, TRANSACTIONAL, &mut settled).is_none());
    }
    push(&mut lane, 2, 10);
    assert!(send(&mut lane, TRANSACTIONAL, &mut settled).is_empty());
    let failed: Vec<_> = (0..3).map(|delivery| (delivery, "failed")).collect();
    assert_eq!(told_settled(&settled), failed);
}

#[test]
fn a_record_that_is_too_large_is_told_before_it_is_sent() {
    let (mut lane, mut settled) = (lane(400), Vec::new());
    for (delivery, bytes) in [(0, 10), (1, 500), (2, 10)] {
        push(&mut lane, delivery, bytes);
    }
    let sent = send(&mut lane, PACKING, &mut settled);
    assert_eq!(told(&sent), [(0, Some(0)), (2, Some(1))]);
    assert_eq!(told_settled(&settled), [(1, "too large")]);
}

#[test]
fn what_nobody_waits_for_is_not_sent() {
    let (mut lane, mut settled) = (lane(1_000), Vec::new());
    for delivery in 0..3 {
        push(&mut lane, delivery, 10);
    }
    let sent = send(&mut lane, PACKING, &mut settled);
    for batch in sent {
        let error = Error::NoLeader { topic: "t".into(), partition: 0 };
        lane.lost(batch, error, Instant::now());
    }
    push(&mut lane, 3, 10);
    push(&mut lane, 4, 10);
    lane.drop_unwanted(|delivery| [0, 2, 4].contains(&delivery));
    // What comes before the missing number still has its own.
    let mut again = send(&mut lane, PACKING, &mut settled);
    assert_eq!(told(&again), [(0, Some(0))]);
    answer(&mut lane, again.remove(0), FINE, PACKING, &mut settled);
    let behind = send(&mut lane, PACKING, &mut settled);
    assert_eq!((lane.epoch, told(&behind)), (1, vec![(2, Some(0)), (4, Some(1))]));
}

#[test]
fn records_wait_for_others_until_there_are_enough() {
    let mut lane = lane(1_000_000);
    let now = Instant::now();
    let record = ProducerRecord::default();
    let size = pack::size(&record);
    let entry = |index| Entry { delivery: 0, index, record: record.clone(), time: 0, size };
    let until = now + Duration::from_secs(1);
    lane.push(entry(0), until);
    assert_eq!(lane.is_ready(now, size * 2), Err(Some(until)));
    assert_eq!(lane.is_ready(until, size * 2), Ok(()));
    lane.push(entry(1), until + Duration::from_secs(1));
    assert_eq!(lane.is_ready(now, size * 2), Ok(()));
}

/// One partition of a broker: takes what follows on what it has, knows the last five batches again, and is unreliable.
#[derive(Default)]
struct Broker {
    epoch: i16,
    next: i32,
    last_five: VecDeque<i32>,
    log: Vec<u64>,
    max_batch_bytes: usize,
}

impl Broker {
    fn append(&mut self, batch: &Batch, packed: &[u8]) -> ResponseError {
        let epoch = i16::from_be_bytes(packed[51..53].try_into().unwrap());
        let sequence = i32::from_be_bytes(packed[53..57].try_into().unwrap());
        if packed.len() > self.max_batch_bytes {
            return ResponseError::MessageTooLarge;
        }
        if epoch > self.epoch && sequence == 0 {
            (self.epoch, self.next) = (epoch, 0);
            self.last_five.clear();
        }
        if epoch != self.epoch {
            return ResponseError::InvalidProducerEpoch;
        }
        if self.last_five.contains(&sequence) {
            return ResponseError::DuplicateSequenceNumber;
        }
        if sequence != self.next {
            return ResponseError::OutOfOrderSequenceNumber;
        }
        self.last_five.push_back(sequence);
        if self.last_five.len() > 5 {
            self.last_five.pop_front();
        }
        self.next += i32::try_from(batch.entries.len()).unwrap();
        self.log.extend(batch.entries.iter().map(|entry| entry.delivery));
        FINE
    }
}

/// Some number below another.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

#[test]
fn whatever_is_lost_or_refused_each_record_is_written_once_and_in_order() {
    for seed in 1..500 {
        check_lossy(seed);
    }
}

fn check_lossy(seed: u64) {
    let (mut state, mut settled) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), Vec::new());
    let mut broker = Broker { max_batch_bytes: 400, ..Broker::default() };
    let (mut lane, mut now) = (lane(2_000), Instant::now());
    let mut too_large = Vec::new();
    for delivery in 0..40 {
        let bytes = if random(&mut state, 10) == 0 { 500 } else { 10 };
        too_large.extend((bytes == 500).then_some(delivery));
        push(&mut lane, delivery, bytes);
    }
    while !lane.is_idle() {
        now += Duration::from_mins(1);
        let mut in_flight = VecDeque::new();
        while in_flight.len() < 5 && lane.is_ready(now, 1).is_ok() {
            let Some(sent) = lane.take(PACKING, PRODUCER, 300, &mut settled) else { break };
            in_flight.push_back(sent);
        }
        // A connection breaks before or after the broker has read some of it.
        let breaks_at = random(&mut state, 12);
        for (place, (batch, packed)) in (0..).zip(in_flight) {
            if place > breaks_at {
                let error = Error::NoLeader { topic: "t".into(), partition: 0 };
                lane.lost(batch, error, now);
                continue;
            }
            let code = match random(&mut state, 8) {
                0 => ResponseError::NotLeaderOrFollower,
                _ => broker.append(&batch, &packed),
            };
            if place == breaks_at {
                let error = Error::NoLeader { topic: "t".into(), partition: 0 };
                lane.lost(batch, error, now);
            } else {
                answer(&mut lane, batch, code, PACKING, &mut settled);
            }
        }
    }
    let mut told: Vec<_> = told_settled(&settled);
    told.sort_unstable();
    let expected = (0..40).map(|delivery| {
        let is_too_large = too_large.contains(&delivery);
        (delivery, if is_too_large { "too large" } else { "delivered" })
    });
    assert_eq!(told, expected.collect::<Vec<_>>(), "seed {seed}");
    let written: Vec<_> = (0..40).filter(|delivery| !too_large.contains(delivery)).collect();
    assert_eq!(broker.log, written, "seed {seed}");
}
