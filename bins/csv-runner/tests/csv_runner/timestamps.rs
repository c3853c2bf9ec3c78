//! Timestamps in other formats than ISO 8601.

use tally_harness::job::{ModelService, Target};

use crate::support::row;
use crate::support::rows::{Rows, check};

fn at(id: u32, timestamp: &str) -> String {
    row(id).replace("2024-01-15 08:30:00", timestamp)
}

async fn check_formats(target: Target) {
    let iso = at(3, "2024-01-15 08:30:00");
    let content = at(1, "15/01/2024") + &at(2, "15.01.24 08:30") + &iso;
    let set = r#"["%d/%m/%Y","%d.%m.%y %H:%M"]"#;
    let none = "timestamp is in none of the formats that are set (csv.timestamp_formats)";
    let file = Rows::new("formats", content)
        .with("csv.timestamp_formats", set)
        .neighbours([0, 1])
        .letter(2, ("timestamp_invalid", none), Some("3"), iso.trim_end());
    let env = [("TALLY_CSV__TIMESTAMP_FORMATS", set)];
    check(&target, &ModelService::start(), &[file], &env).await;
    let found = "select count(*) from transactions where cast(timestamp as text) in \
        ('2024-01-15 00:00:00', '2024-01-15 08:30:00', '2024-01-15 00:00:00.000000', '2024-01-15 08:30:00.000000')";
    assert_eq!(target.number(found).await, 2);
}

#[tokio::test]
async fn they_are_read_as_set_sqlite() {
    check_formats(Target::sqlite()).await;
}

#[tokio::test]
async fn they_are_read_as_set_postgres() {
    check_formats(Target::postgres().await).await;
}

#[tokio::test]
async fn seconds_may_be_missing() {
    let content = at(1, "2024-01-15 08:30") + &at(2, "2024-01-15T08:30Z");
    let file = Rows::new("minutes", content).neighbours([0, 1]);
    check(&Target::sqlite(), &ModelService::start(), &[file], &[]).await;
}
