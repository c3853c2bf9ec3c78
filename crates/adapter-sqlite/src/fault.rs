//! What an error of `SQLite` means. diesel hides the code, so the kind and `SQLite`'s own fixed texts have to tell.

use std::path::Path;

use diesel::result::{DatabaseErrorKind, Error};
use tally_ports::{Fault, StopKind};

/// What a trigger's text begins with when the row that fired it is at fault.
const TRIGGER: &str = "constraint_trigger";

/// Texts of faults that time does not heal.
const LASTING: [&str; 5] =
    ["file is not a database", "database disk image is malformed", "no such table", "no such column", "near \""];

/// Texts of faults that are a wrong setting when they meet the opening of a database, and may pass later on.
const LASTING_AT_OPEN: [&str; 5] = [
    "unable to open database file",
    "attempt to write a readonly database",
    "access permission denied",
    "authorization denied",
    "already exists",
];

/// Texts of faults that may pass. `SQLite` puts no values into its texts; triggers may.
const PASSING: [&str; 11] = [
    "database is locked",
    "database table is locked",
    "database schema is locked",
    "database or disk is full",
    "disk I/O error",
    "out of memory",
    "interrupted",
    "locking protocol",
    "cannot start a transaction",
    "cannot commit",
    "SQL logic error",
];

/// The code of a row that a constraint refused; `None` when the row is not at fault.
pub(crate) fn refusal(error: &Error) -> Option<&'static str> {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Some("constraint_unique"),
        Error::DatabaseError(DatabaseErrorKind::NotNullViolation, _) => Some("constraint_not_null"),
        Error::DatabaseError(DatabaseErrorKind::CheckViolation, _) => Some("constraint_check"),
        Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => Some("constraint_foreign_key"),
        Error::DatabaseError(DatabaseErrorKind::Unknown, information)
            if information.message().starts_with(TRIGGER) =>
        {
            Some(TRIGGER)
        }
        _ => None,
    }
}

/// The fault of an error of a database that could be opened.
pub(crate) fn at_work(path: &Path, error: &Error) -> Fault {
    let text = text(error);
    let message = format!("database {}: {text}", path.display());
    if contains_any(&text, &LASTING) { Fault::stop(StopKind::Setting, message) } else { Fault::outage(message) }
}

/// The fault of an error while a database is opened or migrated.
pub(crate) fn at_open(path: &Path, error: &Error) -> Fault {
    let text = text(error);
    if contains_any(&text, &LASTING_AT_OPEN) {
        let message = format!("cannot open the database {}: {text}", path.display());
        return Fault::stop(StopKind::Setting, message);
    }
    at_work(path, error)
}

fn contains_any(text: &str, known: &[&str]) -> bool {
    known.iter().any(|known| text.contains(known))
}

/// The text of an error without values: a trigger's own text, which may quote a row, is withheld.
fn text(error: &Error) -> String {
    match error {
        Error::DatabaseError(DatabaseErrorKind::Unknown, information) => {
            let text = information.message();
            let is_own = [&LASTING[..], &LASTING_AT_OPEN, &PASSING].iter().any(|known| contains_any(text, known));
            if is_own {
                return text.to_owned();
            }
            format!("a statement failed, perhaps by a trigger; one that refuses rows must begin its text with {TRIGGER}")
        }
        Error::DeserializationError(_) => "a stored value is not of the kind that its column should hold".to_owned(),
        Error::SerializationError(_) => "a value cannot be stored".to_owned(),
        Error::RollbackErrorOnCommit { commit_error, .. } => text(commit_error),
        other => other.to_string(),
    }
}
