//! One batch through the model.

use tally_domain::Record;
use tally_ports::{Answers, Enrich, Stop, StopKind};
use tokio::sync::Mutex;

use crate::Gate;

/// The model's answers to `records`, in order; waits at `gate` while the model is unavailable.
///
/// Each pass of the gate ends with a usable answer. So an outage keeps the earlier answers, and every usable answer
/// ends an outage.
pub(crate) async fn inquire<E: Enrich>(
    enrich: &E,
    gate: &Gate,
    records: &[&Record],
) -> Result<Answers, Stop> {
    let inquiry = Mutex::new(enrich.begin(records)?);
    let ask = || async { enrich.ask(&mut *inquiry.lock().await).await };
    let answers = loop {
        if let Some(answers) = gate.pass(ask).await? {
            break answers;
        }
    };
    if answers.len() != records.len() {
        let message = format!("{} answers to {} records", answers.len(), records.len());
        return Err(Stop { kind: StopKind::Data, message });
    }
    Ok(answers)
}
