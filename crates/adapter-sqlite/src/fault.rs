//! The meaning of `SQLite`'s errors. diesel hides the code, so only the kind and `SQLite`'s own fixed texts can tell.

use std::path::Path;

use diesel::result::{DatabaseErrorKind, Error};
use tally_ports::{Fault, Refusal, StopKind};

/// What a trigger's text begins with when the row that fired it is at fault.
pub(crate) const TRIGGER: &str = "constraint_trigger";

/// Why a constraint refused a row; `None` when the row is not at fault.
pub(crate) fn refusal(error: &Error) -> Option<Refusal> {
    let Error::DatabaseError(kind, information) = error else { return None };
    let code = match kind {
        DatabaseErrorKind::UniqueViolation => "constraint_unique",
        DatabaseErrorKind::NotNullViolation => "constraint_not_null",
        DatabaseErrorKind::CheckViolation => "constraint_check",
        DatabaseErrorKind::ForeignKeyViolation => "constraint_foreign_key",
        DatabaseErrorKind::Unknown if information.message().starts_with(TRIGGER) => {
            return Some(Refusal::new(TRIGGER)); // its text is the trigger's, which may quote the row
        }
        _ => return None,
    };
    // The name of a check, or its expression where it has none; of others the columns; of a foreign key nothing.
    let named = information.message().split_once(" constraint failed: ");
    Some(Refusal { constraint: named.map(|(_, name)| name.to_owned()), ..Refusal::new(code) })
}

/// The fault of an error of a database that could be opened.
pub(crate) fn at_work(path: &Path, error: &Error) -> Fault {
    let message = format!("database {}: {}", path.display(), text(error));
    match meaning(error) {
        Some(Meaning::Lasting) => Fault::stop(StopKind::Setting, message),
        Some(Meaning::LastingAtOpen | Meaning::Passing) | None => Fault::outage(message),
    }
}

/// The fault of an error while a database is opened or migrated. No rows are touched, so the text is shown in full.
pub(crate) fn at_open(path: &Path, error: &Error) -> Fault {
    match meaning(error) {
        Some(Meaning::Passing) => at_work(path, error),
        _ => Fault::stop(
            StopKind::Setting,
            format!("cannot open the database {}: {error}", path.display()),
        ),
    }
}

/// Whether another connection holds the lock.
pub(crate) fn is_locked(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, information) if information.message() == "database is locked")
}

enum Meaning {
    /// Waiting helps.
    Passing,
    /// Waiting does not help.
    Lasting,
    /// Waiting does not help while a database is opened, but may once it was open.
    LastingAtOpen,
}

/// The meaning of `SQLite`'s own texts; `None` for anything else, such as a trigger's text.
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
pub(crate) fn text(error: &Error) -> String {
    match error {
        Error::DatabaseError(DatabaseErrorKind::Unknown, _) if meaning(error).is_none() => {
            format!(
                "a statement failed, perhaps by a trigger; one that refuses rows must begin its text with {TRIGGER}"
            )
        }
        Error::DeserializationError(_) => "a stored value is not of its column's type".to_owned(),
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
    fn check(sql: &str, expected: Option<(&str, Option<&str>)>) {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        let tables = "pragma foreign_keys = on; create table p (id text primary key); insert into p values ('x'); \
            create table t (a text not null, b integer check (b > 0), c text unique, p text references p (id), \
                constraint short check (length(a) < 9)) strict; \
            create unique index lower on t (lower(a)); \
            create trigger told before insert on t when new.b = 7 \
                begin select raise(abort, 'constraint_trigger constraint failed: 4711'); end; \
            insert into t values ('a', 1, 'taken', 'x');";
        connection.batch_execute(tables).unwrap();
        let error = connection.batch_execute(sql).unwrap_err();
        let found = refusal(&error);
        let found = found.as_ref().map(|refusal| (&*refusal.code, refusal.constraint.as_deref()));
        assert_eq!(found, expected, "{error}");
        let text = text(&error);
        assert!(!text.contains("'4711'") && !text.contains("taken"), "{text}");
    }

    #[test]
    fn constraints_are_the_rows_fault_and_nothing_else_is() {
        let named = |code, name| Some((code, Some(name)));
        let not_null = named("constraint_not_null", "t.a");
        check("insert into t values (null, 1, null, null)", not_null);
        check("insert into t values ('b', 0, null, null)", named("constraint_check", "b > 0"));
        let short = named("constraint_check", "short");
        check("insert into t values ('bbbbbbbbb', 1, null, null)", short);
        check("insert into t values ('b', 1, 'taken', null)", named("constraint_unique", "t.c"));
        let lower = named("constraint_unique", "index 'lower'");
        check("insert into t values ('A', 1, null, null)", lower);
        check("insert into p values ('x')", named("constraint_unique", "p.id"));
        let foreign_key = Some(("constraint_foreign_key", None));
        check("insert into t values ('b', 1, null, 'y')", foreign_key);
        check("insert into t values ('b', 7, null, null)", Some(("constraint_trigger", None)));
        check("insert into nowhere values (1)", None);
        check("insert into t values ('b', '4711 taken', null, null)", None);
        check("insert into", None);
    }
}
