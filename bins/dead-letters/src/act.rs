//! `discard` and `purge`, and the parts that all acts share.

use clap::CommandFactory;
use clap::error::ErrorKind;
use serde::Serialize;
use serde_json::Value;
use tally_ports::{Act, Acts, Change, DeadLetters, Filter, LoggedAct, State};
use uuid::Uuid;

use crate::arguments::{Arguments, Command, Moment, Output, Which};
use crate::console::{Console, Ended, print};
use crate::json;

/// How many ids the table of acts names.
const IDS_NAMED: usize = 10;

/// Discards or purges.
pub async fn run(command: &Command, output: Output, console: &Console) -> Result<(), Ended> {
    let (change, verb, which, filter, reason) = match command {
        Command::Discard { which, reason } => {
            require(which);
            let filter = which.filters.filter(&which.ids, Some(State::Open));
            (Change::Discard, "discard", which, filter, reason)
        }
        Command::Purge { which, state, older_than, reason } => {
            let before = older_than.map(|Moment(at)| at);
            if before.is_none() {
                require(which);
            }
            let mut filter = which.filters.filter(&which.ids, *state);
            filter.until = filter.until.into_iter().chain(before).min();
            (Change::Purge, "purge", which, filter, reason)
        }
        _ => return Ok(()),
    };
    console.check_ids(&which.ids).await?;

    let mut logged_act = begin(console, verb, &filter, reason);
    let mut pages = console.pages(&filter);
    loop {
        let page = pages.next(usize::MAX).await?;
        if page.is_empty() {
            break;
        }
        let ids: Vec<Uuid> = page.iter().map(|letter| letter.id).collect();
        let changed = console.ask(|| console.store.change(&ids, change, &logged_act)).await?;
        logged_act.add(change.as_str(), changed);
        if console.is_stopped() {
            break;
        }
    }
    logged_act.add(change.as_str(), 0);
    console.ask(|| console.store.note(&logged_act)).await?;
    let count = &logged_act.act.result[change.as_str()];
    print(&match output {
        Output::Json => {
            json::line(&Done { act: Some(logged_act.id), counts: &logged_act.act.result })
        }
        Output::Table => format!("{count} {}\n", change.as_str()),
    })
}

/// The result of an act, for scripts.
#[derive(Serialize)]
pub struct Done<'a> {
    /// The row of the table of acts.
    pub act: Option<Uuid>,
    /// The number of dead letters, by outcome.
    pub counts: &'a Value,
}

/// Ends the process unless ids, a filter or `--all` is given.
pub fn require(which: &Which) {
    if !which.is_said() {
        let message = "say which dead letters: by id, by a filter, or --all";
        Arguments::command().error(ErrorKind::MissingRequiredArgument, message).exit()
    }
}

/// A new act, not carried out yet.
pub fn begin(console: &Console, verb: &'static str, filter: &Filter, reason: &str) -> LoggedAct {
    LoggedAct::new(Act {
        who: tally_app::who(&console.worker.process.host),
        verb,
        flow: filter.flow.clone().unwrap_or_else(|| "all".to_owned()),
        target: target(filter),
        reason: reason.to_owned(),
        result: Value::Null,
    })
}

/// The selection, for the table of acts. It leaves out a key, which would survive its purge there.
fn target(filter: &Filter) -> String {
    let Filter { ids, flow, stream, label, partition, pass, position, stage, code, .. } = filter;
    let Filter { state, since, until, key, .. } = filter;
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let filters = [
        ("flow", flow.clone()),
        ("stream", stream.clone()),
        ("label", label.clone()),
        ("partition", number(partition.map(i64::from))),
        ("pass", number(pass.map(i64::from))),
        ("position", number(*position)),
        ("stage", stage.clone()),
        ("code", code.clone()),
        ("state", state.map(|state| state.to_string())),
        ("since", since.map(json::moment)),
        ("until", until.map(json::moment)),
        ("key", key.as_ref().map(|_| "***".to_owned())),
    ];
    let mut parts: Vec<String> = filters
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={value}")))
        .collect();
    if let Some(ids) = ids {
        let named: Vec<String> = ids.iter().take(IDS_NAMED).map(Uuid::to_string).collect();
        let rest =
            if ids.len() > IDS_NAMED { format!(" ({} ids)", ids.len()) } else { String::new() };
        parts.push(format!("ids {}{rest}", named.join(", ")));
    }
    if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_names_its_target_but_no_key() {
        assert_eq!(target(&Filter::default()), "all");
        let filter = Filter {
            code: Some("json".into()),
            key: Some("4711".into()),
            state: Some(State::Open),
            ids: Some(vec![Uuid::nil(); 11]),
            ..Filter::default()
        };
        let text = target(&filter);
        assert!(text.starts_with("code=json state=open key=*** ids 0000"), "{text}");
        assert!(text.ends_with(" (11 ids)") && !text.contains("4711"), "{text}");
    }
}
