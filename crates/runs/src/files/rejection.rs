//! The message about a file with too many dead letters.

use tally_ports::{Finished, Stop, StopKind};

/// The stop of a file that this run rejected. `top_codes` are those of this run's dead letters.
pub(super) fn now(
    path: &str,
    finished: &Finished,
    ratio: f64,
    top_codes: &str,
    dry_run: bool,
) -> Stop {
    let counts = counts(finished);
    let codes = if top_codes.is_empty() {
        String::new() // an earlier run read all of it
    } else {
        format!(", mostly {top_codes}")
    };
    let advice = if dry_run { "" } else { " and read it with --again" };
    stop(format!(
        "{path} is rejected: {counts} (budget.ratio is {ratio}){codes}; correct the file, or change the setting{advice}"
    ))
}

/// The stop of a file that an earlier run rejected.
pub(super) fn before(path: &str, finished: &Finished) -> Stop {
    let (at, counts) = (finished.at.format("%Y-%m-%d %H:%M:%S"), counts(finished));
    stop(format!("{path} was rejected at {at} UTC: {counts}; --again reads it once more"))
}

fn counts(finished: &Finished) -> String {
    let Finished { read, dead_lettered, .. } = finished;
    format!("{dead_lettered} of {read} rows became dead letters")
}

const fn stop(message: String) -> Stop {
    Stop { kind: StopKind::Data, message }
}
