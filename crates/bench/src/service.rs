//! Kafka and the schema registry of the benchmark.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/native");

/// A service of the benchmark's own, by one of the scripts; wiped with this value, and by the script's watch when this
/// process is killed.
pub struct Service {
    script: PathBuf,
    state: PathBuf,
    _claim: File,
}

impl Service {
    /// Starts it, with its data in `folder`.
    pub fn start(name: &str, folder: &Path) -> anyhow::Result<Self> {
        let state = folder.join(name);
        std::fs::create_dir(&state)?;
        let claim = File::create(state.join("users"))?;
        claim.lock_shared()?;
        let script = Path::new(SCRIPTS).join(format!("{name}.sh"));
        let service = Self { script, state, _claim: claim };
        service.run(&["start"])?;
        Ok(service)
    }

    /// What a verb of the script prints.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.script)
            .args(words)
            .env("INFRA_STATE", &self.state)
            .envs(
                ["KAFKA", "KAFKA_CONTROLLER", "REGISTRY", "REGISTRY_MANAGEMENT"]
                    .map(|name| (format!("{name}_PORT"), "0")),
            )
            .envs([("KAFKA_WIPE_IDLE", "0"), ("REGISTRY_WIPE_IDLE", "0")])
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("{}: {}", self.script.display(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["wipe"]) {
            eprintln!("a service is left to its watch: {error}");
        }
    }
}
