//! The one place that polls.

use std::panic::Location;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(20);

/// Returns once `check` answers true; panics, naming the caller's line, when it has not within `timeout`.
///
/// For states without an event. Where there is an event to wait for, wait for that.
#[track_caller]
pub fn eventually<F, Fut>(timeout: Duration, mut check: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + timeout;
        while !check().await {
            assert!(Instant::now() < deadline, "not so within {timeout:?}, as {caller} expects");
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
