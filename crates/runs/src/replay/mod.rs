//! Replay and repair of dead letters.

mod decode;
mod outcome;
mod pages;
mod repair;
mod run;
mod stages;

use tally_ports::{Fault, Stop};

pub use self::outcome::Outcome;
pub use self::pages::{Pages, parts};
pub use self::repair::{Corrected, Correction};
pub use self::run::{Seen, Settings, flows, run};
pub use self::stages::{Reading, Stages};
use crate::Process;

/// Why work on dead letters ended early.
#[derive(Debug)]
pub enum Ended {
    /// An error.
    Stopped(Stop),
    /// A stop was requested while it waited.
    Interrupted,
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// The store's answer, after any outage.
///
/// # Errors
/// When it stays unavailable, and when a stop is requested meanwhile.
pub async fn ask<T, Call>(process: &Process, call: impl FnMut() -> Call) -> Result<T, Ended>
where
    Call: Future<Output = Result<T, Fault>>,
{
    wait(process, process.gates.database.pass(call)).await
}

/// The result of `work`.
async fn wait<T>(
    process: &Process,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Ended> {
    // Futures that wait for a store are large.
    Ok(process.unless_stopped(Box::pin(work)).await.ok_or(Ended::Interrupted)??)
}
