//! All checks together.

use tally_ports::Auditor;
use tally_ports::audit::{Fact, Pass};

use crate::entries::Entries;
use crate::letters::Letters;
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
            Fact::Letter(letter) => {
                totals.see_letter(&letter);
                self.letters.see(letter, violations);
            }
            Fact::Rows(rows) => {
                rows::check(&rows, violations);
                totals.see_rows(&rows);
            }
            Fact::RowsFromNothing(rows) => rows::check_from_nothing(&rows, violations),
        }
    }
}
