//! The lookup of a dead letter for its replay.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use tally_ports::{Fault, Origin, Place, ReplayAttempt, State, StopKind};

/// The dead letter `$1`, as the row `d`, and the pass that read its record.
pub const FIND: &str = "
    select d.state, p.id as origin, p.log from dead_letters as d left join positions as p
        on p.flow = d.flow and p.stream = d.stream and p.partition = d.partition and p.pass = d.pass
    where d.id = $1";

/// A row of [`FIND`].
#[derive(QueryableByName)]
pub struct StateRow {
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    origin: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    log: Option<i64>,
}

/// The pass that read a dead letter's record, where it is known.
pub struct Pass {
    /// Its position's row, and its log.
    found: Option<(i64, i64)>,
}

impl StateRow {
    /// The state of the dead letter and its pass; [`StopKind::Input`] where there is no such dead letter.
    pub fn known(found: Option<Self>, attempt: &ReplayAttempt) -> Result<(State, Pass), Fault> {
        let known = found.and_then(|Self { state, origin, log }| {
            Some((state.parse().ok()?, Pass { found: origin.zip(log) }))
        });
        known.ok_or_else(|| {
            let id = attempt.place.id();
            Fault::stop(StopKind::Input, format!("there is no dead letter {id}"))
        })
    }
}

impl Pass {
    /// [`StopKind::Data`] where the pass is not known.
    pub fn origin(self, attempt: &ReplayAttempt) -> Result<Origin<'_>, Fault> {
        let Place { stream, partition, pass, .. } = &attempt.place;
        let (id, log) = self.found.ok_or_else(|| {
            let what = format!("pass {pass} over partition {partition} of {stream}");
            Fault::stop(StopKind::Data, format!("there is no position for {what}"))
        })?;
        Ok(Origin { flow: &*attempt.flow, id, stream, partition: *partition, log })
    }
}
