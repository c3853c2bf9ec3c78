//! The rows of flows' tables, against positions and ledger.

use tally_ports::audit::{
    Appended, AppendedRows, HistoryDiffers, PassOfRows, Rows, RowsFromNothing, WrongNumbers,
};

use crate::{Kind, Violations};

pub(crate) fn check(rows: &Rows, violations: &mut Violations) {
    let Rows { table, flow, origin, count, records, least, greatest, .. } = rows;
    let Some(PassOfRows { name, begins, next, written, replayed }) = &rows.pass else {
        violations.add(Kind::UnknownOrigin, || {
            format!("{flow}: {count} rows in {table} name the origin {origin}, of which no position is kept")
        });
        return;
    };
    if greatest >= next {
        violations.add_of(Kind::RowsBeyondPosition, name, || {
            format!("rows in {table} come from position {greatest}, and it stands at {next} (origin {origin})")
        });
    }
    if least < begins {
        violations.add_of(Kind::RowsFromNothing, name, || {
            format!("rows in {table} come from position {least}, and its first batch begins at {begins} (origin {origin})")
        });
    }
    if *records > written.saturating_add(*replayed) {
        violations.add_of(Kind::TooManyRows, name, || {
            format!(
                "{table} has {count} rows of it, and its batches wrote {written} and replays at most {replayed} (origin {origin})"
            )
        });
    }
}

pub(crate) fn check_from_nothing(rows: &RowsFromNothing, violations: &mut Violations) {
    let RowsFromNothing { table, pass, count, least, greatest } = rows;
    violations.add_of(Kind::RowsFromNothing, pass, || {
        format!(
            "{count} rows in {table} come from between {least} and {greatest}, and the ledger says that there were no records"
        )
    });
}

pub(crate) fn check_appended(appended: &Appended, violations: &mut Violations) {
    let Appended { id, pass, first, last, written, replayed, records, is_all } = appended;
    let most = written.saturating_add(*replayed);
    if *records > most || *is_all && records < written {
        violations.add_of(Kind::AppendedRows, pass, || {
            format!(
                "{records} records have appended rows from {first} to {last}, and batch {id} wrote {written} and replays at \
                 most {replayed}"
            )
        });
    }
}

pub(crate) fn check_history(differs: &HistoryDiffers, violations: &mut Violations) {
    let HistoryDiffers { table, view, log, position } = differs;
    violations.add(Kind::HistoryDiffers, || {
        format!("{log}: {table} does not have the row of the record at {position}, the newest of its key by {view}")
    });
}

pub(crate) fn check_appended_rows(rows: &AppendedRows, violations: &mut Violations) {
    let AppendedRows { table, log, from_nothing, .. } = rows;
    if let Some((count, least, greatest)) = from_nothing {
        violations.add(Kind::RowsFromNothing, || {
            format!(
                "{log}: {count} rows in {table} come from between {least} and {greatest}, and the ledger says that there \
                 were no records"
            )
        });
    }
}

pub(crate) fn check_numbers(numbers: &WrongNumbers, violations: &mut Violations) {
    let WrongNumbers { table, log, position, count, greatest } = numbers;
    violations.add(Kind::AppendedRows, || {
        format!("{log}: the record at {position} has {count} rows in {table}, and the last one has the number {greatest}")
    });
}
