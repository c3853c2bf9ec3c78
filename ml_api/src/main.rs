//! `ml-api`: serves the model until SIGTERM or Ctrl-C.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::serve::ListenerExt;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// How long requests in flight may take once the service was told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Exit code: a setting is wrong.
const WRONG_SETTING: u8 = 78;

/// The model service: POST /predict, GET /health.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Address to listen on; port 0 is any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let Flags { listen } = Flags::parse();
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            say(format_args!("cannot listen on {listen}: {}", error.kind()));
            return Ok(ExitCode::from(WRONG_SETTING));
        }
    };
    // Registered before the line that says ready: its reader may send a signal at once.
    let mut graceful = Signals::register()?;
    let mut forced = Signals::register()?;
    say(format_args!("listening on http://{}", listener.local_addr()?));

    // An answer is more than one segment: without nodelay its last one waits for the client's ACK.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let server = axum::serve(listener, ml_api::router())
        .with_graceful_shutdown(async move { graceful.next().await });
    let drain = async {
        forced.next().await;
        let _ = timeout(DRAIN_DEADLINE, forced.next()).await;
    };
    tokio::select! {
        result = server => result?,
        () = drain => say(format_args!("stopped with requests in flight")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a line to standard error. `eprintln` would panic where it is closed.
fn say(line: fmt::Arguments) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// SIGTERM and Ctrl-C, those sent since it was registered.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
