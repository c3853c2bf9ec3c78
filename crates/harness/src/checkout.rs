//! The recipes of the `justfile` as a newcomer runs them, on the binaries that tests run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::{Launch, binary};
use crate::service::root;

/// What `just` needs of a checkout whose release binaries are the ones that tests run, and a `cargo` that builds nothing.
pub struct Checkout {
    folder: TempDir,
}

impl Checkout {
    /// With these binaries.
    pub fn built(names: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        // The server's own user must be able to enter.
        let enter = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), enter).expect("a folder of our own");
        let link = |from: PathBuf, to: &str| {
            symlink(from, folder.path().join(to)).unwrap_or_else(|error| panic!("{to}: {error}"));
        };
        for name in ["justfile", "infra", "data"] {
            link(root().join(name), name);
        }
        fs::create_dir_all(folder.path().join("target/release")).expect("a folder of our own");
        for name in names {
            link(binary(name), &format!("target/release/{name}"));
        }
        link("/bin/true".into(), "cargo");
        Self { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `just` with these arguments, in a session of its own, as a terminal's.
    pub fn just(&self, arguments: &[&str]) -> Launch {
        let path = std::env::var("PATH").expect("a PATH");
        Launch::new("setsid")
            .args(["just"])
            .args(arguments)
            .current_dir(self.path())
            .env("PATH", format!("{}:{path}", self.path().display()))
    }

    /// The command lines of processes that name it or run in it.
    pub fn processes(&self) -> Vec<String> {
        let folder = self.path().to_str().expect("UTF-8");
        let processes = fs::read_dir("/proc").expect("a /proc").flatten();
        let line = |process: PathBuf| {
            let line = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            let place = fs::read_link(process.join("cwd")).unwrap_or_default();
            (line.contains(folder) || place.starts_with(folder)).then_some(line)
        };
        processes.map(|process| process.path()).filter_map(line).collect()
    }
}
