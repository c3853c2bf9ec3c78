//! What is unusual about transactions.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::place;
use super::seen::Seen;
use crate::quality::{Judged, Moments};
use crate::{Name, Value};

pub(super) const RULES: &[Name] = &[
    Name::Borrowed("missing_description"),
    Name::Borrowed("missing_merchant"),
    Name::Borrowed("outlier"),
    Name::Borrowed("unknown_operation_type"),
    Name::Borrowed("repeated_id"),
];

const KNOWN_OPERATION_TYPES: [&str; 4] = ["payment", "transfer", "direct_debit", "refund"];
const OUTLIER_SIGMAS: f64 = 3.0;
/// An outlier is judged against the records before it, from this many on.
const OUTLIER_MIN_RECORDS: u64 = 1_000;

/// The statistics of a partition's earlier batches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    amount: Moments,
    #[serde(default)]
    ids: Seen,
}

pub(super) fn judge(stats: &mut Stats, judged: Judged<'_>) -> Vec<Vec<usize>> {
    let Judged { records, positions, last, window, .. } = judged;
    let [mut no_description, mut no_merchant, mut outliers, mut unknown_type, mut repeated] =
        [const { Vec::new() }; 5];
    for (index, (record, &position)) in records.iter().zip(positions).enumerate() {
        let Some(row) = record.row(0) else { continue };
        let text = |place: usize| row[place].as_str().unwrap_or_default();
        let (amount, before) = (amount(row), stats.amount);
        let enough = before.count() >= OUTLIER_MIN_RECORDS;
        let findings = [
            (text(place::DESCRIPTION).is_empty(), &mut no_description),
            (row[place::MERCHANT] == Value::Null, &mut no_merchant),
            (enough && before.is_outlier(amount, OUTLIER_SIGMAS), &mut outliers),
            (!KNOWN_OPERATION_TYPES.contains(&text(place::OPERATION_TYPE)), &mut unknown_type),
            (stats.ids.is_repeated(id(row), position, window), &mut repeated),
        ];
        for (found, list) in findings {
            if found {
                list.push(index);
            }
        }
        stats.amount.add(amount);
    }
    stats.ids.pass(last, window);
    vec![no_description, no_merchant, outliers, unknown_type, repeated]
}

fn id(row: &[Value]) -> Uuid {
    match row[place::ID] {
        Value::Uuid(id) => id,
        _ => Uuid::nil(),
    }
}

fn amount(row: &[Value]) -> f64 {
    match row[place::AMOUNT] {
        Value::Decimal(amount) => amount.to_f64(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::amount::Notation;
    use crate::quality::{self, Policy, Rule, Rules};
    use crate::transactions::Transactions;
    use crate::{Field, Flow, Incoming, Raw, Record};

    fn record(id: usize, amount: &str) -> Record {
        let side = if amount.starts_with('-') { "debit" } else { "credit" };
        let texts = [&*id.to_string(), "x", amount, "2024-01-15 08:30:00", "x", "payment", side];
        let fields = texts.into_iter().map(|text| Field::Text(text.into())).collect();
        let incoming = Incoming { fields, notation: Notation::Plain, raw: &Raw::default() };
        Transactions::default().read(incoming).unwrap()
    }

    fn change(record: &mut Record, column: usize, value: Value) {
        record.writes[0].values[column] = value;
    }

    fn judged<'a>(records: &'a [&'a Record], positions: &'a [i64], window: usize) -> Judged<'a> {
        let last = positions.last().copied().unwrap_or_default();
        Judged { records, positions, last, is_last: false, window }
    }

    fn judge(stats: &mut Stats, records: &[Record]) -> Vec<Vec<usize>> {
        let positions: Vec<i64> = (0..).take(records.len()).collect();
        super::judge(stats, judged(&records.iter().collect::<Vec<_>>(), &positions, 1_000))
    }

    fn thousand() -> Vec<Record> {
        (0..1_000).map(|id| record(id, if id % 2 == 0 { "-10" } else { "-12" })).collect()
    }

    #[test]
    fn each_rule_finds_its_records() {
        let mut records = vec![record(1, "5"), record(2, "5"), record(1, "6"), record(3, "5")];
        change(&mut records[0], place::DESCRIPTION, Value::Text("".into()));
        change(&mut records[1], place::MERCHANT, Value::Null);
        change(&mut records[3], place::OPERATION_TYPE, Value::Text("gift".into()));
        let found = judge(&mut Stats::default(), &records);
        assert_eq!(found, [vec![0], vec![1], vec![], vec![3], vec![2]]);
    }

    #[test]
    fn outliers_are_judged_from_a_thousand_records_on_however_they_come_in_batches() {
        let mut first = thousand();
        first.truncate(999);
        first.push(record(5_000, "-9999"));
        assert!(judge(&mut Stats::default(), &first)[2].is_empty());

        let mut all = thousand();
        all.push(record(5_000, "-9999"));
        assert_eq!(judge(&mut Stats::default(), &all)[2], [1_000]);

        let mut stats = Stats::default();
        judge(&mut stats, &thousand());
        let batch =
            [record(1, "-15.50"), record(2, "-13.00"), record(3, "-6.00"), record(4, "-9999")];
        assert_eq!(judge(&mut stats, &batch)[2], [0, 2, 3]);
    }

    #[test]
    fn statistics_survive_the_store_bit_by_bit() {
        let mut stats = Stats::default();
        judge(
            &mut stats,
            &(1..5_000)
                .map(|id| record(id, &format!("-{}.{:02}", id * 7 % 911 + 1, id % 100)))
                .collect::<Vec<_>>(),
        );
        let stored = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<Stats>(&stored).unwrap(), stats);
    }

    #[test]
    fn policies_apply_above_the_threshold() {
        let positions = [12, 13, 14, 15];
        let records = [record(1, "5"), record(1, "6"), record(1, "7"), record(2, "8")];
        let verdict = |threshold, policy| {
            let by_name = [("repeated_id".to_owned(), Rule { threshold, policy })].into();
            let rules = Rules { window: 4, by_name };
            let records: Vec<&Record> = records.iter().collect();
            let flow = Transactions::default();
            let judged = judged(&records, &positions, rules.window);
            quality::judge(&flow, &rules, &mut Json::Null, judged).unwrap()
        };

        let at_threshold = verdict(0.5, Policy::Stop);
        assert!(
            at_threshold.stopped_by.is_empty()
                && !at_threshold.report["repeated_id"].above_threshold
        );

        let quarantined = verdict(0.4, Policy::Quarantine);
        assert_eq!(
            quarantined.quarantined.into_iter().collect::<Vec<_>>(),
            [(1, Name::Borrowed("repeated_id")), (2, Name::Borrowed("repeated_id"))]
        );
        assert_eq!(quarantined.report["repeated_id"].positions, [13, 14]);

        assert_eq!(verdict(0.4, Policy::Stop).stopped_by, ["repeated_id"]);
        assert!(verdict(0.4, Policy::Warn).quarantined.is_empty());
    }

    #[test]
    fn a_rule_says_nothing_before_there_are_enough_records_unless_they_are_the_last() {
        let judge = |stats: &mut Json, first: i64, is_last| {
            let records = [record(1, "5"), record(1, "6")];
            let rules = Rules {
                window: 3,
                by_name: [(
                    "repeated_id".to_owned(),
                    Rule { threshold: 0.4, policy: Policy::Stop },
                )]
                .into(),
            };
            let records: Vec<&Record> = records.iter().collect();
            let positions = [first, first + 1];
            let judged = Judged { is_last, ..judged(&records, &positions, rules.window) };
            quality::judge(&Transactions::default(), &rules, stats, judged).unwrap()
        };
        let mut stats = Json::Null;
        let first = judge(&mut stats, 0, false);
        let found = &first.report["repeated_id"];
        assert_eq!(
            (found.count, found.rate, found.records, found.above_threshold),
            (1, None, 0, false)
        );
        assert!(first.stopped_by.is_empty());
        let second = judge(&mut stats, 2, false);
        let found = &second.report["repeated_id"];
        assert_eq!(
            (found.count, found.rate, found.records, found.above_threshold),
            (1, Some(2.0 / 3.0), 3, true)
        );
        assert_eq!(second.stopped_by, ["repeated_id"]);

        let last = judge(&mut Json::Null, 0, true);
        let found = &last.report["repeated_id"];
        assert_eq!((found.rate, found.records), (Some(0.5), 2));
    }

    #[test]
    fn repeated_ids_are_the_same_however_records_come_in_batches() {
        // A third of the positions has no valid record.
        let ids = [1, 1, 2, 2, 1, 1, 3, 3, 4, 4, 2, 2].into_iter().cycle();
        let (positions, records): (Vec<i64>, Vec<Record>) = (0..40)
            .zip(ids)
            .filter(|(position, _)| position % 3 != 1)
            .map(|(position, id)| (position, record(id, "5")))
            .unzip();
        let records: Vec<&Record> = records.iter().collect();
        let repeated = |size: usize| {
            let (flow, mut stats) = (Transactions::default(), Json::Null);
            let mut found = Vec::new();
            for (positions, records) in positions.chunks(size).zip(records.chunks(size)) {
                let broken = flow.judge(&mut stats, judged(records, positions, 10)).unwrap();
                found.extend(broken[4].iter().map(|&index| positions[index]));
                stats = serde_json::from_str(&stats.to_string()).unwrap();
            }
            found
        };
        let whole = repeated(records.len());
        assert_eq!(whole, [3, 5, 9, 14, 15, 17, 21, 26, 27, 29, 33, 38, 39]);
        for size in 1..records.len() {
            assert_eq!(repeated(size), whole, "{size}");
        }
    }

    #[test]
    fn statistics_from_before_windows_are_the_flows() {
        let mut stats = json!({"amount": Moments::default()});
        let records = [record(1, "5")];
        let records: Vec<&Record> = records.iter().collect();
        let flow = Transactions::default();
        for count in 1..=2 {
            quality::judge(&flow, &Rules::default(), &mut stats, judged(&records, &[0], 1_000))
                .unwrap();
            assert_eq!(stats["flow"]["amount"]["count"], count);
        }
    }
}
