//! How every binary ends.

use std::io::{self, Write, stderr, stdout};
use std::process::ExitCode;

use tally_ports::{Stop, StopKind};
use tokio::runtime::Runtime;

/// The exit code when standard output or an export cannot be written.
pub const EXIT_OUTPUT: u8 = StopKind::Output.exit_code();

/// Runs a binary and returns its exit code. Prints a stop on standard error.
///
/// # Errors
/// When the runtime cannot be started.
pub fn exit(run: impl Future<Output = Result<u8, Stop>>) -> io::Result<ExitCode> {
    let runtime = Runtime::new()?;
    let code = match runtime.block_on(run) {
        Ok(code) => code,
        Err(stop) => {
            say(&format!("error: {stop}"));
            stop.kind.exit_code()
        }
    };
    runtime.shutdown_background(); // a thread that waits for a locked file would delay the exit
    Ok(ExitCode::from(code))
}

/// Prints `text` on standard output and returns the exit code. Prints an error on standard error.
pub fn print(text: &str) -> u8 {
    printed(text, |problem| say(&format!("error: {problem}")))
}

/// The same, with errors in the log.
pub fn print_logged(text: &str) -> u8 {
    printed(text, |problem| tracing::error!("{problem}"))
}

fn printed(text: &str, tell: impl FnOnce(String)) -> u8 {
    let mut out = stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return 0 };
    tell(format!("cannot write to standard output: {error}"));
    EXIT_OUTPUT
}

/// Prints `text` on standard error, if that is open.
pub fn say(text: &str) {
    let _nobody_to_tell = writeln!(stderr(), "{text}");
}
