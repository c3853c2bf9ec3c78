//! Where and of what the figures are.

use std::process::Command;
use std::{fs, thread};

/// The time, the machine and the commit, in one line.
pub fn describe() -> String {
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
    let cores =
        thread::available_parallelism().map_or_else(|_| "?".to_owned(), |cores| cores.to_string());
    let build = if cfg!(debug_assertions) { "DEBUG BUILD" } else { "release build" };
    format!("{now}; {cores} cores, {}; {build} of commit {}", cpu(), commit())
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown CPU", |(_, model)| model).to_owned()
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output =
            Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(hash) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain"]).as_deref() {
        Some("") => hash,
        _ => format!("{hash} with uncommitted changes"),
    }
}
