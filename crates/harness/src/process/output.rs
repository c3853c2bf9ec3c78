use std::fmt;
use std::process::ExitStatus;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;

const KEPT_BYTES: usize = 16 << 20;

/// What a process wrote and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code, unless it runs or a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Standard output, what is no UTF-8 replaced.
    pub stdout: String,
    /// Standard error, what is no UTF-8 replaced.
    pub stderr: String,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, signal, stdout, stderr } = self;
        write!(f, "code {code:?}, signal {signal:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// What the threads that watch a process know of it.
#[derive(Default)]
pub(super) struct State {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Seen {
    written: [Vec<u8>; 2],
    closed: [bool; 2],
    exit: Option<Exit>,
}

#[derive(Clone, Copy)]
pub(super) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<Signal>,
}

#[derive(Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl State {
    pub(super) fn append(&self, stream: Stream, bytes: &[u8]) {
        self.change(|seen| {
            let written = &mut seen.written[stream as usize];
            let room = KEPT_BYTES - written.len();
            written.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
    }

    pub(super) fn close(&self, stream: Stream) {
        self.change(|seen| seen.closed[stream as usize] = true);
    }

    pub(super) fn exited(&self, reap: impl FnOnce() -> ExitStatus) {
        self.change(|seen| seen.exit = Some(reap().into()));
    }

    pub(super) fn unless_reaped(&self, act: impl FnOnce()) {
        let seen = self.seen.lock().unwrap();
        if seen.exit.is_none() {
            act();
        }
    }

    pub(super) fn output(&self) -> Output {
        let seen = self.seen.lock().unwrap();
        let [stdout, stderr] =
            seen.written.each_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let (code, signal) = seen.exit.map_or((None, None), |exit| (exit.code, exit.signal));
        Output { code, signal, stdout, stderr }
    }

    /// Looks at every change until `found` answers; `None` when it has not within `timeout`.
    pub(super) fn wait<T>(
        &self,
        timeout: Duration,
        mut found: impl FnMut(&Seen) -> Option<T>,
    ) -> Option<T> {
        let mut answer = None;
        let seen = self.seen.lock().unwrap();
        let running = |seen: &mut Seen| {
            answer = found(seen);
            answer.is_none()
        };
        drop(self.changed.wait_timeout_while(seen, timeout, running).unwrap());
        answer
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Seen {
    /// It has exited and all that it wrote has been read.
    pub(super) fn ended(&self) -> bool {
        self.exit.is_some() && self.closed == [true; 2]
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// The first `count` complete lines with `text`; those of standard output first.
    pub(super) fn lines_with(&self, text: &str, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        for written in &self.written {
            let complete = match written.iter().rposition(|&byte| byte == b'\n') {
                Some(end) => &written[..end],
                None => continue,
            };
            let lines = complete.split(|&byte| byte == b'\n').map(String::from_utf8_lossy);
            found.extend(
                lines.filter(|line| line.contains(text)).map(|line| line.trim_end().to_owned()),
            );
        }
        found.truncate(count);
        found
    }
}
