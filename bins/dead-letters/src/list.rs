//! `list`: one page.

use serde::Serialize;
use tally_ports::position::FILE;
use tally_ports::{DeadLetterSummary, DeadLetters};
use uuid::Uuid;

use crate::arguments::{List, Output};
use crate::console::{Console, Ended, print};
use crate::json::{self, DeadLetterJson};
use tally_app::Table;
use tally_app::bytes::{inline, whole_characters};

/// How much of a key a table shows.
const KEY: usize = 36;

/// Prints one page.
pub async fn run(list: &List, output: Output, console: &Console) -> Result<(), Ended> {
    let filter = list.filters.filter(&[], list.state);
    let after = match list.after {
        Some(id) => Some(console.find(id).await?.identity),
        None => None,
    };
    let limit = usize::from(list.limit);
    // One more than wanted tells whether there is another page.
    let mut page = console.ask(|| console.store.list(&filter, after.as_ref(), limit + 1)).await?;
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|letter| letter.id);
    print(&match output {
        Output::Json => {
            json::line(&Page { dead_letters: page.iter().map(DeadLetterJson::of).collect(), next })
        }
        Output::Table => table(&page, next),
    })
}

/// A page, for scripts.
#[derive(Serialize)]
struct Page<'a> {
    dead_letters: Vec<DeadLetterJson<'a>>,
    /// The value of `--after` for the next page; null on the last one.
    next: Option<Uuid>,
}

fn table(page: &[DeadLetterSummary], next: Option<Uuid>) -> String {
    if page.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut table =
        Table::new(["ID", "WHERE", "ATTEMPT", "STATE", "STAGE", "CODE", "KEY", "FAILED AT (UTC)"]);
    for letter in page {
        let key = letter.key.as_deref().map(whole_characters);
        table.row([
            letter.id.to_string(),
            place_of(letter),
            letter.identity.attempt.to_string(),
            letter.state.to_string(),
            letter.stage.clone(),
            letter.code.clone(),
            inline(key).chars().take(KEY).collect(),
            letter.failed_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        ]);
    }
    let more = next.map_or_else(String::new, |next| format!("\nmore: --after {next}\n"));
    format!("{table}{more}")
}

/// Where a record was read: `orders.csv@17`, `transactions/3@1024`.
pub fn place_of(letter: &DeadLetterSummary) -> String {
    let place = &letter.identity;
    let label = letter.label.as_deref().unwrap_or(&place.stream);
    if place.stream.starts_with(FILE) {
        format!("{label}@{}", place.position)
    } else {
        format!("{label}/{}@{}", place.partition, place.position)
    }
}
