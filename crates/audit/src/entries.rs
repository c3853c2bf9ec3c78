//! The entries of the ledger, each and one after the other.

use tally_ports::audit::{Counts, Entry, PassName};

use crate::{Kind, Violations};

/// The entries of the ledger, each and one after the other.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    last: Option<(PassName, i64, i64)>,
}

impl Entries {
    pub(crate) fn see(&mut self, entry: Entry, violations: &mut Violations) {
        check_counts(&entry, violations);
        check_width(&entry, violations);
        check_dead_letters(&entry, violations);
        self.check_place(&entry, violations);
        self.last = Some((entry.pass, entry.first, entry.last));
    }

    fn check_place(&self, entry: &Entry, violations: &mut Violations) {
        let Entry { pass, first, .. } = entry;
        match &self.last {
            Some((of, begin, end)) if of == pass => {
                let expected = end.saturating_add(1);
                if *first > expected {
                    violations.add_of(Kind::Gap, pass, || {
                        format!("positions {expected} to {} are in no batch: batch {} follows {begin} to {end}", first - 1, named(entry))
                    });
                } else if *first < expected {
                    violations.add_of(Kind::Overlap, pass, || {
                        format!(
                            "batch {} begins within or before the one from {begin} to {end}",
                            named(entry)
                        )
                    });
                }
            }
            _ if *first == 0 || *first > 0 && !pass.is_of_file() && pass.pass == 1 => {}
            _ => violations.add_of(Kind::WrongBegin, pass, || {
                format!("its first batch, {}, does not begin at 0", named(entry))
            }),
        }
    }
}

fn check_counts(entry: &Entry, violations: &mut Violations) {
    let Entry { pass, counts, .. } = entry;
    let Counts { read, written, superseded, skipped, dead_lettered } = counts;
    let accounted = counts.accounted();
    if *read != accounted {
        violations.add_of(Kind::Unbalanced, pass, || {
            format!(
                "batch {} read {read} records and accounts for {accounted}: {written} written, {superseded} superseded, \
                 {skipped} skipped, {dead_lettered} dead letters",
                named(entry)
            )
        });
    }
    for (name, count) in [
        ("read", read),
        ("written", written),
        ("superseded", superseded),
        ("skipped", skipped),
        ("dead_lettered", dead_lettered),
    ] {
        if *count < 0 {
            violations.add_of(Kind::NegativeCount, pass, || {
                format!("batch {} has {name} {count}", named(entry))
            });
        }
    }
}

/// A row of a file has a position and a position of a file a row. A log has positions without a record, too, which the entry
/// counts: the ends of transactions, what was compacted away, and what somebody passed over.
fn check_width(entry: &Entry, violations: &mut Violations) {
    let Entry { pass, first, last, counts, .. } = entry;
    if last < first {
        violations.add_of(Kind::BackwardRange, pass, || {
            format!("batch {} ends before it begins", named(entry))
        });
        return;
    }
    let read = counts.read;
    if entry.is_gap && read != 0 {
        violations.add_of(Kind::RecordsInGap, pass, || {
            format!("batch {} says why it has no records, and read {read}", named(entry))
        });
    }
    let width = last.saturating_sub(*first).saturating_add(1);
    let passed = entry.passed;
    if read.saturating_add(passed) != width {
        violations.add_of(Kind::WrongWidth, pass, || {
            let places = if pass.is_of_file() { "rows" } else { "offsets" };
            format!(
                "batch {} read {read} records and passed {passed} {places} without one, and its range has {width}",
                named(entry)
            )
        });
    }
}

fn check_dead_letters(entry: &Entry, violations: &mut Violations) {
    let Entry { pass, counts, dead_letters, .. } = entry;
    if *dead_letters != counts.dead_lettered {
        violations.add_of(Kind::DeadLetterCount, pass, || {
            let says = counts.dead_lettered;
            format!("batch {} says {says} dead letters, and {dead_letters} are there", named(entry))
        });
    }
}

/// A batch as messages name it.
fn named(entry: &Entry) -> String {
    let Entry { id, first, last, .. } = entry;
    format!("{id} from {first} to {last}")
}
