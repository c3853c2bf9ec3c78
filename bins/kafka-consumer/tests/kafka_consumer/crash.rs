//! Consumers that are killed, frozen, stopped, or come and go: every record once, and the ledger whole.

use std::time::{Duration, Instant};

use crate::support::{LEASE, LONG_LEASE, Stream, VERY_LONG, end_all, stop_producer};
use fastrand::Rng;
use tally_harness::eventually;
use tally_harness::job::{LONG, ModelService, Target};
use tally_harness::kafka::Cluster;
use tally_harness::ledger::until_it_commits;
use tally_harness::process::{Process, Signal};
use tally_harness::proxy::{Mode, Proxy};
use tally_harness::sample::{Sample, assert_same_rows, rows};

mod repeated {
    use super::*;

    #[tokio::test]
    async fn twenty_kills_of_two_consumers() {
        let seed = std::env::var("CRASH_SEED")
            .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("CRASH_SEED={seed}");
        let mut random = Rng::with_seed(seed);
        // More rows than are sent before the last kill.
        let (stream, sample) = (Stream::new().await, Sample::new(500_000));
        let producer = stream.producer(&sample, &["--rate", "2000/s"]);
        let mut consumers = [(); 2].map(|()| stream.consumer().spawn());
        for kill in 0..20 {
            let victim = kill % 2;
            until_it_commits(&consumers[victim], &stream.target).await;
            // The kill comes at any moment of the work, whatever its state.
            tokio::time::sleep(Duration::from_millis(random.u64(..300))).await;
            consumers[victim].kill9();
            assert_eq!(consumers[victim].wait(LONG).signal, Some(Signal::SIGKILL));
            consumers[victim] = stream.consumer().spawn();
        }
        let sent = stop_producer(&producer);
        stream.until_read(sent.rows()).await;
        end_all(&consumers);
        stream.check_taken(&sent).await;
    }

    #[tokio::test]
    async fn each_of_three_brokers_is_killed_or_restarted_and_consumers_with_them() {
        let brokers = Cluster::start().await;
        let (topic, target) = (brokers.topic(6).await, Target::postgres().await);
        let model = ModelService::start();
        let stream = Stream { brokers: brokers.bootstrap(), topic, target, model };
        // More rows than are sent before the last broker is back.
        let sample = Sample::new(500_000);
        let producer = stream.producer(&sample, &["--rate", "2000/s"]);
        let mut consumers = [(); 2].map(|()| stream.consumer().spawn());
        for (round, broker) in brokers.brokers().iter().enumerate() {
            let victim = round % 2;
            until_it_commits(&consumers[victim], &stream.target).await;
            consumers[victim].kill9();
            if round == 0 {
                broker.kill9().await;
            } else {
                broker.stop().await;
            }
            assert_eq!(consumers[victim].wait(LONG).signal, Some(Signal::SIGKILL));
            consumers[victim] = stream.consumer().spawn();
            broker.start_again().await;
        }
        until_it_commits(&consumers[0], &stream.target).await;
        let sent = stop_producer(&producer);
        end_all(&consumers);
        // What was sent again is in the topic twice, and one row.
        stream.consume_to_end();
        assert!(stream.read().await >= sent.rows());
        assert_same_rows(&rows(&stream.target).await, &sent.expected_rows());
        stream.check_ledger().await;
    }

    #[tokio::test]
    async fn six_consumers_come_and_go_for_a_minute() {
        let (stream, sample) = (Stream::new().await, Sample::new(60_000));
        let line =
            Proxy::start(stream.model.url().strip_prefix("http://").unwrap().parse().unwrap())
                .await;
        let model = format!("http://{}", line.addr());
        let start = || stream.consumer_with(&model).spawn();
        let producer = stream.producer(&sample, &["--rate", "1000/s"]);
        let mut consumers: Vec<Option<Process>> = (0..6).map(|_| None).collect();
        let mut random = Rng::with_seed(7);
        let began = Instant::now();
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        while began.elapsed() < Duration::from_mins(1) {
            beat.tick().await;
            let place = &mut consumers[random.usize(..6)];
            match place.take() {
                Some(process) => process.signal(Signal::SIGTERM), // gone with its value, at the latest
                None => *place = Some(start()),
            }
        }
        let mut consumers: Vec<Process> = consumers.into_iter().flatten().collect();
        consumers.truncate(3);
        while consumers.len() < 3 {
            consumers.push(start());
        }
        assert_eq!(producer.wait(VERY_LONG).code, Some(0));
        stream.until_read(sample.rows()).await;
        stream.until_shared_by(&consumers).await;
        assert_nothing_moves(&stream).await; // while idle
        line.set_mode(Mode::Blackhole).await;
        let more = Sample::new(2_000);
        stream.feed(&more);
        assert_nothing_moves(&stream).await; // while the model is unavailable
        line.set_mode(Mode::Pass).await;
        stream.until_read(sample.rows() + more.rows()).await;
        end_all(&consumers);
        assert_eq!(stream.target.number("select count(*) from dead_letters").await, 0);
        stream.check_ledger().await;
        assert_same_rows(&rows(&stream.target).await, &sample.expected_rows());
    }
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn a_killed_consumer_is_succeeded_within_its_lease_and_a_stopped_one_at_once() {
        let (stream, sample) = (Stream::new().await, Sample::new(1_000));
        stream.feed(&sample);
        let patient = || stream.consumer_for(LONG_LEASE, stream.model.url()).spawn();
        let killed = stream.consumer().spawn();
        stream.until_shared_by([&killed]).await;
        let other = patient();
        stream.until_shared_by([&killed, &other]).await;
        killed.kill9();
        let began = Instant::now();
        stream.until_shared_by([&other]).await;
        let poll = Duration::from_secs(1);
        assert!(began.elapsed() < LEASE + poll + Duration::from_secs(2), "{:?}", began.elapsed());

        let last = patient();
        stream.until_shared_by([&other, &last]).await;
        end_all(&[other]);
        let began = Instant::now();
        stream.until_shared_by([&last]).await;
        let took = began.elapsed();
        assert!(took < LONG_LEASE / 2, "at once, not when a lease ends: {took:?}");
        end_all(&[last]);
        stream.check_taken(&sample).await;
    }

    #[tokio::test]
    async fn killed_while_the_clock_was_a_day_ahead_sqlite() {
        killed_a_day_ahead(Stream::into(Target::sqlite()).await).await;
    }

    #[tokio::test]
    async fn killed_while_the_clock_was_a_day_ahead_postgres() {
        killed_a_day_ahead(Stream::new().await).await;
    }

    #[tokio::test]
    async fn a_consumer_frozen_past_its_lease_steps_down() {
        frozen(Moment::Any).await;
    }

    #[tokio::test]
    async fn a_consumer_frozen_between_rows_and_commit_is_refused() {
        frozen(Moment::BeforeCommit).await;
    }

    #[tokio::test]
    async fn sigterm_under_load_drains_and_loses_nothing() {
        let (stream, sample) = (Stream::new().await, Sample::new(20_000));
        let producer = stream.producer(&sample, &["--rate", "4000/s"]);
        let consumer = stream.consumer().spawn();
        until_it_commits(&consumer, &stream.target).await;
        // A claim that a stop interrupts may be carried out after it.
        stream.until_shared_by([&consumer]).await;
        end_all(&[consumer]);
        let owned = "select count(*) from positions where owner is not null";
        assert_eq!(stream.target.number(owned).await, 0, "every lease is given back");
        assert_eq!(stream.target.number("select count(*) from workers").await, 0);
        assert_eq!(producer.wait(VERY_LONG).code, Some(0));
        stream.consume_to_end();
        stream.check_taken(&sample).await;
    }
}

/// No partition changes hands for five leases.
async fn assert_nothing_moves(stream: &Stream) {
    let epochs = "select partition, pass, epoch, owner from positions order by partition";
    let before = stream.target.query(epochs).await;
    // Nothing announces that nothing happens.
    tokio::time::sleep(5 * LEASE).await;
    assert_eq!(stream.target.query(epochs).await, before);
}

/// Neither its leases nor its heartbeat keep the next one away for longer than they are.
async fn killed_a_day_ahead(stream: Stream) {
    let sample = Sample::new(10_000);
    stream.feed(&sample);
    let killed = stream.consumer_with("http://127.0.0.1:9").spawn(); // so it commits nothing
    let (owned, target) =
        ("select count(*) from positions where owner is not null", &stream.target);
    let owns_all = async || target.has_tables().await && target.number(owned).await == 6;
    eventually(LONG, owns_all).await;
    killed.kill9();
    assert_eq!(killed.wait(LONG).signal, Some(Signal::SIGKILL));
    assert!(owns_all().await && target.number("select count(*) from workers").await == 1);
    stream.target.turn_clock_back_a_day().await;
    stream.consume_to_end();
    stream.check_taken(&sample).await;
}

/// When a consumer is frozen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Any,
    BeforeCommit,
}

async fn frozen(moment: Moment) {
    let (stream, sample) = (Stream::new().await, Sample::new(20_000));
    stream.feed(&sample);
    let frozen = stream.consumer().spawn();
    until_it_commits(&frozen, &stream.target).await;
    if moment == Moment::BeforeCommit {
        stream.target.freeze_before_commit(&frozen).await;
    } else {
        frozen.freeze().await;
    }
    let successor = stream.consumer().spawn();
    // Neither is held up by what the frozen one had locked.
    stream.until_shared_by([&successor]).await;
    stream.until_read(sample.rows()).await;

    frozen.signal(Signal::SIGCONT);
    eventually(LONG, async || {
        let output = frozen.output_so_far();
        output.stderr.contains("stepping down") || output.code == Some(75)
    })
    .await;
    end_all(&[successor]);
    frozen.signal(Signal::SIGTERM);
    let output = frozen.wait(LONG);
    assert!(matches!(output.code, Some(75 | 143)), "{output}");
    stream.check_taken(&sample).await;
}
