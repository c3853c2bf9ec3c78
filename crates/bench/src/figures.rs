//! The table.

use crate::measure::Usage;
use crate::runner::Run;

/// The runs of one kind, in the order in which they were taken.
pub struct Series {
    /// What ran.
    pub what: String,
    /// What each took.
    pub runs: Vec<Run>,
}

impl Series {
    /// Without runs yet.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), runs: Vec::new() }
    }

    /// A line of the table; `floor` is the median to compare with.
    pub fn line(&self, floor: f64) -> String {
        let rates = Spread::of(self.runs.iter().map(|run| run.rows_per_second));
        let own = Spread::of(self.runs.iter().filter_map(|run| run.summary_rows_per_second));
        let peak = self.runs.iter().filter_map(|run| run.peak_kib).max();
        format!(
            "| {} | {} | {:.2} | {} | {} |",
            self.what,
            rates.map_or_else(none, |rates| rates.show()),
            self.median() / floor,
            own.map_or_else(none, |own| own.show()),
            peak.map_or_else(none, mib),
        )
    }

    /// Rows per second.
    pub fn median(&self) -> f64 {
        Spread::of(self.runs.iter().map(|run| run.rows_per_second))
            .map_or(f64::NAN, |rates| rates.median)
    }
}

/// What stands above the lines.
pub const HEAD: &str = "\
| what | rows/s: median (min-max) | of the floor | rows/s by its own summary | peak MiB |
| --- | --- | --- | --- | --- |";

/// Runs over topics by what they were, in the order in which they first came.
#[derive(Default)]
pub struct Lines(Vec<(String, Vec<f64>, i64)>);

impl Lines {
    /// A run of `what`; the floor uses no process.
    pub fn add(&mut self, what: &str, records_per_second: f64, usage: Option<&Usage>) {
        let peak = usage.map_or(0, |usage| usage.peak_kib);
        let cpu = usage.map_or(0.0, |usage| usage.cpu_seconds);
        eprintln!(
            "  {what}: {} records/s, {cpu:.2} s of CPU, {} MiB",
            grouped(records_per_second),
            mib(peak)
        );
        match self.0.iter_mut().find(|(known, ..)| known == what) {
            Some((_, rates, most)) => {
                rates.push(records_per_second);
                *most = peak.max(*most);
            }
            None => self.0.push((what.to_owned(), vec![records_per_second], peak)),
        }
    }

    /// What ran, its records per second, and the most memory of a run.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Spread, String)> {
        self.0.iter().filter_map(|(what, rates, peak)| {
            let peak = if *peak == 0 { none() } else { mib(*peak) };
            Some((what.as_str(), Spread::of(rates.iter().copied())?, peak))
        })
    }
}

/// Where values lie.
pub struct Spread {
    /// The least of them.
    pub least: f64,
    /// As many are below as above.
    pub median: f64,
    /// The greatest of them.
    pub greatest: f64,
}

impl Spread {
    /// Of one value at least.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { least, median: f64::midpoint(below, above), greatest })
    }

    /// For the table, rounded.
    pub fn show(&self) -> String {
        format!("{} ({}-{})", grouped(self.median), grouped(self.least), grouped(self.greatest))
    }

    /// The same of ratios.
    pub fn show_ratios(&self) -> String {
        format!("{:.2} ({:.2}-{:.2})", self.median, self.least, self.greatest)
    }
}

/// `1234567.8` as `1,234,568`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// KiB as MiB.
#[expect(clippy::cast_precision_loss, reason = "a size for people to read")]
pub fn mib(kib: i64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], expected: &str) {
        assert_eq!(Spread::of(values.iter().copied()).unwrap().show(), expected);
    }

    #[test]
    fn medians_stand_between_least_and_greatest() {
        check(&[1000.0], "1,000 (1,000-1,000)");
        check(&[30.0, 10.4, 20.0], "20 (10-30)");
        check(&[4.0, 1.0, 1_234_567.0, 2.0], "3 (1-1,234,567)");
        assert!(Spread::of([].into_iter()).is_none());
        let ratios = Spread::of([0.9, 1.004, 0.876].into_iter()).unwrap();
        assert_eq!(ratios.show_ratios(), "0.90 (0.88-1.00)");
    }
}
