//! Events of companies, as a backend sends them, and files of insolvent organisations.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use serde_json::{Value, json};
use tally_domain::Raw;

use crate::random::Random;
use crate::spoiled;

/// 2026-01-01T00:00:00Z; a second passes from event to event.
const FIRST: u64 = 1_767_225_600;
const COMPANIES: usize = 1_000;
const ORGANIZATIONS: usize = 400;
const NAMES: [&str; 6] = ["Acme", "Borea", "Cobalt", "Delta", "Ébène", "Fjord"];

/// What can be wrong with an event that is refused. A spoiled one has exactly one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompanyFault {
    /// No name.
    NameMissing,
    /// An event of another name.
    UnknownEvent,
    /// Only the first half of the JSON.
    NotJson,
    /// Times in milliseconds.
    Milliseconds,
}

/// Every fault, in the order in which spoiled events take them.
pub const COMPANY_FAULTS: [CompanyFault; 4] = [
    CompanyFault::NameMissing,
    CompanyFault::UnknownEvent,
    CompanyFault::NotJson,
    CompanyFault::Milliseconds,
];

impl CompanyFault {
    /// The code of the dead letter that such an event becomes.
    pub fn code(self) -> &'static str {
        match self {
            Self::NameMissing => "schema_required",
            Self::UnknownEvent => "schema_enum",
            Self::NotJson => "json",
            Self::Milliseconds => "schema_exclusiveMaximum",
        }
    }
}

/// Events without an end, the same for a seed. Companies are created, and changed, and move to other organisations; of a
/// hundred events about three are there again, two come late, and each quality rule is broken by one or two.
#[derive(Clone, Debug)]
pub struct Companies {
    seed: u64,
    spoil_share: f64,
    number: u64,
    /// As they are now, each with the event before.
    known: Vec<(Value, Value)>,
}

impl Companies {
    /// From the first one on; the share from 0 to 1 of `spoil_share` has a fault, see [`Companies::fault_of`].
    pub fn new(seed: u64, spoil_share: f64) -> Self {
        Self { seed, spoil_share, number: 0, known: Vec::new() }
    }

    /// The fault of an event, counted from 0. They are spread evenly, and take the [`COMPANY_FAULTS`] in turn.
    pub fn fault_of(&self, number: u64) -> Option<CompanyFault> {
        let before = spoiled(number, self.spoil_share);
        let spoiled_here = spoiled(number + 1, self.spoil_share) > before;
        spoiled_here.then(|| COMPANY_FAULTS[before % COMPANY_FAULTS.len()])
    }

    fn event(&mut self, random: &mut Random) -> Value {
        let (now, count) = (FIRST + self.number, self.known.len());
        let name = |random: &mut Random| format!("{} {}", random.any(&NAMES), random.below(100));
        if count == 0 || count < COMPANIES && random.below(4) == 0 {
            let company = json!({"id": format!("c-{count:04}"), "name": name(random),
                "organization_id": organization(random.below(ORGANIZATIONS)), "created_at": now, "updated_at": now});
            let event = json!({"event": "company.created", "company": company, "changes": null});
            self.known.push((company, event.clone()));
            return event;
        }
        let (company, last) = &mut self.known[random.below(count)];
        match random.below(100) {
            0..3 => return last.clone(),
            3..5 => {
                // Sent before the last one, and there only now.
                let mut late = last.clone();
                late["company"]["updated_at"] = company["created_at"].clone();
                late["changes"] = Value::Null;
                return late;
            }
            _ => {}
        }
        let (field, to) = match random.below(10) {
            0 => ("organization_id", Value::from(organization(random.below(ORGANIZATIONS)))),
            1 => ("employees", random.below(500).into()),
            _ => ("name", name(random).into()),
        };
        let from = company.get(field).cloned().unwrap_or_default();
        company[field] = to.clone();
        company["updated_at"] =
            if random.below(50) == 0 { company["created_at"].clone() } else { now.into() };
        let to = if random.below(100) == 0 { Value::from("something else") } else { to };
        let event = json!({"event": "company.updated", "company": company, "changes": [{"field": field, "from": from, "to": to}]});
        last.clone_from(&event);
        event
    }
}

impl Iterator for Companies {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        let fault = self.fault_of(self.number);
        let mut random = Random::of_row(self.seed, self.number);
        let mut event = self.event(&mut random);
        self.number += 1;
        let by = if random.below(100) == 0 { "organization_id" } else { "id" };
        let key = event["company"][by].as_str().unwrap_or_default().to_owned();
        match fault {
            Some(CompanyFault::NameMissing) => {
                event["company"].as_object_mut().map(|company| company.remove("name"));
            }
            Some(CompanyFault::UnknownEvent) => event["event"] = "company.deleted".into(),
            Some(CompanyFault::Milliseconds) => {
                event["company"]["updated_at"] = (FIRST * 1_000).into();
            }
            Some(CompanyFault::NotJson) | None => {}
        }
        let mut value = event.to_string().into_bytes();
        if fault == Some(CompanyFault::NotJson) {
            value.truncate(value.len() / 2);
        }
        Some(Raw { key: Some(key.into()), payload: Some(Bytes::from(value)), ..Raw::default() })
    }
}

fn organization(number: usize) -> String {
    format!("o-{number:03}")
}

/// Writes a file of so many insolvent organisations of those that companies belong to, each once.
///
/// # Errors
/// When `out` does.
pub fn insolvencies(rows: u64, seed: u64, mut out: impl io::Write) -> io::Result<()> {
    out.write_all(b"organization_id,insolvency_ts,court\n")?;
    let mut line = String::new();
    for row in 0..rows {
        let mut random = Random::of_row(seed, row);
        let id = organization(usize::try_from(row).unwrap_or(usize::MAX));
        let (month, day) = (random.below(12) + 1, random.below(28) + 1);
        line.clear();
        let time = if random.below(2) == 0 { "" } else { " 08:30:00" };
        let _never_fails = writeln!(line, "{id},2025-{month:02}-{day:02}{time},Paris");
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_events() {
        let events = |seed| Companies::new(seed, 0.1).take(500).collect::<Vec<_>>();
        assert_eq!(events(1), events(1));
        assert_ne!(events(1), events(2));
        let first = Companies::new(42, 0.0).next().unwrap();
        let value = r#"{"changes":null,"company":{"created_at":1767225600,"id":"c-0000","name":"Fjord 91","organization_id":"o-341","updated_at":1767225600},"event":"company.created"}"#;
        assert_eq!(first.payload.as_deref(), Some(value.as_bytes()));
    }

    #[test]
    fn a_file_has_its_rows() {
        let mut out = Vec::new();
        insolvencies(3, 1, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows =
            "o-000,2025-07-24 08:30:00,Paris\no-001,2025-02-26,Paris\no-002,2025-11-12,Paris\n";
        assert_eq!(text, format!("organization_id,insolvency_ts,court\n{rows}"));
    }
}
