use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::watch;

/// What a script answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) drip: Option<Duration>,
    delay: Duration,
    held: Option<watch::Receiver<bool>>,
    reset: bool,
}

impl Reply {
    /// An empty answer.
    pub fn status(status: u16) -> Self {
        let (headers, body, drip) = (Vec::new(), Bytes::new(), None);
        Self { status, headers, body, drip, delay: Duration::ZERO, held: None, reset: false }
    }

    /// 200 with JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::status(200).header("content-type", "application/json").body(body)
    }

    /// Closes the connection without an answer.
    pub fn reset() -> Self {
        Self { reset: true, ..Self::status(500) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits before the answer begins.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits with the answer until the test sends `true`: a delay that ends with an event.
    #[must_use]
    pub fn held(mut self, until: watch::Receiver<bool>) -> Self {
        self.held = Some(until);
        self
    }

    /// Sends the body byte by byte, with this pause before each.
    #[must_use]
    pub fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    /// The body alone.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset
    }

    pub(super) async fn ready(&self) {
        tokio::time::sleep(self.delay).await;
        if let Some(held) = &self.held {
            // A sender that is gone holds nothing any more.
            let _ = held.clone().wait_for(|&released| released).await;
        }
    }
}
