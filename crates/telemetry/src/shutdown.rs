//! SIGTERM and Ctrl-C: the first one requests a graceful shutdown, the second one ends at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether and by which signal the process was asked to stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Cancelled by the first signal.
    pub token: CancellationToken,
    exit_code: Arc<AtomicU8>,
}

impl Shutdown {
    /// Listens for the signals.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let shutdown = Self { token: CancellationToken::new(), exit_code: Arc::default() };
        tokio::spawn(shutdown.clone().watch(interrupt, terminate));
        Ok(shutdown)
    }

    /// 130 or 143 once a signal came.
    pub fn exit_code(&self) -> Option<u8> {
        Some(self.exit_code.load(Ordering::SeqCst)).filter(|&code| code != 0)
    }

    async fn watch(self, mut interrupt: Signal, mut terminate: Signal) {
        let code = next(&mut interrupt, &mut terminate).await;
        self.exit_code.store(code, Ordering::SeqCst);
        tracing::info!("asked to stop: finishing what is in flight; a second signal stops at once");
        self.token.cancel();
        let code = next(&mut interrupt, &mut terminate).await;
        std::process::exit(i32::from(code));
    }
}

/// Waits for the next signal; returns its exit code.
async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}
