//! `top`, and what a run shows at its end: the flow's greatest counters.

use std::slice;
use std::time::Duration;

use serde_json::{Value, json};
use tally_app::{Flows, LedgerReader, Settings, Store, Table, bar, plain, print, print_logged};
use tally_domain::{CounterTable, Flow, Top};
use tally_ports::{Counters, Fault, KeyCount, KnownFlow, Stop};
use tokio::time::timeout;

use crate::arguments::Output;
use crate::compose::wrong;

/// How long the end of a run may take to read counters.
const LONGEST: Duration = Duration::from_secs(5);

/// A top and its counters, in order.
struct Shown<'a> {
    title: &'a str,
    table: CounterTable<'a>,
    counts: Vec<KeyCount>,
}

/// Prints the tops of the flow; returns the exit code. Writes nothing into the store.
///
/// # Errors
/// When the flow has none, or the store cannot be read.
pub async fn run(
    flows: &Flows,
    known: &KnownFlow,
    output: Output,
    settings: &Settings,
) -> Result<u8, Stop> {
    let flow = &*known.flow;
    if flow.tops().is_empty() {
        return Err(without_tops(flows, flow.name()));
    }
    tally_app::existing(settings)?;
    let store = LedgerReader::open(&settings.database_url, slice::from_ref(known));
    let store = store.await.map_err(Fault::into_stop)?;
    let shown = read(flow, &store).await.map_err(Fault::into_stop)?;
    Ok(print(&match output {
        Output::Text => text(&shown),
        Output::Json => format!("{}\n", json(flow.name(), &shown)),
    }))
}

fn without_tops(flows: &Flows, name: &str) -> Stop {
    let with = flows.all().iter().map(|known| &*known.flow).filter(|flow| !flow.tops().is_empty());
    let with: Vec<&str> = with.map(Flow::name).collect();
    wrong(match &*with {
        [] => format!("the flow {name} has no counters to show, nor has any other of this program"),
        _ => format!(
            "the flow {name} has no counters to show: say --flow {}",
            with.join(" or --flow ")
        ),
    })
}

/// Prints the tops of the flow at the end of a run, if it has any and the store answers soon; returns the exit code.
pub async fn at_end(flow: &dyn Flow, store: &Store) -> u8 {
    if flow.tops().is_empty() {
        return 0;
    }
    let why = match timeout(LONGEST, read(flow, store)).await {
        Ok(Ok(shown)) => return print_logged(&text(&shown)),
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => format!("the database did not answer within {LONGEST:?}"),
    };
    tracing::warn!("the counters of {} are left out: {why}", flow.name());
    0
}

async fn read<'a>(flow: &'a dyn Flow, store: &impl Counters) -> Result<Vec<Shown<'a>>, Fault> {
    let mut shown = Vec::with_capacity(flow.tops().len());
    for top in flow.tops() {
        let Top { title, most, .. } = top;
        let Some(table) = top.counters(flow) else { continue };
        let counts = store.greatest(table, *most).await?.counts;
        shown.push(Shown { title, table, counts });
    }
    Ok(shown)
}

fn text(shown: &[Shown<'_>]) -> String {
    let sections = shown.iter().map(|Shown { title, table, counts }| {
        let Some(KeyCount { count: most, .. }) = counts.first() else {
            return format!("{}\nnothing is counted\n", plain(title));
        };
        let [key, number] = [table.key, table.number].map(|column| column.name.to_uppercase());
        let mut rows = Table::new([&key, &format!("{number:>9}"), ""]);
        for KeyCount { key, count } in counts {
            let key = if key.is_empty() { "(empty)" } else { key };
            rows.row([key.to_owned(), format!("{count:>9}"), bar(*count, *most)]);
        }
        format!("{}\n{rows}", plain(title))
    });
    sections.collect::<Vec<_>>().join("\n")
}

fn json(flow: &str, shown: &[Shown<'_>]) -> Value {
    let tops: Vec<Value> = shown
        .iter()
        .map(|Shown { title, table, counts }| {
            let counts =
                counts.iter().map(|KeyCount { key, count }| json!({ "key": key, "count": count }));
            json!({ "title": title, "table": table.name, "counts": counts.collect::<Vec<_>>() })
        })
        .collect();
    json!({ "flow": flow, "tops": tops })
}

#[cfg(test)]
mod tests {
    use tally_domain::{TableColumn, Type};

    use super::*;

    #[test]
    fn an_empty_key_and_control_characters_are_told() {
        let key = TableColumn::new("device_type", Type::Text { limit: None });
        let number = TableColumn::new("logins", Type::Integer);
        let table = CounterTable { name: "by_device_type", key: &key, number: &number };
        let count = |key: &str, count| KeyCount { key: key.to_owned(), count };
        let counts = vec![count("ios", 20), count("", 10), count("\u{1b}[31m\n", 1)];
        let shown = [
            Shown { title: "device types", table, counts },
            Shown { title: "top 2 device types", table, counts: Vec::new() },
        ];
        let [forty, twenty, two] = [40, 20, 2].map(|length| "█".repeat(length));
        let expected = format!(
            "device types\n\
             DEVICE_TYPE      LOGINS\n\
             ios                  20  {forty}\n\
             (empty)              10  {twenty}\n\
             \\u{{1b}}[31m\\n          1  {two}\n\n\
             top 2 device types\n\
             nothing is counted\n"
        );
        assert_eq!(text(&shown), expected);
        let told = json("user-logins", &shown[..1]);
        let counts = json!([
            { "key": "ios", "count": 20 },
            { "key": "", "count": 10 },
            { "key": "\u{1b}[31m\n", "count": 1 },
        ]);
        let top = json!({ "title": "device types", "table": "by_device_type", "counts": counts });
        assert_eq!(told, json!({ "flow": "user-logins", "tops": [top] }));
    }
}
