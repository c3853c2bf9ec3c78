//! A flow that only tests know: visits of pages. Its effect appends (the key is origin and position), it asks no
//! model, and its tables and effects live here: the proof that a flow can be added without editing an adapter.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use serde::{Deserialize, Serialize};
use tally_domain::amount::Notation;
use tally_domain::{Column, Flow, Kind, Reason, Stage};
use tally_ports::{Raw, Row};

/// The flow of visits.
#[derive(Clone, Copy, Debug)]
pub struct Visits;

impl Flow for Visits {
    const NAME: &'static str = "visits";
    const COLUMNS: &'static [Column] = &[
        Column { name: "who", kind: Kind::Text },
        Column { name: "page", kind: Kind::Text },
        Column { name: "at", kind: Kind::Timestamp },
    ];
    const RULES: &'static [&'static str] = &[];

    type Wire = Wire;
    type Record = Visit;
    type Answer = ();
    type Stats = ();

    fn validate(wire: Wire, _: Notation) -> Result<Visit, Reason> {
        let at = wire.at.as_deref().and_then(tally_domain::timestamp::parse);
        match (wire.who, wire.page, at) {
            (Some(who), Some(page), Some(at)) => Ok(Visit { who, page, at }),
            _ => Err(Reason::new(
                Stage::Validate,
                "visit_incomplete",
                "who, page or at is missing or unreadable",
            )),
        }
    }

    fn judge((): &mut (), _: &[Visit]) -> Vec<Vec<usize>> {
        Vec::new()
    }

    fn tally_name((): &()) -> Option<&str> {
        None
    }
}

/// A visit as it was read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Wire {
    /// The visitor.
    pub who: Option<String>,
    /// What was visited.
    pub page: Option<String>,
    /// When.
    pub at: Option<String>,
}

/// A valid visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The visitor.
    pub who: String,
    /// What was visited; the tables refuse an empty one.
    pub page: String,
    /// When.
    pub at: chrono::NaiveDateTime,
}

/// A row of a visit of `page`.
pub fn visit(position: i64, who: &str, page: &str) -> Row<Visits> {
    let at = chrono::NaiveDate::from_ymd_opt(2024, 1, 15).unwrap().and_hms_opt(8, 30, 0).unwrap();
    Row {
        position,
        record: Visit { who: who.to_owned(), page: page.to_owned(), at },
        answer: (),
        raw: Raw::default(),
    }
}
