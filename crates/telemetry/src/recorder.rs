//! The recorder of metrics in Prometheus' text format.

use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tally_ports::metric::{self, Kind, Metric};

use crate::Counts;

const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Seconds; from a fast batch to a model that needs its whole timeout.
const STAGE_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics of the process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    counts: Counts,
}

impl Metrics {
    /// Makes this, with these counts, the process' recorder and keeps its histograms small for as long as the runtime lives.
    ///
    /// # Errors
    /// When the process has a recorder already.
    pub fn install(counts: Counts) -> Result<Self, BuildError> {
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
        Ok(Self { handle, counts })
    }

    /// Their current values in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render() + &self.counts.render()
    }
}

fn describe() {
    for &Metric { name, kind, help } in metric::ALL {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
}
