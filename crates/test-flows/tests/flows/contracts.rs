//! Changes of rows: deletes leave marks, tombstones are skipped.

use tally_harness::job::Target;

use crate::on_both_stores;
use crate::support::{Table, audited, consume, counts, rows, take, topic};

const LIVING: &str = "select customer, cast(amount as text) from contracts where deleted_at is null order by customer";

on_both_stores! {
    a_delete_leaves_a_mark_and_its_tombstone_nothing
    deletes_and_upserts_of_a_file_follow_its_order
}

fn change(op: &str, id: u32, customer: &str, amount: i64) -> String {
    format!(r#"{{"op": "{op}", "id": {id}, "customer": "{customer}", "amount": {amount}}}"#)
}

async fn a_delete_leaves_a_mark_and_its_tombstone_nothing(target: Target) {
    let values = [
        change("c", 1, "ann", 10),
        change("c", 2, "bob", 20),
        change("d", 1, "", 0),
        change("u", 2, "bob", 21),
        change("d", 3, "", 0),
    ];
    let wrapped = |payload: &str| format!(r#"{{"schema": {{}}, "payload": {payload}}}"#);
    let [first, second, third, fourth, fifth] = values;
    let values = [first, wrapped(&second), third, wrapped("null"), wrapped(&fourth), fifth];
    let mut records: Vec<_> =
        values.iter().map(|value| (Some("k"), Some(value.as_str()))).collect();
    records.insert(3, (Some("k"), None));
    let (broker, topic) = topic(&records).await;
    consume("contracts", &target, broker, &topic, &["--batch-size", "2"]);
    assert_eq!(rows(&target, LIVING).await, ["bob|21"]);
    assert_eq!(
        target.number("select count(*) from contracts where deleted_at is not null").await,
        2
    );
    let sums = "select sum(read), sum(written), sum(superseded), sum(skipped), sum(dead_lettered) from batches";
    assert_eq!(rows(&target, sums).await, ["7|5|0|2|0"]);
    audited(&target);
}

async fn deletes_and_upserts_of_a_file_follow_its_order(target: Target) {
    let table = Table::new(&[
        "op;id;customer;amount",
        "c;1;ann;10",
        "d;1;;",
        "c;2;bob;20",
        "u;2;bob;21",
        "d;3;;",
        "c;3;cem;30",
    ]);
    assert_eq!(counts(&take("contracts", &target, &table, &[])), [6, 3, 3, 0, 0]);
    assert_eq!(rows(&target, LIVING).await, ["bob|21", "cem|30"]);
    assert_eq!(counts(&take("contracts", &target, &table, &["--again"])), [6, 3, 3, 0, 0]);
    assert_eq!(rows(&target, LIVING).await, ["bob|21", "cem|30"]);
    audited(&target);
}
