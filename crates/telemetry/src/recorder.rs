//! The recorder of metrics in Prometheus' text format.

use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tally_ports::metric;

const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Seconds; from a fast batch to a model that needs its whole timeout.
const STAGE_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics of the process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Makes this the process' recorder and keeps its histograms small for as long as the runtime lives.
    ///
    /// # Errors
    /// When the process has a recorder already.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Full(metric::STAGE_DURATION.to_owned()),
                &STAGE_BUCKETS,
            )?
            .install_recorder()?;
        describe();
        let upkeep = handle.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(UPKEEP_EVERY);
            loop {
                tick.tick().await;
                upkeep.run_upkeep();
            }
        });
        Ok(Self { handle })
    }

    /// Their values now, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

fn describe() {
    describe_counter!(metric::BATCHES, "Batches committed");
    describe_counter!(metric::ROWS, "Records of committed batches");
    describe_counter!(metric::ROWS_WRITTEN, "Records whose effect was written");
    describe_counter!(metric::ROWS_SUPERSEDED, "Records of which a newer version was written");
    describe_counter!(metric::ROWS_SKIPPED, "Records that by the flow's rule have no effect");
    describe_counter!(metric::DEAD_LETTERS, "Dead letters by stage and code");
    describe_counter!(metric::ERRORS, "Failed calls to dependencies");
    describe_histogram!(metric::STAGE_DURATION, "Seconds that a batch spent in a stage");
    describe_gauge!(metric::INFLIGHT, "Batches read and not yet committed");
    describe_gauge!(metric::LAST_SUCCESS, "Unix time of the last commit");
    describe_gauge!(metric::LAST_BATCH_SIZE, "Records of the last batch");
    describe_counter!(metric::CSV_CHUNKS, "Batches read from CSV files");
    describe_counter!(metric::CSV_ROWS_READ, "Records read from CSV files");
    describe_gauge!(metric::GATE_OPEN, "1 while the dependency answers, 0 during an outage");
    describe_gauge!(metric::QUALITY_RATE, "Share of the last batch's records that break the rule");
    describe_gauge!(metric::OWNED_PARTITIONS, "Partitions owned by this process");
}
