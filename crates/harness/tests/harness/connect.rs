//! The real Kafka Connect of the tests.

use std::process;

use tally_harness::kafka::Broker;

use crate::support::assert_wiped;

mod repeated {
    use super::*;

    /// What happens to the workers of tests that are killed.
    #[tokio::test]
    async fn a_worker_that_nobody_uses_is_wiped() {
        let group = format!("connect-{}", process::id());
        let settings = [
            ("CONNECT_PORT", "0"),
            ("CONNECT_HEAP", "256m"),
            ("CONNECT_KAFKA", Broker::shared().await.bootstrap()),
            ("CONNECT_GROUP", &group),
            ("CONNECT_WIPE_IDLE", "0"),
        ];
        assert_wiped("connect", &settings).await;
    }
}
