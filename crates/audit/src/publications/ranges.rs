//! Ranges of positions.

/// Ranges of positions, inclusive; those that touch are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    ranges: Vec<(i64, i64)>,
    /// Whether they are sorted and none touches another.
    is_sealed: bool,
}

impl Ranges {
    pub(super) fn add(&mut self, first: i64, last: i64) {
        if last < first {
            return;
        }
        self.is_sealed = false;
        match self.ranges.last_mut() {
            Some((begin, end)) if *begin <= first && first <= end.saturating_add(1) => {
                *end = last.max(*end);
            }
            _ => self.ranges.push((first, last)),
        }
    }

    /// To be called between adding and asking.
    pub(super) fn seal(&mut self) {
        if self.is_sealed {
            return;
        }
        let mut all = std::mem::take(&mut self.ranges);
        all.sort_unstable();
        for (first, last) in all {
            self.add(first, last);
        }
        self.ranges.shrink_to_fit();
        self.is_sealed = true;
    }

    pub(super) fn has(&self, position: i64) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= position);
        after > 0 && position <= self.ranges[after - 1].1
    }

    /// After the last position of them; 0 where there are none.
    pub(super) fn end(&self) -> i64 {
        self.ranges.last().map_or(0, |(_, last)| last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let mut ranges = Ranges::default();
        for (first, last) in [(10, 19), (20, 29), (40, 49), (0, 4), (45, 60), (9, 8)] {
            ranges.add(first, last);
        }
        ranges.seal();
        assert_eq!(ranges.ranges, [(0, 4), (10, 29), (40, 60)]);
        assert_eq!(ranges.end(), 61);
        let found: Vec<i64> = (-1..70).filter(|position| ranges.has(*position)).collect();
        let expected = (0..=4).chain(10..=29).chain(40..=60);
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}
