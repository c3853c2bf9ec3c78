//! The lookup of a dead letter for its replay.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use tally_ports::{DeadLetterIdentity, Fault, Origin, ReplayAttempt, State, StopKind};

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
    /// The state of the dead letter and its pass; [`StopKind::Input`] where there is no such dead letter,
    /// [`StopKind::Data`] where its state is unknown.
    pub fn known(found: Option<Self>, place: &DeadLetterIdentity) -> Result<(State, Pass), Fault> {
        let id = place.id();
        let Some(Self { state, origin, log }) = found else {
            return Err(Fault::stop(StopKind::Input, format!("there is no dead letter {id}")));
        };
        let state = state.parse().map_err(|error| {
            let message = format!("the state of the dead letter {id} is unknown: {error}");
            Fault::stop(StopKind::Data, message)
        })?;
        Ok((state, Pass { found: origin.zip(log) }))
    }
}

impl Pass {
    /// [`StopKind::Data`] where the pass is not known.
    pub fn origin(self, attempt: &ReplayAttempt) -> Result<Origin<'_>, Fault> {
        let DeadLetterIdentity { stream, partition, pass, .. } = &attempt.identity;
        let (id, log) = self.found.ok_or_else(|| {
            let what = format!("pass {pass} over partition {partition} of {stream}");
            Fault::stop(StopKind::Data, format!("there is no position for {what}"))
        })?;
        Ok(Origin { flow: &*attempt.flow, id, stream, partition: *partition, log })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_nobody_knows_is_named() {
        let place = DeadLetterIdentity {
            flow: "f".to_owned(),
            stream: "file/f".to_owned(),
            partition: 0,
            pass: 1,
            position: 7,
            attempt: 1,
        };
        let known = |state: Option<&str>| {
            let found =
                state.map(|state| StateRow { state: state.to_owned(), origin: None, log: None });
            StateRow::known(found, &place).map(|(state, _)| state)
        };
        assert_eq!(known(Some("open")), Ok(State::Open));
        let id = place.id();
        let missing = Fault::stop(StopKind::Input, format!("there is no dead letter {id}"));
        assert_eq!(known(None), Err(missing));
        let unknown =
            format!("the state of the dead letter {id} is unknown: lost is not one of open, ");
        let is_named = |fault: Fault| matches!(fault, Fault::Stop(stop) if stop.kind == StopKind::Data && stop.message.starts_with(&unknown));
        assert!(known(Some("lost")).is_err_and(is_named));
    }
}
