//! Progress while a file is read: a bar on a terminal, a line now and then otherwise.

use std::io::{self, IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tally_runs::files::Watch;

const LINE_EVERY: Duration = Duration::from_secs(5);
const REDRAW_EVERY: Duration = Duration::from_millis(500);
const BAR: &str = "{msg} {wide_bar} {percent}% {bytes}/{total_bytes}, {eta} left";

/// Shows the progress while a file is read.
pub struct Screen {
    bar: ProgressBar,
    is_terminal: bool,
    began: Instant,
    last_line: Mutex<Instant>,
}

impl Screen {
    /// A screen without a bar.
    pub fn new() -> Self {
        let now = Instant::now();
        let bar = ProgressBar::hidden();
        Self { bar, is_terminal: stderr().is_terminal(), began: now, last_line: Mutex::new(now) }
    }

    /// Where log lines go so that they do not run into the bar.
    pub fn log_writer(&self) -> impl Fn() -> LogWriter + Send + Sync + 'static {
        let bar = self.bar.clone();
        move || LogWriter { bar: bar.clone() }
    }
}

impl Watch for Screen {
    fn begin(&self, path: &str, bytes: u64, done: u64) {
        self.bar.reset();
        self.bar.set_style(
            ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        self.bar.set_length(bytes);
        self.bar.set_position(done);
        self.bar.reset_eta(); // An earlier run read the part before `done`; it must not count for the speed.
        self.bar.set_message(path.to_owned());
        if self.is_terminal {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            // Otherwise it would keep showing the old speed while nothing can be committed.
            self.bar.enable_steady_tick(REDRAW_EVERY);
        }
    }

    fn advance(&self, done: u64, rows: i64) {
        let rows_per_second = rate(rows, self.began.elapsed());
        self.bar.set_position(done);
        if self.is_terminal {
            self.bar.set_message(format!("{rows} rows, {rows_per_second}/s"));
            return;
        }
        if let Ok(mut last_line) = self.last_line.lock()
            && last_line.elapsed() >= LINE_EVERY
        {
            *last_line = Instant::now();
            let percent = done * 100 / self.bar.length().unwrap_or(done).max(1);
            let left = self.bar.eta().as_secs();
            tracing::info!(
                "{rows} rows, {rows_per_second} rows/s, {percent} % of the file, {left} s left"
            );
        }
    }

    /// Removes the bar.
    fn close(&self) {
        self.bar.finish_and_clear();
    }
}

/// Whole rows per second.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a rate for display"
)]
pub fn rate(rows: i64, time: Duration) -> i64 {
    (rows as f64 / time.as_secs_f64().max(0.001)).round() as i64
}

/// Standard error, with the bar hidden during each write.
pub struct LogWriter {
    bar: ProgressBar,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}
