//! Counters of a flow on `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use tally_domain::{CounterTable, Flow};
use tally_ports::{Counters, Fault};
use tally_telemetry::Counts;
use tokio::time::{MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_secs(5);

/// Shows the counters of a flow that has [tops](Flow::tops), of each table with one key, from now on, as they are in the store, for as long as the runtime
/// lives. While the store is unavailable the last ones stay.
pub fn show_counts<S: Counters>(flow: &Arc<dyn Flow>, store: &Arc<S>, counts: &Counts) {
    if flow.tops().is_empty() {
        return;
    }
    let (flow, store, counts) = (Arc::clone(flow), Arc::clone(store), counts.clone());
    tokio::spawn(async move {
        let mut beat = interval(EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            if let Err(fault) = refresh(&*flow, &*store, &counts).await {
                tracing::debug!("the counters cannot be read: {fault}");
            }
        }
    });
}

async fn refresh(flow: &dyn Flow, store: &impl Counters, counts: &Counts) -> Result<(), Fault> {
    let mut tables = Vec::with_capacity(flow.tables().len());
    for table in flow.tables().iter().filter_map(CounterTable::of) {
        tables.push((table.name, store.greatest(table, Some(Counts::LIMIT)).await?));
    }
    counts.replace(flow.name(), &tables);
    Ok(())
}
