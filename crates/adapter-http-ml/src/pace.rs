//! How fast requests are sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Between two requests after the first 429 of a model without a limit of its own.
const FIRST_INTERVAL: Duration = Duration::from_millis(50);
/// A shorter one is none.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);
/// A model that answers 429 is sent at least a request in this time.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// The time between requests, of all calls in flight together: doubled by a 429 and shortened again by each answer.
#[derive(Debug)]
pub(crate) struct Pace {
    /// What the setting asks for.
    least: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    interval: Duration,
    /// When the next request may be sent.
    next: Instant,
    /// When it last became slower.
    slowed: Instant,
}

impl Pace {
    /// So many requests per second at most; 0 for no limit.
    pub(crate) fn new(max_requests_per_second: f64) -> Self {
        let interval = Duration::try_from_secs_f64(max_requests_per_second.recip());
        let (least, now) = (interval.unwrap_or_default(), Instant::now());
        Self { least, state: Mutex::new(State { interval: least, next: now, slowed: now }) }
    }

    /// Returns when a request may be sent, which is then.
    pub(crate) async fn turn(&self) -> Instant {
        let turn = {
            let mut state = self.lock();
            let turn = state.next.max(Instant::now());
            state.next = turn + state.interval;
            turn
        };
        sleep_until(turn).await;
        turn
    }

    /// A request `sent` then was answered with 429, and the model requested this pause, if any. How many requests per
    /// second are sent from now on, where that is news.
    pub(crate) fn slow_down(&self, sent: Instant, pause: Option<Duration>) -> Option<f64> {
        let mut state = self.lock();
        let now = Instant::now();
        let was_full_speed = state.interval <= self.least;
        // Those in flight together met the same limit.
        if sent >= state.slowed {
            let doubled = (state.interval * 2).clamp(FIRST_INTERVAL, LONGEST_INTERVAL);
            state.interval = doubled.max(self.least);
            state.slowed = now;
        }
        state.next = state.next.max(now + pause.unwrap_or(state.interval));
        was_full_speed.then(|| state.interval.as_secs_f64().recip())
    }

    /// A request was answered with something else.
    pub(crate) fn speed_up(&self) {
        let mut state = self.lock();
        if state.interval > self.least {
            let shorter = state.interval * 9 / 10;
            let shorter = if shorter < LEAST_INTERVAL { Duration::ZERO } else { shorter };
            state.interval = shorter.max(self.least);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
