//! `show`: one dead letter in full.

use std::fmt::Write as _;

use serde::Serialize;
use tally_ports::{DeadLetterSummary, DeadLetters, Filter, OutdatedBy, StoredDeadLetter};
use uuid::Uuid;

use crate::arguments::Output;
use crate::console::{Console, Ended, print};
use crate::json::{self, DeadLetterJson, WholeJson};
use crate::list::place_of;
use tally_app::bytes::{block, inline};
use tally_app::{Table, plain};

/// Prints the dead letter with this id and all attempts at its record.
pub async fn run(id: Uuid, output: Output, console: &Console) -> Result<(), Ended> {
    let summary = console.find(id).await?;
    let ids = [id];
    let found = console.ask(|| console.store.fetch(&ids)).await?;
    // Dead letters are never deleted; if this one were, only the summary would be left to show.
    let whole = found.into_iter().next();
    let whole =
        whole.unwrap_or_else(|| StoredDeadLetter { summary, raw: tally_ports::Raw::default() });

    let place = &whole.summary.identity;
    let of_record = Filter {
        flow: Some(place.flow.clone()),
        stream: Some(place.stream.clone()),
        partition: Some(place.partition),
        pass: Some(place.pass),
        position: Some(place.position),
        ..Filter::default()
    };
    let mut pages = console.pages(&of_record);
    let mut attempts = Vec::new();
    loop {
        let page = pages.next(usize::MAX).await?;
        if page.is_empty() {
            break;
        }
        attempts.extend(page);
    }
    print(&match output {
        Output::Json => json::line(&Shown {
            letter: WholeJson::of(&whole),
            attempts: attempts.iter().map(DeadLetterJson::of).collect(),
        }),
        Output::Table => text(&whole, &attempts),
    })
}

/// A dead letter and its attempts, for scripts.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    letter: WholeJson<'a>,
    attempts: Vec<DeadLetterJson<'a>>,
}

fn text(
    StoredDeadLetter { summary, raw }: &StoredDeadLetter,
    attempts: &[DeadLetterSummary],
) -> String {
    let place = &summary.identity;
    let moment = |at: chrono::NaiveDateTime| format!("{} UTC", at.format("%Y-%m-%d %H:%M:%S%.3f"));
    let mut text = String::new();
    for (name, value) in [
        ("id", summary.id.to_string()),
        ("where", place_of(summary)),
        ("flow", place.flow.clone()),
        ("stream", place.stream.clone()),
        ("partition", place.partition.to_string()),
        ("pass", place.pass.to_string()),
        ("position", place.position.to_string()),
        ("attempt", place.attempt.to_string()),
        ("state", state(summary)),
        ("batch", summary.batch_id.to_string()),
        ("failed at", moment(summary.failed_at)),
        ("published at", summary.published_at.map_or_else(|| "-".to_owned(), moment)),
        ("stage", summary.stage.clone()),
        ("code", summary.code.clone()),
        ("key", inline(raw.key.as_deref())),
    ] {
        line(&mut text, format_args!("{name:<14}{}", plain(&value)));
    }
    line(&mut text, format_args!("\nreason"));
    for reason in summary.message.split(';') {
        line(&mut text, format_args!("  {}", plain(reason.trim())));
    }
    line(
        &mut text,
        format_args!("\nheaders{}", if raw.headers.is_empty() { ": none" } else { "" }),
    );
    for (name, value) in raw.headers.iter() {
        line(&mut text, format_args!("  {}: {}", plain(name), inline(value.as_deref())));
    }
    match raw.payload.as_deref() {
        None => line(&mut text, format_args!("\npayload: none")),
        Some(payload) => {
            line(&mut text, format_args!("\npayload ({} bytes)", payload.len()));
            text += &block(payload);
        }
    }
    line(&mut text, format_args!("\nattempts"));
    let mut table = Table::new(["", "ATTEMPT", "STATE", "STAGE", "CODE", "FAILED AT (UTC)", "ID"]);
    for attempt in attempts {
        table.row([
            if attempt.id == summary.id { ">".to_owned() } else { String::new() },
            attempt.identity.attempt.to_string(),
            attempt.state.to_string(),
            attempt.stage.clone(),
            attempt.code.clone(),
            attempt.failed_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            attempt.id.to_string(),
        ]);
    }
    text + &table.to_string()
}

/// With the rule that outdated it.
fn state(summary: &DeadLetterSummary) -> String {
    let rule = match summary.outdated_by {
        None => "",
        Some(OutdatedBy::Position) => ": a later pass has taken the record at its position",
        Some(OutdatedBy::Key) => ": a later pass or another file has written the row of its key",
    };
    format!("{}{rule}", summary.state)
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _never_fails = writeln!(text, "{line}");
}
