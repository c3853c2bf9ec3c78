//! The file of rejected rows.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tally_adapter_csv::CsvFile;
use tally_ports::dead_letter::TRUNCATED;
use tally_ports::{Raw, Stop, StopKind};

/// The file of rejected rows: a CSV table that can be corrected and sent.
pub struct Rejects {
    path: PathBuf,
    out: BufWriter<File>,
    /// The one of the header line.
    line_end: &'static [u8],
}

impl Rejects {
    /// Creates the file at `path`, or empties it, and writes the header line of `inputs`.
    ///
    /// # Errors
    /// [`StopKind::Setting`] when it is one of the inputs, or these differ in header line or decimal separator;
    /// [`StopKind::Output`] when it cannot be created.
    pub fn create<'a>(
        path: &Path,
        inputs: impl IntoIterator<Item = (&'a Path, &'a CsvFile)>,
    ) -> Result<Self, Stop> {
        let shown = path.display();
        let wrong = |message| Stop { kind: StopKind::Setting, message };
        let mut first: Option<(&Path, &CsvFile)> = None;
        for (input, file) in inputs {
            if is_same(path, input) {
                return Err(wrong(format!(
                    "--rejects {shown} is the input {}: name another file",
                    input.display()
                )));
            }
            let (other, like) = *first.get_or_insert((input, file));
            if !file.is_like(like) {
                let (other, input) = (other.display(), input.display());
                return Err(wrong(format!(
                    "{other} and {input} differ in their header lines or decimal separators, so that their rows cannot \
                     be in one file: send them one by one, each with its own --rejects"
                )));
            }
        }
        let header = first.map(|(_, file)| file.header_line()).unwrap_or_default();
        let line_end: &[u8] = if header.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        let header = header.strip_suffix(line_end).unwrap_or(header);
        let created = File::create(path).map_err(|error| {
            let message = format!("cannot create --rejects {shown}: {error}");
            Stop { kind: StopKind::Output, message }
        })?;
        let mut rejects = Self { path: path.to_owned(), out: BufWriter::new(created), line_end };
        rejects.line(header)?;
        Ok(rejects)
    }

    /// Writes a row unchanged; `false`, and nothing, for a row of which only the start was read.
    pub fn keep(&mut self, raw: &Raw) -> Result<bool, Stop> {
        if raw.headers.iter().any(|(name, _)| name == TRUNCATED) {
            return Ok(false);
        }
        self.line(raw.payload.as_deref().unwrap_or_default())?;
        Ok(true)
    }

    /// Flushes the file.
    pub fn close(mut self) -> Result<(), Stop> {
        self.out.flush().map_err(|error| cannot_write(&self.path, &error))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        let written = self.out.write_all(line).and_then(|()| self.out.write_all(self.line_end));
        written.map_err(|error| cannot_write(&self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Stop {
    let message = format!("cannot write --rejects {}: {error}", path.display());
    Stop { kind: StopKind::Output, message }
}

/// Whether both paths name the same existing file.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    identity(one).is_some_and(|one| Some(one) == identity(other))
}
