//! Headers as producers send them.

use bytes::Bytes;
use tally_harness::kafka::{Broker, JavaProducer, JavaRecord};

use crate::support::Topic;

#[tokio::test]
async fn they_keep_their_order_their_names_and_that_they_have_no_value() {
    let broker = Broker::shared().await;
    let topic = Topic::new(broker).await;
    let mut java = JavaProducer::start(broker.bootstrap());
    let headers: &[(&str, Option<&[u8]>)] =
        &[("b", Some(b"1")), ("a", None), ("b", Some(b"")), ("", Some(b"\xff")), ("b", Some(b"1"))];
    let record = JavaRecord { topic: &topic.name, value: Some(b"{}"), ..Default::default() };
    java.send(JavaRecord { headers, ..record }).await;
    java.send(record).await;
    java.flush().await;

    let batches = topic.read(2).await;
    let items: Vec<_> = batches.iter().flat_map(|batch| &batch.items).collect();
    let expected: Vec<_> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.map(Bytes::from_static)))
        .collect();
    assert_eq!(*items[0].raw.headers, expected);
    assert!(items[1].raw.headers.is_empty());
}
