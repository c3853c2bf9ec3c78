//! Dead letters through all stages again.

mod decode;
mod outcome;
mod pages;
mod run;

use tally_ports::{Fault, Stop};

pub use self::outcome::Outcome;
pub use self::pages::{Pages, parts};
pub use self::run::{Settings, Stages, flows, run};
use crate::Process;

/// Why work on dead letters did not come to its end.
#[derive(Debug)]
pub enum Ended {
    /// There is a cause to tell.
    Stopped(Stop),
    /// A stop was asked for while it waited.
    Interrupted,
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// What the store answers, once it does.
///
/// # Errors
/// When it stays away, and when a stop is asked for meanwhile.
pub async fn ask<T, Call>(process: &Process, call: impl FnMut() -> Call) -> Result<T, Ended>
where
    Call: Future<Output = Result<T, Fault>>,
{
    wait(process, process.gates.database.pass(call)).await
}

/// What `work` gives.
async fn wait<T>(
    process: &Process,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Ended> {
    // What waits for a store is large.
    Ok(process.unless_stopped(Box::pin(work)).await.ok_or(Ended::Interrupted)??)
}
