//! The ledger against what was read.

use tally_ports::audit::{Entry, Pass};

use crate::{Kind, Violations};

/// Compares a file that has `rows` rows with the `passes` over it.
pub fn check_file(
    path: &str,
    stream: &str,
    rows: i64,
    passes: &[&Pass],
    violations: &mut Violations,
) {
    let finished = passes.iter().rfind(|pass| pass.has_ended);
    let Some(pass) = finished else {
        match passes.last() {
            None => violations.add(Kind::SourceUnknown, || {
                format!("{path} ({stream}), which has {rows} rows, was never read")
            }),
            Some(pass) => violations.add_of(Kind::SourceUnfinished, &pass.name, || {
                format!("{path} has {rows} rows, and {} were read so far", pass.next)
            }),
        }
        return;
    };
    let read = pass.sums.read;
    if read != rows {
        violations.add_of(Kind::SourceCount, &pass.name, || {
            format!("{path} has {rows} rows, and {read} were read")
        });
    }
}

/// What became of the ranges of a log since they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Ranges that were compared.
    pub ranges: u64,
    /// Records that the log has in them.
    pub found: i64,
    /// How many of those that were read are no longer there: what a topic compacts.
    pub fewer: i64,
}

impl Compared {
    /// Compares a range that lies wholly in the log with the `found` records that are there.
    ///
    /// Some of what was read may have been compacted away since. But nothing comes into a log behind its end.
    pub fn range(&mut self, entry: &Entry, found: i64, violations: &mut Violations) {
        self.ranges += 1;
        self.found = self.found.saturating_add(found);
        let (Entry { id, pass, first, last, .. }, read) = (entry, entry.counts.read);
        if found > read {
            violations.add_of(Kind::SourceCount, pass, || {
                format!(
                    "the log has {found} records from {first} to {last}, and batch {id} read {read}"
                )
            });
        } else {
            self.fewer = self.fewer.saturating_add(read - found);
        }
    }
}
