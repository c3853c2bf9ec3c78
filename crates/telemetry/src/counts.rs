//! Counters of a store on `/metrics`. Their keys come and go, and a recorder never forgets a label.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use tally_ports::Greatest;
use tally_ports::metric::{self, Metric};

/// How many keys of a table have a value of their own.
const MOST: usize = 10;

/// The key of the sum of all others. A key of this name is one of them, so that no two values have the same labels.
const OTHER: &str = "other";

/// What `/metrics` shows of counters in a store. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    text: Arc<Mutex<String>>,
}

impl Counts {
    /// How many counters of a table [`Counts::replace`] needs at most.
    pub const LIMIT: usize = MOST + 1;

    /// Shows the counters of these tables of a flow, by name, instead of all that it has shown.
    pub fn replace(&self, flow: &str, tables: &[(&str, Greatest)]) {
        let text = text(flow, tables);
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// In Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn text(flow: &str, tables: &[(&str, Greatest)]) -> String {
    let help = metric::ALL.iter().find(|metric| metric.name == metric::COUNTS);
    let mut text = String::new();
    if let Some(Metric { name, help, .. }) = help {
        let _never_fails = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    }
    for (table, Greatest { counts, total }) in tables {
        let shown = counts.iter().filter(|counted| counted.key != OTHER).take(MOST);
        let mut rest = *total;
        for counted in shown {
            rest = rest.saturating_sub(counted.count);
            line(&mut text, flow, table, &counted.key, counted.count);
        }
        line(&mut text, flow, table, OTHER, rest);
    }
    text
}

fn line(text: &mut String, flow: &str, table: &str, key: &str, count: i64) {
    // Not by the exporter's own function, which takes two backslashes for one.
    let key = key.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
    let name = metric::COUNTS;
    let _never_fails =
        writeln!(text, "{name}{{flow=\"{flow}\",table=\"{table}\",key=\"{key}\"}} {count}");
}

#[cfg(test)]
mod tests {
    use tally_ports::KeyCount;

    use super::*;

    /// The values that are shown, as `KEY COUNT`.
    fn shown(counts: &[(&str, i64)], total: i64) -> Vec<String> {
        let counts =
            counts.iter().map(|&(key, count)| KeyCount { key: key.to_owned(), count }).collect();
        let shown = Counts::default();
        shown.replace("before", &[("gone", Greatest::default())]);
        shown.replace("f", &[("t", Greatest { counts, total })]);
        let text = shown.render();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("# HELP ingest_counts Totals of "));
        assert_eq!(lines.next(), Some("# TYPE ingest_counts gauge"));
        let value = |line: &str| {
            let rest = line.strip_prefix("ingest_counts{flow=\"f\",table=\"t\",key=\"").unwrap();
            rest.replacen("\"}", "", 1)
        };
        lines.map(value).collect()
    }

    #[test]
    fn the_rest_is_other() {
        assert_eq!(shown(&[], 0), ["other 0"]);
        assert_eq!(shown(&[("a", 2), ("", 1)], 3), ["a 2", " 1", "other 0"]);
        let keys: Vec<String> = (0..11).map(|number| format!("k{number}")).collect();
        let mut counts: Vec<(&str, i64)> = keys.iter().map(|key| (&**key, 7)).collect();
        let mut expected: Vec<String> = keys[..10].iter().map(|key| format!("{key} 7")).collect();
        expected.push("other 107".to_owned());
        assert_eq!(shown(&counts, 177), expected);

        // A key of this name is among the others, however great.
        counts[4].0 = "other";
        expected[4..].rotate_left(1);
        expected[4..10].clone_from_slice(&[5, 6, 7, 8, 9, 10].map(|number| format!("k{number} 7")));
        expected[10] = "other 107".to_owned();
        assert_eq!(shown(&counts, 177), expected);
    }

    #[test]
    fn keys_are_escaped() {
        let keys = [("a\\b", 4), ("a\\\\b", 3), ("say \"a\"", 2), ("two\nlines", 1)];
        let expected = [r"a\\b 4", r"a\\\\b 3", r#"say \"a\" 2"#, r"two\nlines 1", "other 0"];
        assert_eq!(shown(&keys, 10), expected);
    }
}
