//! The ranges of a pass, as the log is read along them.

use std::collections::VecDeque;

use tally_audit::{Compared, Violations};
use tally_ports::audit::{Entry, Pass};
use tally_ports::{Audit, Fault};

/// As many entries of the ledger are fetched at once.
const ENTRIES_AT_ONCE: usize = 1_000;

/// The ranges of a pass as the log is read along them.
pub(super) struct Ranges<'a, A> {
    store: &'a A,
    pass: &'a Pass,
    /// Where the part of the log begins that could be read.
    begin: i64,
    /// Where the next page of entries begins, from the first one that lies wholly in the log on.
    next_page: i64,
    page: VecDeque<Entry>,
    /// How many records were found in the first entry of the page.
    found: i64,
    /// The ranges that were passed over, or cannot be read now.
    passed: Vec<(i64, i64)>,
}

impl<'a, A: Audit> Ranges<'a, A> {
    pub(super) fn new(store: &'a A, pass: &'a Pass, begin: i64) -> Self {
        let (page, found) = (VecDeque::new(), 0);
        Self { store, pass, begin, next_page: begin, page, found, passed: Vec::new() }
    }

    /// There is a record at `offset`; they come in order. Whether the ledger says that it was read.
    pub(super) async fn found(
        &mut self,
        offset: i64,
        compared: &mut Compared,
        violations: &mut Violations,
    ) -> Result<bool, Fault> {
        while let Some(entry) = self.first().await? {
            if offset <= entry.last {
                // Where a range is missing the ledger itself has a gap.
                let is_in = entry.first <= offset;
                let was_read = is_in && !entry.is_gap;
                self.found += i64::from(is_in);
                return Ok(was_read);
            }
            self.close(compared, violations);
        }
        Ok(false)
    }

    /// Nothing can be said of what lies from `from` to before `resume`, and not compared yet.
    pub(super) fn unreadable(&mut self, from: i64, resume: i64) {
        self.begin = resume;
        self.passed.push((from, resume - 1));
    }

    /// There are no more records; the ranges that were passed over, or cannot be read now.
    pub(super) async fn finish(
        mut self,
        compared: &mut Compared,
        violations: &mut Violations,
    ) -> Result<Vec<(i64, i64)>, Fault> {
        while self.first().await?.is_some() {
            self.close(compared, violations);
        }
        Ok(self.passed)
    }

    async fn first(&mut self) -> Result<Option<&Entry>, Fault> {
        if self.page.is_empty() && self.next_page < self.pass.next {
            let entries =
                self.store.entries(&self.pass.name, self.next_page, ENTRIES_AT_ONCE).await?;
            self.next_page = entries.last().map_or(i64::MAX, |entry| entry.first.saturating_add(1));
            // What was committed since the audit began is not compared.
            self.page = entries.into_iter().filter(|entry| entry.last < self.pass.next).collect();
        }
        Ok(self.page.front())
    }

    fn close(&mut self, compared: &mut Compared, violations: &mut Violations) {
        let Some(entry) = self.page.pop_front() else { return };
        let is_whole = entry.first >= self.begin;
        if entry.is_gap {
            self.passed.push((entry.first, entry.last));
        } else if is_whole {
            compared.range(&entry, self.found, violations);
        }
        self.found = 0;
    }
}
