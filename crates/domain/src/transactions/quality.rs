//! What is unusual about transactions.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Transaction;
use crate::quality::Moments;

pub(super) const RULES: &[&str] = &[
    "missing_description",
    "missing_merchant",
    "outlier",
    "unknown_operation_type",
    "repeated_id",
];

const KNOWN_OPERATION_TYPES: [&str; 4] = ["payment", "transfer", "direct_debit", "refund"];
const OUTLIER_SIGMAS: f64 = 3.0;
/// Before that many records nothing is called an outlier.
const OUTLIER_MIN_RECORDS: u64 = 1_000;

/// What is remembered of a partition's earlier batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    amount: Moments,
}

pub(super) fn judge(stats: &mut Stats, records: &[Transaction]) -> Vec<Vec<usize>> {
    let before = stats.amount;
    let enough = before.count() >= OUTLIER_MIN_RECORDS;
    let is_outlier =
        |record: &Transaction| enough && before.is_outlier(record.amount.to_f64(), OUTLIER_SIGMAS);

    // The last record of an id wins: the earlier ones are the repeated.
    let last_of: HashMap<_, _> =
        records.iter().enumerate().map(|(index, record)| (record.id, index)).collect();

    let [mut no_description, mut no_merchant, mut outliers, mut unknown_type, mut repeated] =
        [const { Vec::new() }; 5];
    for (index, record) in records.iter().enumerate() {
        let findings = [
            (record.description.is_empty(), &mut no_description),
            (record.merchant.is_none(), &mut no_merchant),
            (is_outlier(record), &mut outliers),
            (!KNOWN_OPERATION_TYPES.contains(&record.operation_type.as_str()), &mut unknown_type),
            (last_of[&record.id] != index, &mut repeated),
        ];
        for (found, list) in findings {
            if found {
                list.push(index);
            }
        }
        stats.amount.add(record.amount.to_f64());
    }
    vec![no_description, no_merchant, outliers, unknown_type, repeated]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flow;
    use crate::amount::Notation;
    use crate::quality::{self, Policy, Rule, Rules};
    use crate::transactions::{Transactions, Wire};

    fn record(id: usize, amount: &str) -> Transaction {
        let text = |text: &str| Some(text.to_owned());
        let wire = Wire {
            id: Some(id.to_string()),
            description: text("x"),
            amount: text(amount),
            timestamp: text("2024-01-15 08:30:00"),
            merchant: text("x"),
            operation_type: text("payment"),
            side: text(if amount.starts_with('-') { "debit" } else { "credit" }),
        };
        Transactions::validate(wire, Notation::Plain).unwrap()
    }

    fn thousand() -> Vec<Transaction> {
        (0..1_000).map(|id| record(id, if id % 2 == 0 { "-10" } else { "-12" })).collect()
    }

    #[test]
    fn each_rule_finds_its_records() {
        let mut records = vec![record(1, "5"), record(2, "5"), record(1, "6"), record(3, "5")];
        records[0].description.clear();
        records[1].merchant = None;
        records[3].operation_type = "gift".into();
        let found = judge(&mut Stats::default(), &records);
        assert_eq!(found, [vec![0], vec![1], vec![], vec![3], vec![0]]);
    }

    #[test]
    fn outliers_are_judged_from_a_thousand_records_on_and_against_earlier_batches_only() {
        let mut stats = Stats::default();
        let mut first = thousand();
        first.truncate(999);
        first.push(record(5_000, "-9999"));
        assert!(judge(&mut stats, &first)[2].is_empty());

        let mut stats = Stats::default();
        judge(&mut stats, &thousand());
        let batch =
            [record(1, "-14.01"), record(2, "-13.99"), record(3, "-7.99"), record(4, "-9999")];
        assert_eq!(judge(&mut stats, &batch)[2], [0, 2, 3]);
    }

    #[test]
    fn statistics_survive_the_store_bit_by_bit() {
        let mut stats = Stats::default();
        judge(
            &mut stats,
            &(1..5_000)
                .map(|id| record(id, &format!("-{}.{:02}", id * 7 % 911, id % 100)))
                .filter(|record| record.amount.cents() != 0)
                .collect::<Vec<_>>(),
        );
        let stored = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<Stats>(&stored).unwrap(), stats);
    }

    #[test]
    fn policies_apply_above_the_threshold() {
        let positions = [10, 11, 12, 13];
        let records = [record(1, "5"), record(1, "6"), record(1, "7"), record(2, "8")];
        let verdict = |threshold, policy| {
            let rules = Rules::from([("repeated_id".to_owned(), Rule { threshold, policy })]);
            quality::judge::<Transactions>(&rules, &mut Stats::default(), &positions, &records)
        };

        let at_threshold = verdict(0.5, Policy::Stop);
        assert!(
            at_threshold.stopped_by.is_empty()
                && !at_threshold.report["repeated_id"].above_threshold
        );

        let quarantined = verdict(0.4, Policy::Quarantine);
        assert_eq!(
            quarantined.quarantined.into_iter().collect::<Vec<_>>(),
            [(0, "repeated_id"), (1, "repeated_id")]
        );
        assert_eq!(quarantined.report["repeated_id"].positions, [10, 11]);

        assert_eq!(verdict(0.4, Policy::Stop).stopped_by, ["repeated_id"]);
        assert!(verdict(0.4, Policy::Warn).quarantined.is_empty());
    }
}
