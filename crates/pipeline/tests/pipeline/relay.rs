//! Dead letters on their way to a topic, from the store in memory and on tokio's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tally_domain::transactions::Transactions;
use tally_pipeline::Relay;
use tally_ports::{
    Begin, Claim, DeadLetterRelay, Fault, Positions, PublishDeadLetters, RelayedDeadLetter, Sink,
};
use tally_testkit::build;
use tally_testkit::memory::MemoryStore;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// A topic that is unavailable while a test says so.
#[derive(Clone, Default)]
struct Topic {
    is_away: Arc<AtomicBool>,
    positions: Arc<watch::Sender<Vec<i64>>>,
}

impl PublishDeadLetters for Topic {
    async fn publish(&self, letters: &[RelayedDeadLetter]) -> Result<(), Fault> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Fault::outage("the topic is unavailable"));
        }
        let published = letters.iter().map(|letter| letter.position);
        self.positions.send_modify(|positions| positions.extend(published));
        Ok(())
    }
}

impl Topic {
    async fn until(&self, positions: &[i64]) {
        let mut published = self.positions.subscribe();
        let are_there = published.wait_for(|published| published == positions);
        let has_come = timeout(Duration::from_mins(1), are_there).await.is_ok();
        assert!(has_come, "{:?}", self.positions);
    }
}

/// A store with `count` dead letters, at positions 0 to `count` - 1.
async fn store_with(count: i64) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    let stream = build::stream::<Transactions>("group/topic");
    let claim = store.claim(&stream, "me", build::LONG, Begin::default()).await.unwrap();
    let Claim::Owned(position) = claim else { panic!("{claim:?}") };
    let dead_letters = (0..count).map(build::dead_letter).collect();
    let commit = build::commit(&position, &stream, 0..=count - 1, Vec::new(), dead_letters);
    store.commit(&Arc::new(commit)).await.unwrap();
    store
}

#[tokio::test(start_paused = true)]
async fn each_dead_letter_is_published_in_order() {
    let (store, topic) = (store_with(1200).await, Topic::default());
    let _relay = Relay::start(Arc::clone(&store), topic.clone(), Transactions::NAME);
    topic.until(&(0..1200).collect::<Vec<_>>()).await;
    assert_eq!(store.backlog(Transactions::NAME).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn while_the_topic_is_away_they_stay_and_are_published_when_it_is_back() {
    let (store, topic) = (store_with(3).await, Topic::default());
    topic.is_away.store(true, Ordering::SeqCst);
    let _relay = Relay::start(Arc::clone(&store), topic.clone(), Transactions::NAME);
    sleep(Duration::from_mins(5)).await;
    assert_eq!(store.backlog(Transactions::NAME).await, Ok(3));
    topic.is_away.store(false, Ordering::SeqCst);
    topic.until(&[0, 1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn draining_publishes_all_that_is_left() {
    let (store, topic) = (store_with(1200).await, Topic::default());
    let relay = Relay::start(Arc::clone(&store), topic.clone(), Transactions::NAME);
    relay.drain(Duration::from_secs(10)).await;
    assert_eq!(topic.positions.borrow().len(), 1200);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_in_time_while_the_topic_is_away() {
    let (store, topic) = (store_with(3).await, Topic::default());
    topic.is_away.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let relay = Relay::start(Arc::clone(&store), topic.clone(), Transactions::NAME);
    relay.drain(Duration::from_secs(10)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(store.backlog(Transactions::NAME).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_lost_publishes_again() {
    let (store, topic) = (store_with(2).await, Topic::default());
    store.lose_marks(1);
    let relay = Relay::start(Arc::clone(&store), topic.clone(), Transactions::NAME);
    relay.drain(Duration::from_mins(1)).await;
    assert_eq!(*topic.positions.borrow(), [0, 1, 0, 1]);
}
