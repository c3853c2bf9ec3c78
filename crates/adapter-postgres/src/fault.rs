//! Errors as faults: worth a retry or not.

use std::error::Error as _;
use std::io;

use diesel::result::{DatabaseErrorKind as Kind, Error};
use tally_ports::{Fault, StopKind};

/// A connection that could not be opened.
pub(crate) fn of_connecting(name: &str, error: &tokio_postgres::Error) -> Fault {
    let message = format!("postgres at {name}: {}", text(error));
    if is_setting(error) { Fault::stop(StopKind::Setting, message) } else { Fault::outage(message) }
}

/// Connections that have no sessions of their own.
pub(crate) fn of_pooler(name: &str) -> Fault {
    let message = format!(
        "postgres at {name}: the connections go through a pooler in transaction mode, which gives each transaction another \
         session: connect to the server itself, or set the pooler to session mode (pool_mode = session in PgBouncer)"
    );
    Fault::stop(StopKind::Setting, message)
}

/// Whether a statement that was prepared in this session is not there, or was prepared in another one: SQLSTATE 26000 and
/// 42P05, which diesel does not keep.
fn is_of_pooler(message: &str) -> bool {
    message.starts_with("prepared statement \"")
        && (message.ends_with("already exists") || message.ends_with("does not exist"))
}

/// A statement that failed whose text and values may be shown: not one that binds values of records.
pub(crate) fn of_statement(error: &Error) -> Fault {
    match error {
        Error::DatabaseError(Kind::UnableToSendCommand | Kind::ClosedConnection, info) => {
            Fault::outage(format!("postgres: the connection is lost: {}", info.message()))
        }
        Error::DatabaseError(_, info) if is_of_pooler(info.message()) => of_pooler("its address"),
        Error::DatabaseError(kind, info) if is_constraint(*kind) => Fault::stop(
            StopKind::Data,
            format!("postgres: the ledger's tables contradict the batch: {}", info.message()),
        ),
        Error::DatabaseError(_, info) => Fault::outage(format!("postgres: {}", info.message())),
        other => Fault::outage(format!("postgres: {other}")),
    }
}

/// A batch whose rows could be written neither together nor row by row.
pub(crate) fn of_rows(error: &Error) -> Fault {
    of_records("postgres: the rows of a batch cannot be written", error)
}

/// Dead letters that cannot be written. Only constraints that Tally did not create can refuse them.
pub(crate) fn of_dead_letters(error: &Error) -> Fault {
    let refused = "postgres: the dead letters of a batch cannot be written";
    match error {
        Error::DatabaseError(kind, _) if is_constraint(*kind) => {
            Fault::stop(StopKind::Data, format!("{refused}: their table contradicts them"))
        }
        other => of_records(refused, other),
    }
}

fn is_constraint(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UniqueViolation
            | Kind::ForeignKeyViolation
            | Kind::RestrictViolation
            | Kind::ExclusionViolation
            | Kind::NotNullViolation
            | Kind::CheckViolation
    )
}

/// Shows only the SQLSTATE of the server's message, which may quote values.
fn of_records(refused: &str, error: &Error) -> Fault {
    match error {
        Error::DatabaseError(Kind::UnableToSendCommand | Kind::ClosedConnection, info) => {
            Fault::outage(format!("postgres: the connection is lost: {}", info.message()))
        }
        Error::DatabaseError(_, info) if is_of_pooler(info.message()) => of_pooler("its address"),
        Error::DatabaseError(_, info) if is_sqlstate(info.message()) => {
            let message = format!("{refused}: SQLSTATE {}", info.message());
            if is_setting_state(info.message()) {
                Fault::stop(StopKind::Setting, message)
            } else {
                Fault::outage(message)
            }
        }
        Error::DatabaseError(..) => {
            Fault::outage(format!("{refused}: a timeout, or an error without a known SQLSTATE"))
        }
        _ => Fault::outage(refused),
    }
}

/// A failed migration, or a failed check of what is migrated.
pub(crate) fn of_migration(what: &str, error: &tokio_postgres::Error) -> Fault {
    let message = format!("postgres: {what}: {}", text(error));
    if is_setting(error) { Fault::stop(StopKind::Setting, message) } else { Fault::outage(message) }
}

fn is_setting(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        return is_setting_state(code.code());
    }
    // Its kinds are private. The first is a password that is required and not set, the second a method of
    // authentication that this client does not know.
    match error.to_string().as_str() {
        "invalid configuration" | "authentication error" => true,
        "error performing TLS handshake" => is_setting_of_tls(error),
        _ => false,
    }
}

/// A server without TLS, or one whose certificate is not trusted; not a connection that broke in between.
fn is_setting_of_tls(error: &tokio_postgres::Error) -> bool {
    let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) else {
        return true;
    };
    let tls = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        tls,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}

/// Classes of SQLSTATEs that waiting does not change: feature not supported, data exception (a setting's value), invalid
/// authorization, invalid catalog or schema name, access rule violation or an object that is not what it should be.
fn is_setting_state(code: &str) -> bool {
    ["0A", "22", "28", "3D", "3F", "42"].iter().any(|class| code.starts_with(class))
}

fn is_sqlstate(text: &str) -> bool {
    text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

fn text(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", error.message(), error.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(message: &str) -> Error {
        Error::DatabaseError(Kind::Unknown, Box::new(message.to_owned()))
    }

    /// A flow's function may have let a message through.
    #[test]
    fn of_rows_only_a_state_is_shown() {
        for message in ["no space for Jane", "Jane5", "12 34", "jane1"] {
            let Fault::Outage { message, .. } = of_rows(&raised(message)) else {
                panic!("{message}")
            };
            assert!(message.ends_with("without a known SQLSTATE"), "{message}");
        }
        let Fault::Outage { message, .. } = of_rows(&raised("53100")) else {
            panic!("a full disk is an outage")
        };
        assert!(message.ends_with("SQLSTATE 53100"), "{message}");
        assert!(
            matches!(of_rows(&raised("42501")), Fault::Stop(stop) if stop.kind == StopKind::Setting)
        );
    }
}
