//! A broker, a database or a model that is unavailable: nothing is lost, nothing becomes a dead letter, `/ready` says so.

use crate::support;

use std::time::Duration;

use crate::support::{Stream, address, until_ready_is};
use tally_harness::eventually;
use tally_harness::job::{LONG, ModelService, Target};
use tally_harness::kafka::{OwnKafka, record};
use tally_harness::ledger::until_it_commits;
use tally_harness::postgres::OwnPostgres;
use tally_harness::process::Signal;
use tally_harness::proxy::{Mode, Proxy};
use tally_harness::sample::{Sample, assert_same_rows, rows};

/// A run over which something goes away and comes back.
struct Run {
    stream: Stream,
    sample: Sample,
}

impl Run {
    fn on(stream: Stream) -> Self {
        Self { stream, sample: Sample::new(20_000) }
    }

    /// `begin` takes it away after the first commit, while most of the sample is still to come; `end` brings it back.
    async fn with<A: AsyncFnOnce(), B: AsyncFnOnce()>(self, model: &str, begin: A, end: B) {
        let Self { stream, sample } = self;
        let producer = stream.producer(&sample, &["--rate", "2000/s"]);
        let consumer = stream.consumer_with(model).env("TALLY_KAFKA__TIMEOUT", "2s").spawn();
        let address = address(&consumer);
        until_it_commits(&consumer, &stream.target).await;
        begin().await;
        until_ready_is(&address, 503).await;
        end().await;
        until_ready_is(&address, 200).await;
        assert_eq!(producer.wait(support::VERY_LONG).code, Some(0));
        stream.until_read(sample.rows()).await;
        consumer.signal(Signal::SIGTERM);
        assert_eq!(consumer.wait(LONG).code, Some(143));

        // What was sent while the broker went away may have been sent twice, and is then read twice.
        assert_same_rows(&rows(&stream.target).await, &sample.expected_rows());
        stream.check_ledger().await;
        assert_eq!(stream.target.number("select count(*) from dead_letters").await, 0);
    }
}

mod serial {
    use super::*;

    async fn on_own_broker() -> (OwnKafka, Run) {
        let broker = OwnKafka::start().await;
        broker.create_topic("transactions", 6).await;
        let stream = Stream {
            brokers: broker.bootstrap().to_owned(),
            topic: "transactions".to_owned(),
            target: Target::postgres().await,
            model: ModelService::start(),
        };
        (broker, Run::on(stream))
    }

    #[tokio::test]
    async fn the_broker_is_stopped_and_started() {
        let (broker, run) = on_own_broker().await;
        let model = run.stream.model.url().to_owned();
        run.with(&model, async || broker.stop().await, async || broker.start_again().await).await;
    }

    #[tokio::test]
    async fn the_broker_is_frozen() {
        let (broker, run) = on_own_broker().await;
        let model = run.stream.model.url().to_owned();
        run.with(&model, async || broker.freeze(), async || broker.thaw()).await;
    }

    /// Postgres waits for a publish half a lease only, so that the client's own timeout is never met.
    #[tokio::test]
    async fn dead_letters_go_on_over_a_new_connection() {
        let (broker, run) = on_own_broker().await;
        broker.create_topic("dead", 1).await;
        let bad = vec![record(None, Some(b"no record"))];
        broker.produce("transactions", 0, bad).await;
        let stream = run.stream;
        let consumer = stream.consumer().env("TALLY_KAFKA__TIMEOUT", "5m");
        let consumer = consumer.flags(["--dlq-topic", "dead"]).spawn();
        stream.until_read(1).await;
        let published = "select count(*) from dead_letters where published_at is not null";
        eventually(LONG, async || stream.target.number(published).await == 1).await;

        broker.freeze();
        stream.target.execute("update dead_letters set published_at = null").await;
        // All that else is asked waits for five minutes.
        consumer.wait_for_line("unavailable, retrying", LONG);
        broker.thaw();
        eventually(LONG, async || stream.target.number(published).await == 1).await;
        consumer.signal(Signal::SIGTERM);
        assert_eq!(consumer.wait(LONG).code, Some(143));
    }

    #[tokio::test]
    async fn postgres_is_stopped_and_started() {
        let postgres = OwnPostgres::start().await;
        let broker = tally_harness::kafka::Broker::shared().await;
        let stream = Stream {
            brokers: broker.bootstrap().to_owned(),
            topic: broker.topic(6).await,
            target: Target::Postgres(postgres.database().await),
            model: ModelService::start(),
        };
        let (model, run) = (stream.model.url().to_owned(), Run::on(stream));
        run.with(&model, async || postgres.stop().await, async || postgres.start_again().await)
            .await;
    }

    #[tokio::test]
    async fn the_model_is_away_for_half_a_minute() {
        let run = Run::on(Stream::new().await);
        let service = run.stream.model.url().strip_prefix("http://").unwrap().parse().unwrap();
        let line = Proxy::start(service).await;
        let model = format!("http://{}", line.addr());
        let begin = async || line.set_mode(Mode::Refuse).await;
        let end = async || {
            // How long it is unavailable is what is tested: many probes, and leases that are renewed meanwhile.
            tokio::time::sleep(Duration::from_secs(30)).await;
            line.set_mode(Mode::Pass).await;
        };
        run.with(&model, begin, end).await;
    }
}
