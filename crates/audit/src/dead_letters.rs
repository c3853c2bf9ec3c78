//! The dead letters, against each other and against the ledger.

use tally_ports::audit::{AuditedDeadLetter, NamedBatch, PassName};
use tally_ports::{DeadLetterIdentity, State};

use crate::{Kind, Violations};

/// The dead letters, against each other and against the ledger.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// The newest attempt so far of the record that was seen last.
    last: Option<AuditedDeadLetter>,
}

impl Letters {
    pub(crate) fn see(&mut self, letter: AuditedDeadLetter, violations: &mut Violations) {
        check_id(&letter, violations);
        check_batch(&letter, violations);
        let last = self.last.take();
        let before = last.as_ref().filter(|last| is_same_record(&last.identity, &letter.identity));
        check_attempt(before, &letter, violations);
        match (&last, before) {
            (Some(last), Some(_)) => check_older(last, violations),
            (Some(last), None) => check_newest(last, violations),
            (None, _) => {}
        }
        self.last = Some(letter);
    }

    /// There are no more.
    pub(crate) fn finish(&mut self, violations: &mut Violations) {
        if let Some(last) = self.last.take() {
            check_newest(&last, violations);
        }
    }
}

fn is_same_record(one: &DeadLetterIdentity, other: &DeadLetterIdentity) -> bool {
    let key = |place: &DeadLetterIdentity| (place.position, place.pass, place.partition);
    key(one) == key(other) && one.stream == other.stream && one.flow == other.flow
}

fn check_id(letter: &AuditedDeadLetter, violations: &mut Violations) {
    let expected = letter.identity.id().to_string();
    if letter.id != expected {
        add(Kind::DeadLetterId, letter, violations, || format!("its id should be {expected}"));
    }
}

fn check_batch(letter: &AuditedDeadLetter, violations: &mut Violations) {
    let id = &letter.batch_id;
    let Some(NamedBatch { is_of_pass, first, last }) = letter.batch else {
        add(Kind::DeadLetterBatch, letter, violations, || {
            format!("the ledger does not have its batch {id}")
        });
        return;
    };
    if !is_of_pass {
        add(Kind::DeadLetterPlace, letter, violations, || {
            format!("its batch {id} is of another stream, partition or pass")
        });
    } else if !(first..=last).contains(&letter.identity.position) {
        add(Kind::DeadLetterPlace, letter, violations, || {
            format!("its batch {id} is from {first} to {last}")
        });
    }
}

fn check_attempt(
    before: Option<&AuditedDeadLetter>,
    letter: &AuditedDeadLetter,
    violations: &mut Violations,
) {
    let expected = before.map_or(1, |before| before.identity.attempt.saturating_add(1));
    if letter.identity.attempt != expected {
        add(Kind::DeadLetterAttempts, letter, violations, || {
            format!("attempt {expected} is missing")
        });
    }
}

/// One that a later attempt follows.
fn check_older(letter: &AuditedDeadLetter, violations: &mut Violations) {
    let is_followed = [State::Retried, State::Purged].map(State::as_str);
    if !is_followed.contains(&letter.state.as_str()) {
        add(Kind::DeadLetterState, letter, violations, || {
            format!("it is {}, and a later attempt exists", letter.state)
        });
    }
}

fn check_newest(letter: &AuditedDeadLetter, violations: &mut Violations) {
    if letter.state == State::Retried.as_str() {
        add(Kind::DeadLetterState, letter, violations, || {
            "it is retried, and no later attempt exists".to_owned()
        });
    }
}

fn add(
    kind: Kind,
    letter: &AuditedDeadLetter,
    violations: &mut Violations,
    message: impl FnOnce() -> String,
) {
    let DeadLetterIdentity { flow, stream, partition, pass, position, attempt } =
        letter.identity.clone();
    let pass = PassName { flow, stream, partition, pass };
    violations.add_of(kind, &pass, || {
        format!("dead letter {} at {position}, attempt {attempt}: {}", letter.id, message())
    });
}
