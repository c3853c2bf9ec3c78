//! `export`: whole ones as JSON Lines.

use std::fs::File;
use std::io::{self, BufWriter, Write, stdout};
use std::path::Path;

use tally_ports::{DeadLetters, Filter};
use tally_runs::replay::parts;

use crate::console::{Console, Ended};
use crate::json::{self, WholeJson};

/// Writes those of `filter`, one by one, to a file or standard output.
pub async fn run(filter: &Filter, file: Option<&Path>, console: &Console) -> Result<(), Ended> {
    if let Some(ids) = &filter.ids {
        console.check_ids(ids).await?;
    }
    let name = file.map_or_else(|| "standard output".to_owned(), |file| file.display().to_string());
    let failed = |error| Ended::Output(name.clone(), error);
    let mut out = Out::open(file).map_err(failed)?;
    let mut pages = console.pages(filter);
    loop {
        let page = pages.next(usize::MAX).await?;
        if page.is_empty() {
            return out.close().map_err(failed);
        }
        for ids in parts(&page) {
            for stored in console.ask(|| console.store.fetch(&ids)).await? {
                out.write(&json::line(&WholeJson::of(&stored))).map_err(failed)?;
            }
        }
        if console.is_stopped() {
            out.close().map_err(failed)?;
            return Err(Ended::Interrupted);
        }
    }
}

enum Out {
    File(BufWriter<File>),
    Stdout(BufWriter<io::Stdout>),
}

impl Out {
    fn open(file: Option<&Path>) -> io::Result<Self> {
        Ok(match file {
            Some(path) => Self::File(BufWriter::new(File::create(path)?)),
            None => Self::Stdout(BufWriter::new(stdout())),
        })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::File(out) => out.write_all(text.as_bytes()),
            Self::Stdout(out) => out.write_all(text.as_bytes()),
        }
    }

    /// What a full disk would refuse is known by then.
    fn close(self) -> io::Result<()> {
        match self {
            Self::File(out) => out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all(),
            Self::Stdout(mut out) => out.flush(),
        }
    }
}
