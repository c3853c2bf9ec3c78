//! What an error of `SQLite` means. diesel hides the code, so the kind and `SQLite`'s own fixed texts have to tell.

use std::path::Path;

use diesel::result::{DatabaseErrorKind, Error};
use tally_ports::{Fault, StopKind};

/// What a trigger's text begins with when the row that fired it is at fault.
pub(crate) const TRIGGER: &str = "constraint_trigger";

/// The code of a row that a constraint refused; `None` when the row is not at fault.
pub(crate) fn refusal(error: &Error) -> Option<&'static str> {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Some("constraint_unique"),
        Error::DatabaseError(DatabaseErrorKind::NotNullViolation, _) => Some("constraint_not_null"),
        Error::DatabaseError(DatabaseErrorKind::CheckViolation, _) => Some("constraint_check"),
        Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => {
            Some("constraint_foreign_key")
        }
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
    let message = format!("database {}: {}", path.display(), text(error));
    match meaning(error) {
        Some(Meaning::Lasting) => Fault::stop(StopKind::Setting, message),
        Some(Meaning::LastingAtOpen | Meaning::Passing) | None => Fault::outage(message),
    }
}

/// The fault of an error while a database is opened or migrated. No rows are touched, so the text is told in full.
pub(crate) fn at_open(path: &Path, error: &Error) -> Fault {
    match meaning(error) {
        Some(Meaning::Passing) => at_work(path, error),
        _ => Fault::stop(
            StopKind::Setting,
            format!("cannot open the database {}: {error}", path.display()),
        ),
    }
}

/// Whether another connection has what is needed.
pub(crate) fn is_locked(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, information) if information.message() == "database is locked")
}

enum Meaning {
    /// Waiting helps.
    Passing,
    /// It does not.
    Lasting,
    /// It does not when a database is opened, but once one was open it may.
    LastingAtOpen,
}

/// What a text of `SQLite`'s own means; `None` for anything else, a trigger's text among it.
fn meaning(error: &Error) -> Option<Meaning> {
    let text = match error {
        Error::DatabaseError(_, information) => information.message(),
        Error::RollbackErrorOnCommit { commit_error, .. } => return meaning(commit_error),
        _ => return None,
    };
    Some(match text {
        "database is locked"
        | "database table is locked"
        | "database or disk is full"
        | "disk I/O error"
        | "out of memory"
        | "interrupted"
        | "locking protocol"
        | "cannot commit - no transaction is active" => Meaning::Passing,
        "file is not a database" | "database disk image is malformed" => Meaning::Lasting,
        "unable to open database file" | "attempt to write a readonly database" => {
            Meaning::LastingAtOpen
        }
        _ if text.starts_with("no such table: ") || text.starts_with("no such column: ") => {
            Meaning::Lasting
        }
        _ => return None,
    })
}

/// The text of an error without values. `SQLite` puts none into its texts; a trigger may, so its text is withheld.
fn text(error: &Error) -> String {
    match error {
        Error::DatabaseError(DatabaseErrorKind::Unknown, _) if meaning(error).is_none() => {
            format!(
                "a statement failed, perhaps by a trigger; one that refuses rows must begin its text with {TRIGGER}"
            )
        }
        Error::DeserializationError(_) => {
            "a stored value is not of the kind that its column should hold".to_owned()
        }
        Error::SerializationError(_) => "a value cannot be stored".to_owned(),
        Error::RollbackErrorOnCommit { commit_error, .. } => text(commit_error),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};

    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: Option<&str>) {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        let tables = "pragma foreign_keys = on; create table p (id text primary key); insert into p values ('x'); \
            create table t (a text not null, b integer check (b > 0), c text unique, p text references p (id)) strict; \
            insert into t values ('a', 1, 'taken', 'x');";
        connection.batch_execute(tables).unwrap();
        let error = connection.batch_execute(sql).unwrap_err();
        assert_eq!(refusal(&error), expected, "{error}");
        let text = text(&error);
        assert!(!text.contains("'4711'") && !text.contains("taken"), "{text}");
    }

    #[test]
    fn constraints_are_the_rows_fault_and_nothing_else_is() {
        check("insert into t values (null, 1, null, null)", Some("constraint_not_null"));
        check("insert into t values ('a', 0, null, null)", Some("constraint_check"));
        check("insert into t values ('a', 1, 'taken', null)", Some("constraint_unique"));
        check("insert into p values ('x')", Some("constraint_unique"));
        check("insert into t values ('a', 1, null, 'y')", Some("constraint_foreign_key"));
        check("insert into nowhere values (1)", None);
        check("insert into t values ('a', '4711 taken', null, null)", None);
        check("insert into", None);
    }
}
