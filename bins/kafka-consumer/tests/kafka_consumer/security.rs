//! A broker that asks for TLS and a login, reached by settings alone.

use crate::support::{Stream, assert_code};
use tally_harness::job::{LONG, ModelService, Target};
use tally_harness::kafka::{OwnKafka, PASSWORD, USER};
use tally_harness::process::{Launch, binary};
use tally_harness::sample::Sample;

mod serial {
    use super::*;

    #[tokio::test]
    async fn producer_and_consumer_log_in() {
        let broker = OwnKafka::secured().await;
        let stream = Stream {
            brokers: broker.sasl_tls(),
            topic: broker.topic(6).await,
            target: Target::postgres().await,
            model: ModelService::start(),
        };
        let secured = |job: Launch, password: &str| {
            job.env("TALLY_KAFKA__TLS", "true")
                .env("TALLY_KAFKA__CA_FILE", broker.ca())
                .env("TALLY_KAFKA__SASL__MECHANISM", "scram-sha-512")
                .env("TALLY_KAFKA__SASL__USERNAME", USER)
                .env("TALLY_KAFKA__SASL__PASSWORD", password)
        };
        let sample = Sample::new(500);
        let producer = Launch::new(binary("producer"))
            .args([sample.path().to_str().unwrap(), "--brokers", &stream.brokers])
            .args(["--topic", &stream.topic]);
        let output = secured(producer, PASSWORD).spawn().wait(LONG);
        assert_code(&output, 0);
        let consumer = || stream.consumer().flag("--until-end").launch();
        let output = secured(consumer(), "hidden").spawn().wait(LONG);
        assert_code(&output, 78);
        assert!(!output.stderr.contains("hidden"), "{output}");
        let output = secured(consumer(), PASSWORD).spawn().wait(LONG);
        assert_code(&output, 0);
        stream.check_taken(&sample).await;
    }
}
