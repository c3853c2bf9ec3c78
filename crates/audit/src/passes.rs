//! Positions, against each other and against the ledger.

use tally_ports::audit::{Pass, PassName};

use crate::{Kind, Violations};

/// Positions, against each other and against the ledger.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    last: Option<PassName>,
}

impl Passes {
    pub(crate) fn see(&mut self, pass: &Pass, violations: &mut Violations) {
        self.check_number(&pass.name, violations);
        check_position(pass, violations);
        check_end(pass, violations);
        self.last = Some(pass.name.clone());
    }

    fn check_number(&self, name: &PassName, violations: &mut Violations) {
        let before = self.last.as_ref().filter(|last| is_same_partition(last, name));
        let expected = before.map_or(1, |last| last.pass.saturating_add(1));
        if name.pass != expected {
            violations.add_of(Kind::MissingPass, name, || match before {
                Some(last) => format!("it follows pass {}: pass {expected} is missing", last.pass),
                None => "it is the first one: pass 1 is missing".to_owned(),
            });
        }
    }
}

pub(crate) fn is_same_partition(one: &PassName, other: &PassName) -> bool {
    (&one.flow, &one.stream, one.partition) == (&other.flow, &other.stream, other.partition)
}

fn check_position(pass: &Pass, violations: &mut Violations) {
    let Pass { name, next, .. } = pass;
    match pass.last {
        Some(last) if last.checked_add(1) != Some(*next) => {
            violations.add_of(Kind::WrongPosition, name, || {
                format!("its position stands at {next}, and its last batch ends at {last}")
            });
        }
        Some(_) => {}
        // A group may begin anywhere, once.
        None if *next == 0 || *next > 0 && !name.is_of_file() && name.pass == 1 => {}
        None => violations.add_of(Kind::WrongPosition, name, || {
            format!("its position stands at {next}, and the ledger has no batch of it")
        }),
    }
}

fn check_end(pass: &Pass, violations: &mut Violations) {
    let Pass { name, next, sums, .. } = pass;
    if !pass.has_ended {
        return;
    }
    if !name.is_of_file() {
        violations.add_of(Kind::EndedTopic, name, || {
            "it is marked as finished, and a topic has no end".to_owned()
        });
    } else if sums.read != *next {
        violations.add_of(Kind::WrongSum, name, || {
            format!("the file was finished at row {next}, and its batches read {}", sums.read)
        });
    }
}
