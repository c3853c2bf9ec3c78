//! Folders where files appear.

use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use tally_ports::{Content, Listed, Place};

use crate::blocking::blocking;
use crate::content::OpenFile;

/// A folder, without those in it. Names that begin with a point are hidden.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at this path, which is there.
    ///
    /// # Errors
    /// Why it cannot be looked at.
    pub fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let path = path.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("the folder {shown} does not exist: make it first"),
            _ => format!("cannot look at the folder {shown}: {error}"),
        })?;
        if !path.is_dir() {
            return Err(format!("{shown} is no folder: name the one that files appear in"));
        }
        let folder = Self { path };
        folder.look().map(|_| folder)
    }

    fn look(&self) -> Result<Vec<Listed>, String> {
        let problem = |error| format!("cannot look at the folder {self}: {error}");
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(problem)? {
            let entry = entry.map_err(problem)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // One that is gone is not there.
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if metadata.is_file() && !name.starts_with('.') {
                found.push(listed(name, &metadata));
            }
        }
        Ok(found)
    }
}

fn listed(name: String, metadata: &fs::Metadata) -> Listed {
    let modified = DateTime::<Utc>::from(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
    let size = metadata.len();
    let since = modified.timestamp_nanos_opt().unwrap_or_default();
    Listed { name, version: format!("{size} bytes, {since}"), size, modified }
}

impl Place for Folder {
    async fn list(&self) -> Result<Vec<Listed>, String> {
        let folder = self.clone();
        blocking(move || folder.look()).await
    }

    async fn open(&self, file: &Listed) -> Result<Option<Arc<dyn Content>>, String> {
        let (path, file) = (self.path_of(&file.name), file.clone());
        blocking(move || open(&path, &file)).await
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn open(path: &Path, file: &Listed) -> Result<Option<Arc<dyn Content>>, String> {
    if file.name.contains(char::REPLACEMENT_CHARACTER) {
        return Err(format!("the name of {} is not UTF-8: rename it", path.display()));
    }
    let problem = |error| format!("cannot open {}: {error}", path.display());
    let opened = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(problem)?,
    };
    let now = opened.metadata().map_err(problem)?;
    if listed(file.name.clone(), &now) != *file {
        return Ok(None);
    }
    let content = OpenFile::new(opened).map_err(problem)?;
    Ok(Some(Arc::new(content)))
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}
