//! Validation and quality of one batch: everything before the model. Pure.

use tally_domain::quality::{self, Report, Rules};
use tally_domain::{Flow, Stage};
use tally_ports::{Batch, DeadLetter, Raw, Stop};

use crate::guard;

/// A batch that is ready for the model.
pub(crate) struct Prepared<F: Flow> {
    /// What is left, in order of position.
    pub(crate) records: Vec<F::Record>,
    /// Where each of them was read, and its bytes.
    pub(crate) places: Vec<(i64, Raw)>,
    /// What was refused so far, in order of position.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// What the quality rules found.
    pub(crate) quality: Report,
}

/// Takes the items of a batch through validation and quality; `stats` learns from the valid ones.
pub(crate) fn prepare<F: Flow>(
    batch: &mut Batch<F::Wire>,
    rules: &Rules,
    stats: &mut F::Stats,
) -> Result<Prepared<F>, Stop> {
    let mut records = Vec::with_capacity(batch.items.len());
    let mut places = Vec::with_capacity(batch.items.len());
    let mut dead_letters = Vec::new();
    let notation = batch.notation;
    for item in batch.items.drain(..) {
        match item.content.and_then(|wire| F::validate(wire, notation)) {
            Ok(record) => {
                records.push(record);
                places.push((item.position, item.raw));
            }
            Err(reason) => dead_letters.push(DeadLetter::first(item.position, reason, item.raw)),
        }
    }

    let positions: Vec<i64> = places.iter().map(|(position, _)| *position).collect();
    let verdict = quality::judge::<F>(rules, stats, &positions, &records);
    guard::admit_quality(&verdict, records.len(), batch.first, batch.last)?;
    if verdict.quarantined.is_empty() {
        return Ok(Prepared { records, places, dead_letters, quality: verdict.report });
    }

    let mut kept =
        Prepared { records: Vec::new(), places: Vec::new(), dead_letters, quality: verdict.report };
    for (index, (record, (position, raw))) in records.into_iter().zip(places).enumerate() {
        if let Some(rule) = verdict.quarantined.get(&index) {
            kept.dead_letters.push(DeadLetter::first(
                position,
                quality::quarantine_reason(rule),
                raw,
            ));
        } else {
            kept.records.push(record);
            kept.places.push((position, raw));
        }
    }
    kept.dead_letters.sort_by_key(|letter| letter.position);
    Ok(kept)
}

/// The word under which a dead letter is counted.
pub(crate) fn labels(stage: Stage, code: &str) -> [(&'static str, String); 2] {
    [("stage", stage.to_string()), ("code", code.to_owned())]
}
