//! A broker that asks for TLS and a login, reached by settings alone.

use crate::support::{Stream, assert_code};
use tally_harness::eventually;
use tally_harness::job::{LONG, ModelService, Target};
use tally_harness::kafka::{JavaProducer, OwnKafka, PASSWORD, USER};
use tally_harness::process::{Launch, binary};
use tally_harness::sample::{Sample, assert_same_rows, rows};

mod serial {
    use super::*;

    /// On a broker that asks for a login.
    async fn stream(broker: &OwnKafka) -> Stream {
        Stream {
            brokers: broker.sasl_tls(),
            topic: broker.topic(6).await,
            target: Target::postgres().await,
            model: ModelService::start(),
        }
    }

    fn secured(job: Launch, broker: &OwnKafka, password: &str) -> Launch {
        job.env("TALLY_KAFKA__TLS", "true")
            .env("TALLY_KAFKA__CA_FILE", broker.ca())
            .env("TALLY_KAFKA__SASL__MECHANISM", "scram-sha-512")
            .env("TALLY_KAFKA__SASL__USERNAME", USER)
            .env("TALLY_KAFKA__SASL__PASSWORD", password)
    }

    fn send(stream: &Stream, broker: &OwnKafka, sample: &Sample) {
        let producer = Launch::new(binary("producer"))
            .args([sample.path().to_str().unwrap(), "--brokers", &stream.brokers])
            .args(["--topic", &stream.topic]);
        assert_code(&secured(producer, broker, PASSWORD).spawn().wait(LONG), 0);
    }

    #[tokio::test]
    async fn producer_and_consumer_log_in() {
        let broker = OwnKafka::secured().await;
        let (stream, sample) = (stream(&broker).await, Sample::new(500));
        send(&stream, &broker, &sample);
        let consumer = || stream.consumer().flag("--until-end").launch();
        let output = secured(consumer(), &broker, "hidden").spawn().wait(LONG);
        assert_code(&output, 78);
        assert!(!output.stderr.contains("hidden"), "{output}");
        let output = secured(consumer(), &broker, PASSWORD).spawn().wait(LONG);
        assert_code(&output, 0);
        stream.check_taken(&sample).await;
    }

    #[tokio::test]
    async fn a_right_that_is_taken_away_is_named_and_once_it_is_back_reading_goes_on() {
        let acls = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                    allow.everyone.if.no.acl.found=true\nsuper.users=User:ANONYMOUS";
        let broker = OwnKafka::secured_with(&[("KAFKA_SETTINGS", acls)]).await;
        // The second has the rows of the first, and more.
        let (first, second) = (Sample::new(200), Sample::new(400));
        let stream = stream(&broker).await;
        let mut java = JavaProducer::start(broker.bootstrap());
        send(&stream, &broker, &first);
        let consumer = || secured(stream.consumer().launch(), &broker, PASSWORD);
        let running = consumer().spawn();
        stream.until_read(first.rows()).await;

        java.deny(USER, &stream.topic, true).await;
        let output = running.wait(LONG);
        assert_code(&output, 78);
        let named = format!("cannot read {}/", stream.topic);
        assert!(output.stderr.contains(&named), "{output}");
        assert!(output.stderr.contains("TopicAuthorizationFailed"), "{output}");
        let again = consumer().args(["--until-end"]).spawn().wait(LONG);
        assert_code(&again, 78);
        assert!(again.stderr.contains("TopicAuthorizationFailed"), "{again}");

        java.deny(USER, &stream.topic, false).await;
        send(&stream, &broker, &second);
        eventually(LONG, async || {
            consumer().args(["--until-end"]).spawn().wait(LONG).code == Some(0)
        })
        .await;
        // What the producer sends again on a slow machine is in the topic twice.
        assert!(stream.read().await >= first.rows() + second.rows());
        assert_same_rows(&rows(&stream.target).await, &second.expected_rows());
        stream.check_ledger().await;
    }
}
