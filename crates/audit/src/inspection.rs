//! All checks together.

use tally_ports::Auditor;
use tally_ports::audit::{Fact, Pass};

use crate::dead_letters::Letters;
use crate::entries::Entries;
use crate::passes::Passes;
use crate::{Kind, Totals, Violations, rows};

/// Takes in all facts of a store and finds what does not hold.
#[derive(Debug, Default)]
pub struct Inspection {
    wanted: Vec<String>,
    findings: Findings,
    passes: Passes,
    entries: Entries,
    letters: Letters,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What does not hold.
    pub violations: Violations,
    /// How much there is.
    pub totals: Totals,
    /// The passes over the streams that were asked for.
    pub passes: Vec<Pass>,
}

impl Inspection {
    /// One that also keeps the passes over the streams `wanted`.
    pub fn new(wanted: Vec<String>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// What was found, once all facts were seen.
    pub fn finish(mut self) -> Findings {
        let Findings { violations, totals, .. } = &mut self.findings;
        self.letters.finish(violations);
        totals.finish(violations);
        self.findings
    }
}

impl Auditor for Inspection {
    fn see(&mut self, fact: Fact) {
        let Findings { violations, totals, passes } = &mut self.findings;
        match fact {
            Fact::Pass(pass) => {
                self.passes.see(&pass, violations);
                if self.wanted.contains(&pass.name.stream) {
                    passes.push(pass.clone());
                }
                totals.see_pass(pass, violations);
            }
            Fact::Entry(entry) => self.entries.see(entry, violations),
            Fact::Stray(pass) => violations.add_of(Kind::NoPosition, &pass, || {
                "the ledger has batches of it, and no position is kept".to_owned()
            }),
            Fact::DeadLetter(letter) => {
                totals.see_letter(&letter);
                self.letters.see(letter, violations);
            }
            Fact::Rows(rows) => {
                rows::check(&rows, violations);
                totals.see_rows(&rows.flow, rows.count);
            }
            Fact::RowsFromNothing(rows) => rows::check_from_nothing(&rows, violations),
            Fact::Appended(appended) => rows::check_appended(&appended, violations),
            Fact::AppendedRows(rows) => {
                rows::check_appended_rows(&rows, violations);
                totals.see_rows(&rows.flow, rows.count);
            }
            Fact::WrongNumbers(numbers) => rows::check_numbers(&numbers, violations),
            Fact::HistoryDiffers(differs) => rows::check_history(&differs, violations),
            Fact::Counted(_) | Fact::Unpublished(_) => {}
            Fact::Counter(counter) => totals.see_rows(&counter.flow, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use tally_ports::DeadLetterIdentity;
    use tally_ports::audit::{Appended, AuditedDeadLetter, Counts, Entry, NamedBatch, PassName};

    use super::*;

    const TOPIC: &str = "group/topic";
    const FILE: &str = "file/f";

    fn name(stream: &str, pass: i32) -> PassName {
        PassName { flow: "f".to_owned(), stream: stream.to_owned(), partition: 0, pass }
    }

    fn pass(stream: &str, number: i32, next: i64, read: i64) -> Fact {
        Fact::Pass(Pass {
            name: name(stream, number),
            origin: 1,
            log: 1,
            label: String::new(),
            next,
            has_ended: stream == FILE,
            cursor: None,
            batches: i64::from(next > 0),
            last: (read > 0).then_some(next - 1),
            sums: Counts { read, written: read, ..Counts::default() },
        })
    }

    fn entry(stream: &str, number: i32, first: i64, last: i64, read: i64) -> Fact {
        Fact::Entry(Entry {
            id: "b".to_owned(),
            pass: name(stream, number),
            first,
            last,
            counts: Counts { read, written: read, ..Counts::default() },
            is_gap: false,
            passed: if stream == TOPIC { (last - first + 1 - read).max(0) } else { 0 },
            dead_letters: 0,
        })
    }

    fn letter(attempt: i32, state: &str) -> Fact {
        let (flow, stream) = ("f".to_owned(), FILE.to_owned());
        let identity =
            DeadLetterIdentity { flow, stream, partition: 0, pass: 1, position: 7, attempt };
        Fact::DeadLetter(AuditedDeadLetter {
            id: identity.id().to_string(),
            identity,
            state: state.to_owned(),
            batch_id: "b".to_owned(),
            batch: Some(NamedBatch { is_of_pass: true, first: 0, last: 9 }),
        })
    }

    #[track_caller]
    fn check(facts: &[Fact], expected: &[Kind]) {
        let mut inspection = Inspection::default();
        facts.iter().cloned().for_each(|fact| inspection.see(fact));
        let violations = inspection.finish().violations;
        let kinds: Vec<Kind> = violations.counts().into_keys().collect();
        assert_eq!(kinds, expected, "{violations:#?}");
    }

    #[test]
    fn where_passes_may_begin() {
        check(&[pass(FILE, 1, 0, 0)], &[]);
        check(&[pass(TOPIC, 1, 0, 0), pass(TOPIC, 2, 0, 0)], &[]);
        check(&[pass(TOPIC, 1, 500, 0)], &[]);
        check(&[pass(TOPIC, 1, -1, 0)], &[Kind::WrongPosition]);
        check(&[pass(TOPIC, 1, 0, 0), pass(TOPIC, 2, 500, 0)], &[Kind::WrongPosition]);
        check(&[entry(TOPIC, 1, 500, 509, 10)], &[]);
        check(&[entry(TOPIC, 2, 500, 509, 10)], &[Kind::WrongBegin]);
        check(&[entry(FILE, 1, 500, 509, 10)], &[Kind::WrongBegin]);
    }

    #[test]
    fn ranges_of_a_topic_may_have_offsets_without_records() {
        check(&[entry(TOPIC, 1, 0, 9, 7), entry(TOPIC, 1, 10, 10, 0)], &[]);
        check(&[entry(TOPIC, 1, 0, 9, 11)], &[Kind::WrongWidth]);
        check(&[entry(FILE, 1, 0, 9, 7)], &[Kind::WrongWidth]);
        check(&[entry(FILE, 1, 0, 0, 0)], &[Kind::WrongWidth]);
    }

    #[test]
    fn passes_are_compared_with_their_own() {
        let facts = [entry(FILE, 1, 0, 9, 10), entry(FILE, 2, 0, 9, 10), entry(TOPIC, 1, 3, 9, 7)];
        check(&facts, &[]);
    }

    #[test]
    fn appended_rows_are_those_of_the_records_that_were_written() {
        let appended = |records: i64, is_all: bool| {
            let (written, replayed) = (5, 1);
            let (id, pass) = ("b".to_owned(), name(FILE, 1));
            Fact::Appended(Appended {
                id,
                pass,
                first: 0,
                last: 9,
                written,
                replayed,
                records,
                is_all,
            })
        };
        for records in [5, 6] {
            check(&[appended(records, true), appended(records, false)], &[]);
        }
        check(&[appended(4, false)], &[]);
        check(&[appended(4, true)], &[Kind::AppendedRows]);
        check(&[appended(7, false)], &[Kind::AppendedRows]);
    }

    #[test]
    fn attempts_follow_each_other() {
        for state in ["open", "replayed", "outdated", "repaired", "discarded", "purged"] {
            check(&[letter(1, state)], &[]);
            check(&[letter(1, "retried"), letter(2, "purged"), letter(3, state)], &[]);
        }
        check(&[letter(1, "retried")], &[Kind::DeadLetterState]);
        check(&[letter(1, "discarded"), letter(2, "open")], &[Kind::DeadLetterState]);
        check(&[letter(2, "open")], &[Kind::DeadLetterAttempts]);
    }
}
