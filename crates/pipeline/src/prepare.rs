//! Validation and quality of one batch: everything before the model.

use chrono::Utc;
use serde_json::Value as Json;
use tally_domain::quality::{self, Judged, Report, Rules};
use tally_domain::{Flow, Incoming, Raw, Record, publish};
use tally_ports::{Batch, DeadLetter, Stop, StopKind};

use crate::budget;

/// A batch that is ready for the model.
pub(crate) struct Prepared {
    /// The records that are left, in order of position.
    pub(crate) records: Vec<Record>,
    /// Where each of them was read, and its bytes.
    pub(crate) places: Vec<(i64, Raw)>,
    /// What was refused so far, in order of position.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// What the quality rules found.
    pub(crate) quality: Report,
}

/// Takes the items of a batch through validation and quality; `stats` learns from the valid ones.
pub(crate) fn prepare(
    flow: &dyn Flow,
    batch: &mut Batch,
    rules: &Rules,
    stats: &mut Json,
) -> Result<Prepared, Stop> {
    let notation = batch.notation;
    let items = std::mem::take(&mut batch.items).into_iter();
    let (places, contents): (Vec<(i64, Raw)>, Vec<_>) =
        items.map(|item| ((item.position, item.raw), item.content)).unzip();
    let incoming = contents.into_iter().zip(&places);
    let incoming = incoming
        .map(|(content, (_, raw))| content.map(|fields| Incoming { fields, notation, raw }));
    let mut read = flow.read_all(incoming.collect());
    if read.len() != places.len() {
        let (flow, read, given) = (flow.name(), read.len(), places.len());
        let message = format!("the flow {flow} answers for {read} of {given} records");
        return Err(Stop { kind: StopKind::Data, message });
    }

    publish::add_processed_at(flow, read.iter_mut().flatten(), Utc::now());

    let (mut records, mut kept) = (Vec::with_capacity(read.len()), Vec::with_capacity(read.len()));
    let mut dead_letters = Vec::new();
    for ((position, raw), record) in places.into_iter().zip(read) {
        match record {
            Ok(record) => {
                records.push(record);
                kept.push((position, raw));
            }
            Err(reason) => dead_letters.push(DeadLetter::first(position, reason, raw)),
        }
    }
    let prepared = Prepared { records, places: kept, dead_letters, quality: Report::new() };
    judge(flow, prepared, rules, stats, batch)
}

/// Takes out the records that the quality rules quarantine.
fn judge(
    flow: &dyn Flow,
    prepared: Prepared,
    rules: &Rules,
    stats: &mut Json,
    batch: &Batch,
) -> Result<Prepared, Stop> {
    let Prepared { records, places, dead_letters, .. } = prepared;
    let positions: Vec<i64> = places.iter().map(|(position, _)| *position).collect();
    let judged: Vec<&Record> = records.iter().collect();
    let judged = Judged {
        records: &judged,
        positions: &positions,
        last: batch.last,
        is_last: batch.is_last,
        window: rules.window,
    };
    let verdict = quality::judge(flow, rules, stats, judged).map_err(|error| {
        let (flow, error) = (flow.name(), error.0);
        let message = format!("the statistics of {flow} in the database are not its own: {error}");
        Stop { kind: StopKind::Data, message }
    })?;
    budget::admit_quality(&verdict, batch)?;
    let quality = verdict.report;
    if verdict.quarantined.is_empty() {
        return Ok(Prepared { records, places, dead_letters, quality });
    }

    let mut kept = Prepared { records: Vec::new(), places: Vec::new(), dead_letters, quality };
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
