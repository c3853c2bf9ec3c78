//! Records of which each version is kept and the newest is upserted.

use tally_harness::job::Target;

use crate::on_both_stores;
use crate::support::{Table, audited, counts, rows, take};

const HEADER: &str = "tenant;number;name;settings;updated_at";

on_both_stores! {
    the_newest_version_wins_and_all_are_kept
    a_refused_row_leaves_no_raw_one
}

async fn the_newest_version_wins_and_all_are_kept(target: Target) {
    let first = Table::new(&[
        HEADER,
        "x;1;ann;{};2024-01-02 00:00:00",
        "x;1;anna;;2024-01-03 00:00:00",
        "x;1;an;;2024-01-01 00:00:00",
        "y;1;bob;;2024-01-01 00:00:00",
    ]);
    assert_eq!(counts(&take("profiles", &target, &first, &[])), [4, 4, 0, 0, 0]);
    let second = Table::new(&[
        HEADER,
        "x;1;older;;2024-01-02 12:00:00",
        "y;1;bobby;[1];2024-01-02 00:00:00",
    ]);
    assert_eq!(counts(&take("profiles", &target, &second, &[])), [2, 2, 0, 0, 0]);
    let latest = rows(&target, "select tenant, number, name from profiles order by tenant").await;
    assert_eq!(latest, ["x|1|anna", "y|1|bobby"]);
    let raw = rows(&target, "select name from profiles_raw order by name").await;
    assert_eq!(raw, ["an", "ann", "anna", "bob", "bobby", "older"]);

    assert_eq!(counts(&take("profiles", &target, &first, &["--again"])), [4, 4, 0, 0, 0]);
    let again = rows(&target, "select tenant, number, name from profiles order by tenant").await;
    assert_eq!(again, latest);
    assert_eq!(rows(&target, "select name from profiles_raw order by name").await, raw);
    audited(&target);
}

async fn a_refused_row_leaves_no_raw_one(target: Target) {
    let table = Table::new(&[
        HEADER,
        "x;1;ann;;2024-01-01 00:00:00",
        "x;2;nobody;;2024-01-01 00:00:00",
        "x;3;cem;;2024-01-01 00:00:00",
    ]);
    assert_eq!(counts(&take("profiles", &target, &table, &[])), [3, 2, 0, 0, 1]);
    assert_eq!(rows(&target, "select name from profiles order by name").await, ["ann", "cem"]);
    assert_eq!(rows(&target, "select name from profiles_raw order by name").await, ["ann", "cem"]);
    let stage = rows(&target, "select stage from dead_letters").await;
    assert_eq!(stage, ["write"]);
    audited(&target);
}
