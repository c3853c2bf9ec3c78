//! The counters, against the sum over what was counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tally_audit::{Kind, Violations};
use tally_domain::{Action, Decimal, Flow, Record, Table, TableKind, Type, Value, timestamp};
use tally_ports::State;
use tally_ports::audit::{Counted, Counter, DeadLetterTrace, Fact, Pass};

/// A flow whose counters could not be compared.
#[derive(Debug, Serialize)]
pub struct NotCompared {
    pub flow: String,
    /// Why not.
    pub why: String,
}

/// What counters hold, and what they should.
pub(super) struct Counters {
    /// The streams that are given.
    given: Vec<String>,
    flows: Vec<OfFlow>,
}

struct OfFlow {
    flow: Arc<dyn Flow>,
    /// Whether it has read a stream that is given.
    has_read: bool,
    ranges: Vec<Counted>,
    /// By table and key.
    sums: BTreeMap<(usize, Vec<Value>), Sums>,
    /// Why they cannot be compared.
    why_not: Option<String>,
}

/// In the order of the table's columns outside of the key; `None` where there is no row.
#[derive(Default)]
struct Sums {
    found: Option<Vec<i128>>,
    expected: Option<Vec<i128>>,
}

impl Counters {
    /// Those of `flows`, whose streams `given` are compared.
    pub(super) fn new(flows: impl Iterator<Item = Arc<dyn Flow>>, given: Vec<String>) -> Self {
        let of_flow = |flow| OfFlow {
            flow,
            has_read: false,
            ranges: Vec::new(),
            sums: BTreeMap::new(),
            why_not: None,
        };
        let counts = |flow: &Arc<dyn Flow>| tally_ports::counts(&**flow);
        Self { given, flows: flows.filter(counts).map(of_flow).collect() }
    }

    pub(super) fn see(&mut self, fact: &Fact) {
        match fact {
            Fact::Pass(Pass { name, .. }) if self.given.contains(&name.stream) => {
                if let Some(of_flow) = self.of(&name.flow) {
                    of_flow.has_read = true;
                }
            }
            Fact::Counted(range) => {
                let is_given = self.given.contains(&range.stream);
                let Some(of_flow) = self.of(&range.flow) else { return };
                if is_given {
                    of_flow.ranges.push(range.clone());
                } else {
                    of_flow.leave(|| not_given(&range.flow, &range.stream));
                }
            }
            Fact::Counter(counter) => {
                let Some(of_flow) = self.of(&counter.flow) else { return };
                if of_flow.has_read && of_flow.why_not.is_none() {
                    of_flow.see(counter);
                }
            }
            _ => {}
        }
    }

    fn of(&mut self, flow: &str) -> Option<&mut OfFlow> {
        self.flows.iter_mut().find(|of_flow| of_flow.flow.name() == flow)
    }

    /// The ranges of a stream that the flow has counted.
    pub(super) fn ranges<'a>(&'a self, flow: &str, stream: &'a str) -> Vec<Counted> {
        let of_flow = self.flows.iter().filter(|of_flow| of_flow.flow.name() == flow);
        let ranges = of_flow.flat_map(|of_flow| &of_flow.ranges);
        ranges.filter(|range| range.stream == stream).cloned().collect()
    }

    /// The flow's counters cannot be compared.
    pub(super) fn leave(&mut self, flow: &str, why: impl FnOnce() -> String) {
        if let Some(of_flow) = self.of(flow) {
            of_flow.leave(why);
        }
    }

    /// Adds what the record at `position`, which `pass` has read, adds, if it was counted.
    pub(super) fn count(
        &mut self,
        flow: &dyn Flow,
        pass: &Pass,
        position: i64,
        record: Record,
        letters: &[DeadLetterTrace],
    ) {
        let Some(of_flow) = self.of(flow.name()) else { return };
        let name = &pass.name;
        let is_counted = of_flow.ranges.iter().any(|range| {
            (range.partition, range.log) == (name.partition, pass.log)
                && range.stream == name.stream
                && (range.first..=range.last).contains(&position)
        });
        if !is_counted || of_flow.why_not.is_some() {
            return;
        }
        let from = letters.partition_point(|letter| letter.position < position);
        let of_record = letters[from..].iter().take_while(|letter| letter.position == position);
        match of_record.filter(|letter| letter.is_first).map(|letter| letter.state).next() {
            // What adds is outdated only by a later pass that has counted it.
            None | Some(State::Replayed | State::Outdated) => of_flow.add(record),
            Some(State::Purged) => of_flow.leave(|| {
                format!("{name}: the dead letter at {position} is purged, and may have been replayed before")
            }),
            Some(_) => {}
        }
    }

    /// Compares the counters of the flows whose streams were `compared`, as far as they can be; those that cannot.
    pub(super) fn check(
        mut self,
        compared: &[(&str, String)],
        violations: &mut Violations,
    ) -> Vec<NotCompared> {
        let mut not_compared = Vec::new();
        self.flows.retain(|of| compared.iter().any(|(flow, _)| *flow == of.flow.name()));
        for mut of_flow in self.flows {
            let flow = of_flow.flow.name().to_owned();
            // A stream may be given for another flow.
            let is_compared = |range: &&Counted| {
                compared.iter().any(|(of, stream)| *of == flow && *stream == range.stream)
            };
            if let Some(range) = of_flow.ranges.iter().find(|range| !is_compared(range)) {
                let why = not_given(&flow, &range.stream);
                of_flow.leave(|| why);
            }
            match of_flow.why_not {
                Some(why) => not_compared.push(NotCompared { flow, why }),
                None if of_flow.has_read => of_flow.check(violations),
                None => {}
            }
        }
        not_compared
    }
}

fn not_given(flow: &str, stream: &str) -> String {
    format!("{stream} was counted and is not given for {flow}")
}

impl OfFlow {
    fn leave(&mut self, why: impl FnOnce() -> String) {
        self.why_not.get_or_insert_with(why);
        self.sums.clear();
    }

    fn see(&mut self, Counter { table: index, values, .. }: &Counter) {
        let table = &self.flow.tables()[*index];
        let parsed: Option<Vec<Value>> = table
            .columns
            .iter()
            .zip(values)
            .map(|(column, text)| value(column.kind, text.as_deref()?))
            .collect();
        if let Some(values) = parsed.filter(|values| values.len() == table.columns.len()) {
            let (key, numbers) = split(table, values);
            self.sums.entry((*index, key)).or_default().found = Some(numbers);
        } else {
            let why = format!("{} holds a value that is none of its columns'", table.name);
            self.leave(|| why);
        }
    }

    fn add(&mut self, record: Record) {
        let adds = record.writes.into_iter().filter(|write| write.action == Action::Add);
        for write in adds {
            let (mut key, numbers) = split(&self.flow.tables()[write.table], write.values);
            // A copy of its own: the text is a part of all that was read with it.
            for value in &mut key {
                if let Value::Text(text) = value {
                    *text = (**text).into();
                }
            }
            let sums = self.sums.entry((write.table, key)).or_default();
            match &mut sums.expected {
                Some(expected) => {
                    expected.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
                }
                None => sums.expected = Some(numbers),
            }
        }
    }

    fn check(self, violations: &mut Violations) {
        for ((index, key), Sums { found, expected }) in &self.sums {
            if found == expected {
                continue;
            }
            let (flow, table) = (self.flow.name(), &self.flow.tables()[*index]);
            violations.add(Kind::CounterSum, || {
                let key = serde_json::to_string(key).unwrap_or_default();
                let shown = |numbers: &Option<Vec<i128>>, none: &str| {
                    numbers.as_ref().map_or_else(|| none.to_owned(), |all| in_words(table, all))
                };
                format!(
                    "{flow}: {} has {} under {key}, and the records that were counted come to {}",
                    table.name,
                    shown(found, "no row"),
                    shown(expected, "nothing")
                )
            });
        }
    }
}

/// The key, and the numbers without their points.
fn split(table: &Table, values: Vec<Value>) -> (Vec<Value>, Vec<i128>) {
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::Integer(number) if !table.key().contains(&index) => numbers.push(number.into()),
            Value::Decimal(decimal) if !table.key().contains(&index) => {
                numbers.push(decimal.unscaled.into());
            }
            other => others.push((index, other)),
        }
    }
    others.sort_by_key(|(index, _)| table.key().iter().position(|column| column == index));
    (others.into_iter().map(|(_, value)| value).collect(), numbers)
}

fn in_words(table: &Table, numbers: &[i128]) -> String {
    let TableKind::Counters { key } = &table.kind else { return String::new() };
    let columns = table.columns.iter().enumerate().filter(|(index, _)| !key.contains(index));
    let shown: Vec<String> = columns
        .zip(numbers)
        .map(|((_, column), number)| {
            let scale = match column.kind {
                Type::Decimal { scale, .. } => usize::from(scale),
                _ => 0,
            };
            let (sign, digits) = (if *number < 0 { "-" } else { "" }, number.unsigned_abs());
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let point = if scale == 0 { "" } else { "." };
            format!("{} {sign}{whole}{point}{fraction}", column.name)
        })
        .collect();
    if shown.is_empty() { "a row".to_owned() } else { shown.join(", ") }
}

/// The value that a database writes as `text`.
fn value(kind: Type, text: &str) -> Option<Value> {
    Some(match kind {
        Type::Boolean => Value::Boolean(matches!(text, "true" | "1")),
        Type::Integer => Value::Integer(text.parse().ok()?),
        Type::Decimal { scale, .. } => Value::Decimal(Decimal::parse(text, 18, scale)?),
        Type::Uuid => Value::Uuid(text.parse().ok()?),
        Type::Text { .. } => Value::Text(text.into()),
        Type::Json => Value::Json(text.into()),
        Type::Timestamp => Value::Timestamp(timestamp::parse(text)?),
        Type::Instant => Value::Instant(timestamp::parse(text)?.and_utc()),
    })
}

#[cfg(test)]
mod tests {
    use tally_domain::{ByteString, TableColumn, Write};
    use tally_testkit::accounts::{Accounts, total};

    use super::*;

    #[test]
    fn a_key_does_not_hold_what_it_was_read_from() {
        let file = ByteString::from("a day, and a whole file more");
        let Write { table, action, mut values } = total("", 1);
        values[0] = Value::Text(file.slice_ref(&file[..5]));
        let mut counters = Counters::new([Accounts::known().flow].into_iter(), Vec::new());
        let writes = vec![Write { table, action, values }];
        counters.flows[0].add(Record { writes, ..Record::default() });
        assert_eq!(counters.flows[0].sums.len(), 1);
        assert!(file.as_bytes().is_unique());
    }

    #[test]
    fn numbers_are_shown_with_their_points() {
        let decimal = Type::Decimal { precision: 5, scale: 2 };
        let columns = vec![
            TableColumn::new("a", Type::Integer),
            TableColumn::new("key", Type::Integer),
            TableColumn::new("b", decimal),
        ];
        let kind = TableKind::Counters { key: vec![1] };
        let table = Table { name: "t".into(), columns, kind };
        let values = ["7", "1", "-0.05"];
        let values = values.iter().zip(&table.columns);
        let values = values.filter_map(|(text, column)| value(column.kind, text)).collect();
        let (key, numbers) = split(&table, values);
        assert!(key == [Value::Integer(1)]);
        assert_eq!(in_words(&table, &numbers), "a 7, b -0.05");
    }
}
