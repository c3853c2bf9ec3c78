//! What `csv-runner` leaves in a database, and what `audit` says of it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tally_harness::job::{Job, ModelService, Target};
use tally_harness::process::{Launch, Output, Process};
use tally_sample::{Options, generate};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy with other tests.
pub const LONG: Duration = Duration::from_mins(1);

/// `audit` of a database.
pub fn audit_of(url: &str, flags: &[impl AsRef<OsStr>]) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_audit")).args(["--database-url", url]).args(flags)
}

/// Runs `audit` to its end.
pub fn audit(target: &Target, flags: &[impl AsRef<OsStr>]) -> Output {
    audit_of(&target.url(), flags).spawn().wait(LONG)
}

/// What `audit --output json` says when it ends with this code.
#[track_caller]
pub fn audited(target: &Target, code: i32, flags: &[&OsStr]) -> Value {
    let flags: Vec<&OsStr> = ["--output=json".as_ref()].iter().chain(flags).copied().collect();
    let output = audit(target, &flags);
    assert_eq!(output.code, Some(code), "{output}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// A generated file in a folder of its own.
pub struct Sample {
    folder: TempDir,
}

impl Sample {
    /// A share of the rows is wrong.
    pub fn new(rows: u64, spoil_share: f64) -> Self {
        let sample = Self { folder: TempDir::new().unwrap() };
        let file = std::fs::File::create(sample.path()).unwrap();
        let options = Options { rows, spoil_share, ..Options::default() };
        generate(&options, std::io::BufWriter::new(file)).unwrap();
        sample
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("sample.csv")
    }

    /// The same with one byte more.
    pub fn changed(&self) -> PathBuf {
        let mut bytes = std::fs::read(self.path()).unwrap();
        bytes.push(b'\n');
        let path = self.folder.path().join("changed.csv");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A run of `csv-runner` with it.
    pub fn ingest(&self, target: &Target, model: &str, flags: &[&str]) -> Process {
        let job = Job::new(&target.url()).model(model).file(self.path());
        job.flags(["--summary=json"]).flags(flags).spawn()
    }

    /// A run to its end; its summary.
    #[track_caller]
    pub fn ingested(&self, target: &Target, model: &ModelService, flags: &[&str]) -> Value {
        let output = self.ingest(target, model.url(), flags).wait(LONG);
        assert_eq!(output.code, Some(0), "{output}");
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
    }
}
