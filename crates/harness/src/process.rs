//! The workspace's binaries as processes that a test can watch, signal and kill.

mod output;

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use nix::sys::signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, geteuid};

pub use nix::sys::signal::Signal;
pub use output::Output;
use output::{State, Stream};

use tally_testkit::eventually;

/// How long the kernel may take to stop a process on a busy machine.
const FREEZE: Duration = Duration::from_secs(20);

/// What a process keeps of the environment of the tests; the rest is taken from it, so that a developer's own
/// settings decide nothing.
const KEPT: [&str; 6] =
    ["HOME", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "PATH", "RUST_BACKTRACE", "TMPDIR"];

/// A process, killed and reaped with this value. Its output is read all the time; the first 16 MiB of each stream
/// are kept.
pub struct Process {
    pid: Pid,
    state: Arc<State>,
}

/// A process to be started.
pub struct Launch(Command);

/// Where cargo has put a binary of this workspace. For the binaries of the test's own package use
/// `env!("CARGO_BIN_EXE_name")`, which also builds them.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the test's own path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "{} is not there: run `cargo build --workspace --bins`",
        path.display()
    );
    path
}

impl Launch {
    /// With standard input empty and next to nothing of the environment.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(path);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        Self(command)
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Where the tests run as root, to whom every file is open: as this user and group instead. The user must be able
    /// to reach the binary. Where they do not, nothing changes.
    #[must_use]
    pub fn as_user(mut self, uid: u32) -> Self {
        if geteuid().is_root() {
            self.0.uid(uid).gid(uid);
        }
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> Process {
        let path = PathBuf::from(self.0.get_program());
        let mut child = self
            .0
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", path.display()));
        let state = Arc::new(State::default());
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        collect(child.stdout.take(), &state, Stream::Stdout);
        collect(child.stderr.take(), &state, Stream::Stderr);
        reap(child, pid, &state);
        Process { pid, state }
    }
}

impl Process {
    /// Starts a binary; [`Launch`] has more to set.
    pub fn spawn<A: AsRef<OsStr>>(
        path: impl AsRef<OsStr>,
        args: &[A],
        envs: &[(&str, &str)],
    ) -> Self {
        let launch = Launch::new(path).args(args);
        envs.iter().fold(launch, |launch, (name, value)| launch.env(name, value)).spawn()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// The first line, on either stream and from the start on, that contains `text`. Panics with what the process
    /// has said when there is none within `timeout`, at once when it ends without one.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str, timeout: Duration) -> String {
        self.wait_for_lines(text, 1, timeout).remove(0)
    }

    /// The same for the first `count` such lines, for what is said again and again.
    #[track_caller]
    pub fn wait_for_lines(&self, text: &str, count: usize, timeout: Duration) -> Vec<String> {
        let lines = self.state.wait(timeout, |seen| {
            let lines = seen.lines_with(text, count);
            (lines.len() == count || seen.ended()).then_some(lines)
        });
        match lines {
            Some(lines) if lines.len() == count => lines,
            Some(_) => panic!(
                "the process ended before line {count} with {text:?}\n{}",
                self.state.output()
            ),
            None => {
                panic!("no line {count} with {text:?} within {timeout:?}\n{}", self.state.output())
            }
        }
    }

    /// Sends a signal; nothing when it has ended.
    pub fn signal(&self, signal: Signal) {
        self.state.unless_reaped(|| signal::kill(self.pid, signal).expect("a signal to a child"));
    }

    /// The same to all of the process group that it leads, as a terminal does.
    pub fn signal_group(&self, signal: Signal) {
        self.state.unless_reaped(|| signal::killpg(self.pid, signal).expect("a group of a child"));
    }

    /// SIGKILL, which it cannot prepare for.
    pub fn kill9(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// SIGSTOP; returns when none of its threads runs any more.
    pub async fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        self.until_frozen().await;
    }

    /// Returns when none of its threads runs any more.
    pub async fn until_frozen(&self) {
        let tasks = format!("/proc/{}/task", self.id());
        let is_stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat"));
            stat.is_ok_and(|stat| {
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
            })
        };
        let threads = || fs::read_dir(&tasks).expect("a process that has not ended").flatten();
        eventually(FREEZE, async || threads().all(is_stopped)).await;
    }

    /// What it has written so far.
    pub fn output_so_far(&self) -> Output {
        self.state.output()
    }

    /// How it ended. When it does not within `timeout` it is killed and the test fails with what it has said.
    #[track_caller]
    pub fn wait(&self, timeout: Duration) -> Output {
        if self.state.wait(timeout, |seen| seen.ended().then_some(())).is_none() {
            self.kill9();
            panic!("the process runs on after {timeout:?}\n{}", self.state.output());
        }
        self.state.output()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        // SIGKILL cannot fail to end it; the limit is for a kernel that is very busy.
        self.state.wait(Duration::from_secs(10), |seen| seen.exit().map(drop));
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>, state: &Arc<State>, stream: Stream) {
    let (mut pipe, state) = (pipe.expect("a pipe"), Arc::clone(state));
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(length @ 1..) => state.append(stream, &buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return state.close(stream),
            }
        }
    });
}

/// Reaps it when it ends, never while [`Process::signal`] is about to use its pid.
fn reap(mut child: Child, pid: Pid, state: &Arc<State>) {
    let state = Arc::clone(state);
    thread::spawn(move || {
        while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            == Err(nix::Error::EINTR)
        {}
        state.exited(|| child.wait().expect("the status of a child"));
    });
}

impl From<ExitStatus> for output::Exit {
    fn from(status: ExitStatus) -> Self {
        Self {
            code: status.code(),
            signal: status.signal().and_then(|number| Signal::try_from(number).ok()),
        }
    }
}
