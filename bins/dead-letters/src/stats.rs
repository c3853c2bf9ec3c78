//! `stats`: counts by code and by hour.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use serde::{Serialize, Serializer};
use tally_ports::{Count, DeadLetters, Filter};

use crate::arguments::Output;
use crate::console::{Console, Ended, print};
use crate::json;
use tally_app::{Table, bar};

/// Prints counts by code and by hour.
pub async fn run(filter: &Filter, output: Output, console: &Console) -> Result<(), Ended> {
    let counts = of_all_flows(console.ask(|| console.store.count(filter)).await?);
    let mut codes: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for OfHour { stage, code, count, .. } in &counts {
        *codes.entry((stage, code)).or_default() += count;
    }
    let mut codes: Vec<_> =
        codes.into_iter().map(|((stage, code), count)| OfCode { stage, code, count }).collect();
    codes.sort_by_key(|of_code| std::cmp::Reverse(of_code.count));
    print(&match output {
        Output::Json => json::line(&Stats {
            total: counts.iter().map(|count| count.count).sum(),
            codes,
            hours: &counts,
        }),
        Output::Table => text(&codes, &counts),
    })
}

/// The counts of each hour and code, whatever the flow.
fn of_all_flows(counts: Vec<Count>) -> Vec<OfHour> {
    let mut sums = BTreeMap::new();
    for Count { hour, stage, code, count, .. } in counts {
        *sums.entry((hour, stage, code)).or_default() += count;
    }
    sums.into_iter()
        .map(|((hour, stage, code), count)| OfHour { hour, stage, code, count })
        .collect()
}

/// The counts, for scripts.
#[derive(Serialize)]
struct Stats<'a> {
    total: i64,
    /// The most frequent first.
    codes: Vec<OfCode<'a>>,
    /// The first hour first.
    hours: &'a [OfHour],
}

#[derive(Serialize)]
struct OfCode<'a> {
    stage: &'a str,
    code: &'a str,
    count: i64,
}

#[derive(Serialize)]
struct OfHour {
    #[serde(serialize_with = "moment")]
    hour: NaiveDateTime,
    stage: String,
    code: String,
    count: i64,
}

fn moment<S: Serializer>(hour: &NaiveDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&json::moment(*hour))
}

fn text(codes: &[OfCode<'_>], counts: &[OfHour]) -> String {
    if counts.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let most = codes.iter().map(|of_code| of_code.count).max().unwrap_or(1);
    let mut by_code = Table::new(["STAGE", "CODE", "COUNT", ""]);
    for OfCode { stage, code, count } in codes {
        let bar = bar(*count, most);
        by_code.row([(*stage).to_owned(), (*code).to_owned(), format!("{count:>9}"), bar]);
    }
    let most = counts.iter().map(|count| count.count).max().unwrap_or(1);
    let mut by_hour = Table::new(["HOUR (UTC)", "CODE", "COUNT", ""]);
    let mut last_hour = None;
    for OfHour { hour, code, count, .. } in counts {
        let is_new = last_hour.replace(hour) != Some(hour);
        let hour = if is_new { hour.format("%Y-%m-%d %H:00").to_string() } else { String::new() };
        by_hour.row([hour, code.clone(), format!("{count:>9}"), bar(*count, most)]);
    }
    let total: i64 = counts.iter().map(|count| count.count).sum();
    format!("{total} dead letters\n\n{by_code}\n{by_hour}")
}
