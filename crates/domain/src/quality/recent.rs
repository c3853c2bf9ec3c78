//! Which of a partition's last records broke a rule.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Of each of the last records whether it broke the rule, the oldest first. Stored as how many records in a row did not,
/// then how many did, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<usize>", into = "Vec<usize>")]
pub(super) struct Recent(VecDeque<bool>);

/// The rates at the records of a batch.
pub(super) struct Rates {
    /// At each record, from the first one on at which there were enough.
    at_each: Vec<f64>,
    /// The index of that record.
    from: usize,
    /// The greatest.
    pub(super) highest: Option<f64>,
    /// How many records a rate is of.
    pub(super) of: usize,
}

impl Recent {
    /// The rates at `count` more records, of which those at the indices `broken_by` break the rule. At the last one of all
    /// there are enough, however few.
    pub(super) fn judge(
        &mut self,
        window: usize,
        count: usize,
        broken_by: &[usize],
        is_last: bool,
    ) -> Rates {
        let mut broken_by = broken_by.iter().copied().peekable();
        let excess = self.0.len().saturating_sub(window);
        self.0.drain(..excess);
        let mut broken = self.0.iter().filter(|&&is_broken| is_broken).count();
        let (mut at_each, mut from) = (Vec::new(), count);
        for index in 0..count {
            let is_broken = broken_by.next_if_eq(&index).is_some();
            self.0.push_back(is_broken);
            broken += usize::from(is_broken);
            if self.0.len() > window && self.0.pop_front() == Some(true) {
                broken -= 1;
            }
            if self.0.len() == window {
                from = from.min(index);
                at_each.push(share(broken, window));
            }
        }
        if is_last && self.0.len() < window && !self.0.is_empty() {
            from = count.saturating_sub(1);
            at_each.push(share(broken, self.0.len()));
        }
        let highest = at_each.iter().copied().reduce(f64::max);
        let of = if highest.is_some() { self.0.len() } else { 0 };
        Rates { at_each, from, highest, of }
    }
}

impl Rates {
    /// Those that the record at an index counts in.
    pub(super) fn around(&self, index: usize, window: usize) -> impl Iterator<Item = f64> {
        let first = index.saturating_sub(self.from);
        let after = (index + window).saturating_sub(self.from);
        self.at_each.iter().copied().take(after).skip(first)
    }
}

impl From<Recent> for Vec<usize> {
    fn from(Recent(records): Recent) -> Self {
        let mut runs = Self::new();
        let mut is_broken = false;
        for record in records {
            if runs.is_empty() || record != is_broken {
                if runs.is_empty() && record {
                    runs.push(0);
                }
                runs.push(0);
                is_broken = record;
            }
            if let Some(run) = runs.last_mut() {
                *run += 1;
            }
        }
        runs
    }
}

impl From<Vec<usize>> for Recent {
    fn from(runs: Vec<usize>) -> Self {
        let odd = [false, true].into_iter().cycle();
        Self(
            runs.into_iter()
                .zip(odd)
                .flat_map(|(run, is_broken)| std::iter::repeat_n(is_broken, run))
                .collect(),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 records")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(recent: &mut Recent, broken: &[bool], is_last: bool) -> Rates {
        let indices: Vec<usize> = (0..broken.len()).filter(|&index| broken[index]).collect();
        recent.judge(4, broken.len(), &indices, is_last)
    }

    #[test]
    fn a_rate_is_of_the_last_records_however_they_come_in_batches() {
        let broken = [true, false, false, true, true, true, false, false, false, false];
        let whole = rates(&mut Recent::default(), &broken, false).at_each;
        assert_eq!(whole, [0.5, 0.5, 0.75, 0.75, 0.5, 0.25, 0.0]);
        for size in 1..=4 {
            let mut recent = Recent::default();
            let batches = broken.chunks(size);
            let rates: Vec<f64> =
                batches.flat_map(|batch| rates(&mut recent, batch, false).at_each).collect();
            assert_eq!(rates, whole, "{size}");
        }
    }

    #[test]
    fn what_is_last_is_judged_over_what_there_was() {
        let mut recent = Recent::default();
        assert_eq!(rates(&mut recent, &[true], false).highest, None);
        let last = rates(&mut recent, &[false], true);
        assert_eq!((last.highest, last.of), (Some(0.5), 2));
        assert_eq!(last.around(0, 4).collect::<Vec<_>>(), [0.5]);
        let empty = rates(&mut Recent::default(), &[], true);
        assert_eq!((empty.highest, empty.of), (None, 0));
    }

    #[test]
    fn a_record_counts_in_the_rates_of_its_window() {
        let broken = [false, false, false, true, false, false, false, false];
        let rates = rates(&mut Recent::default(), &broken, false);
        assert_eq!(rates.around(0, 4).collect::<Vec<_>>(), [0.25]);
        assert_eq!(rates.around(3, 4).collect::<Vec<_>>(), [0.25; 4]);
        assert_eq!(rates.around(4, 4).collect::<Vec<_>>(), [0.25, 0.25, 0.25, 0.0]);
        assert_eq!(rates.around(7, 4).collect::<Vec<_>>(), [0.0]);
    }

    #[test]
    fn is_stored_by_its_runs() {
        for (broken, runs) in [
            (&[][..], "[]"),
            (&[false], "[1]"),
            (&[true], "[0,1]"),
            (&[false, false, true, true, true, false], "[2,3,1]"),
        ] {
            let recent = Recent(broken.iter().copied().collect());
            let stored = serde_json::to_string(&recent).unwrap();
            assert_eq!(stored, runs);
            assert_eq!(serde_json::from_str::<Recent>(&stored).unwrap(), recent);
        }
    }
}
