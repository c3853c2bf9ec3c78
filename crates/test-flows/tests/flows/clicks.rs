//! Records that add to counters.

use tally_harness::job::Target;

use crate::on_both_stores;
use crate::support::{Table, audited, codes, counts, rows, take};

on_both_stores! {
    each_record_is_counted
    a_refused_record_adds_to_no_counter
}

async fn each_record_is_counted(target: Target) {
    let table = Table::new(&[
        "page;visitor;seconds",
        "/;ann;1.5",
        "/;bob;2.25",
        "/about;ann;0.1",
        "/;ann;x",
    ]);
    let summary = take("clicks", &target, &table, &["--batch-size", "2"]);
    assert_eq!(counts(&summary), [4, 3, 0, 0, 1]);
    assert_eq!(codes(&summary), [("incomplete", 1)]);
    let pages = "select page, clicks, cast(seconds as text) from clicks_by_page order by page";
    assert_eq!(rows(&target, pages).await, ["/|2|3.75", "/about|1|0.10"]);
    let visitors = "select visitor, clicks from clicks_by_visitor order by visitor";
    assert_eq!(rows(&target, visitors).await, ["ann|2", "bob|1"]);
    audited(&target);
}

async fn a_refused_record_adds_to_no_counter(target: Target) {
    let mut lines = vec!["page;visitor;seconds"];
    lines.extend(["/;ann;1"; 1002]);
    lines.push("/;bob;1");
    let summary = take("clicks", &target, &Table::new(&lines), &["--batch-size", "500"]);
    assert_eq!(counts(&summary), [1003, 1000, 0, 0, 3]);
    let pages = rows(&target, "select clicks, cast(seconds as text) from clicks_by_page").await;
    assert_eq!(pages, ["1000|1000.00"]);
    let visitors = "select visitor, clicks from clicks_by_visitor order by visitor";
    assert_eq!(rows(&target, visitors).await, ["ann|999", "bob|1"]);
    audited(&target);
}
