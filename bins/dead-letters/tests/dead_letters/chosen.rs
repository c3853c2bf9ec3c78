//! Which dead letters a replay is about.

use serde_json::json;
use tally_harness::job::Target;

use crate::support::{Desk, HEADER, SOON, on_both_stores, outcomes, row};

on_both_stores! {
    ids_filters_and_limits_choose
    each_page_goes_on_behind_new_attempts
    a_limit_counts_what_is_tried
    ids_of_two_attempts_are_both_told_of
}

/// Exactly those and no more.
async fn ids_filters_and_limits_choose(desk: Desk) {
    desk.model.refuse();
    let rows: String = (1..=8).map(|id| row(id, if id == 8 { "good" } else { "bad" })).collect();
    desk.ingest("a.csv", &rows);
    desk.ingest("b.csv", &[row(11, "bad"), row(12, "good")].concat());
    desk.model.answer();
    let label = desk.file("b.csv", [HEADER, &row(11, "bad"), &row(12, "good")].concat());
    let label = label.to_str().unwrap();

    let (told, _) = desk.replay(&["--label", label]);
    assert_eq!(told, outcomes([(0, "replayed")]));
    let (told, _) = desk.replay(&["--limit", "2", "--code", "model_refused"]);
    assert_eq!(told, outcomes([(0, "replayed"), (1, "replayed")]));
    let (told, _) = desk.replay(&["--key", "7", "--stage", "enrich"]);
    assert_eq!(told, outcomes([(6, "replayed")]));
    let of_position =
        desk.texts("select id from dead_letters where position in (3, 4) order by position").await;
    let (told, _) = desk.replay(&[&of_position[1], &of_position[0]]);
    assert_eq!(told, outcomes([(3, "replayed"), (4, "replayed")]));
    let (told, _) = desk.replay(&["--flow", "visits"]);
    assert_eq!(told, []);
    let (told, _) =
        desk.replay(&["--position", "5", "--since", "1h", "--until", "2999-01-01 00:00:00"]);
    assert_eq!(told, outcomes([(5, "replayed")]));
    let (told, _) = desk.replay(&["--all"]);
    assert_eq!(told, outcomes([(2, "replayed")]));

    let targets = desk.texts("select target from acts order by at, id").await;
    assert_eq!(targets[2], "flow=transactions stage=enrich state=open key=***");
    let ids = format!("flow=transactions ids {}, {}", of_position[1], of_position[0]);
    assert_eq!(targets[3], ids);
}

/// A record that fails again is tried once by a run, however small its pages are.
async fn each_page_goes_on_behind_new_attempts(desk: Desk) {
    let rows: String = (1..=5).map(|id| row(id, "x").replace("debit", "both")).collect();
    desk.ingest("a.csv", &rows);
    let (told, counts) = desk.replay(&["--all", "--batch-size", "1"]);
    let each = [0, 1, 2, 3, 4].map(|position| (position, "failed_again"));
    assert_eq!((told, counts), (outcomes(each), json!({"failed_again": 5})));
    assert_eq!(desk.target.number("select max(attempt) from dead_letters").await, 2);
}

/// Those that cannot be tried do not stand in the way of the others.
async fn a_limit_counts_what_is_tried(desk: Desk) {
    let rows: String = (1..=6).map(|id| row(id, "x").replace("debit", "both")).collect();
    let masked = desk.job("a.csv", &rows).env("TALLY_PRIVACY__MASKED", "[\"merchant\"]");
    let output = masked.spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    desk.ingest("b.csv", &rows.replace("RATP", "SNCF"));
    let (_, counts) = desk.replay(&["--all", "--limit", "4"]);
    assert_eq!(counts["failed_again"], json!(4));
    assert_eq!(desk.replay(&["--all", "--limit", "0"]).1, json!({}));
}

/// Also where one is the last of a page.
async fn ids_of_two_attempts_are_both_told_of(desk: Desk) {
    desk.ingest("a.csv", &row(1, "x").replace("debit", "both"));
    desk.replay(&["--all"]);
    let ids = desk.ids().await;
    let (told, _) = desk.replay(&[&ids[0], &ids[1], "--batch-size", "1"]);
    assert_eq!(told, outcomes([(0, "not_open"), (0, "failed_again")]));
}
