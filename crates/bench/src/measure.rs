//! A process and what it used.
//!
//! Between this process and the one measured stands a fresh copy of this binary: the kernel tells a process the
//! peak memory of its children only as the greatest of all of them, so each measured one needs a parent of its own.
//! The parent is small, since a child counts the memory of the process that it was forked from.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin};

/// What a process used.
#[derive(Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// From its start to its end, in seconds.
    pub seconds: f64,
    /// User and system time of all its threads, in seconds.
    pub cpu_seconds: f64,
    /// The most memory that was resident, in KiB.
    pub peak_kib: i64,
    /// What it wrote on standard output.
    pub output: String,
}

/// A process that is being measured; killed with this value, and with this process however it ends.
pub struct Measured {
    name: String,
    parent: Child,
    /// Its end is what tells the parent to kill the process.
    leash: Option<ChildStdin>,
    stderr: BufReader<ChildStderr>,
}

/// The inside of the parent: runs `command` and prints its [`Usage`] as JSON.
pub fn run(command: &[OsString]) -> anyhow::Result<()> {
    let [program, args @ ..] = command else { bail!("no command") };
    let started = Instant::now();
    let child = std::process::Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let pid = Pid::from_raw(child.id().try_into()?);
    thread::spawn(move || {
        let _until_its_end = io::copy(&mut io::stdin(), &mut io::sink());
        let _gone_already = kill(pid, Signal::SIGKILL);
    });
    let output = child.wait_with_output()?;
    let seconds = started.elapsed().as_secs_f64();

    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let usage = Usage {
        code: output.status.code(),
        seconds,
        cpu_seconds: in_seconds(used.user_time()) + in_seconds(used.system_time()),
        peak_kib: used.max_rss(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    };
    serde_json::to_writer(io::stdout(), &usage)?;
    Ok(io::stdout().flush()?)
}

#[expect(clippy::cast_precision_loss, reason = "a time for people to read")]
fn in_seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

impl Measured {
    /// Starts the binary `name`, which stands beside this one, in `folder`, with next to nothing of the environment:
    /// settings of whoever measures decide nothing.
    pub fn start(
        name: &str,
        folder: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        envs: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let kept = ["PATH", "TMPDIR", "LD_LIBRARY_PATH"];
        let mut command = std::process::Command::new(env::current_exe()?);
        command.arg("measure").arg(beside(name)?).args(args).current_dir(folder).env_clear();
        command.envs(kept.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.envs(envs.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C is for this process, which then lets go of the leash.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut parent = tokio::process::Command::from(command).spawn()?;
        let leash = parent.stdin.take();
        let stderr = BufReader::new(parent.stderr.take().context("standard error is piped")?);
        Ok(Self { name: name.to_owned(), parent, leash, stderr })
    }

    /// What follows `start` in the first line of standard error that begins so.
    pub async fn line(&mut self, start: &str) -> anyhow::Result<String> {
        let mut said = String::new();
        loop {
            let length = said.len();
            if self.stderr.read_line(&mut said).await? == 0 {
                bail!("{} ended before it said {start:?}\n{said}", self.name);
            }
            if let Some(rest) = said[length..].strip_prefix(start) {
                return Ok(rest.trim_end().to_owned());
            }
        }
    }

    /// Waits for its end. Errs with what it said on standard error when its exit code is not 0.
    pub async fn end(mut self) -> anyhow::Result<Usage> {
        let mut stdout = self.parent.stdout.take().context("standard output is piped")?;
        let (mut json, mut said) = (Vec::new(), String::new());
        let (read_json, read_said) =
            tokio::join!(stdout.read_to_end(&mut json), self.stderr.read_to_string(&mut said));
        read_json?;
        read_said?;
        let usage: Usage = serde_json::from_slice(&json)
            .with_context(|| format!("cannot measure {}\n{said}", self.name))?;
        if usage.code != Some(0) {
            bail!("{} ended with {:?}\n{said}", self.name, usage.code);
        }
        Ok(usage)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        drop(self.leash.take());
        while matches!(self.parent.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A binary in the same folder as this one.
pub fn beside(name: &str) -> anyhow::Result<OsString> {
    let path = env::current_exe()?.with_file_name(name);
    if !path.is_file() {
        bail!(
            "{} is not there: `just bench-batch` and the other recipes of that name build what they run",
            path.display()
        );
    }
    Ok(path.into())
}
