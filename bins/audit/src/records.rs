//! The records of a source, each against what it must have left behind.

use tally_app::Books;
use tally_audit::{Kind, Violations};
use tally_domain::Classified;
use tally_domain::amount::Notation;
use tally_ports::audit::{Expected, Pass};
use tally_ports::{Audit, Fault, Item};

/// Looks for the row or the dead letter of each of `items`, which `pass` has read, amounts in this notation; how many it
/// could not read, for want of their schema.
pub async fn look_for<F: Classified>(
    items: impl IntoIterator<Item = Item<F::Wire>>,
    notation: Notation,
    pass: &Pass,
    books: &Books,
    violations: &mut Violations,
) -> Result<i64, Fault> {
    let (mut expected, mut unknown) = (Vec::new(), 0);
    for Item { position, content, .. } in items {
        let record = match content {
            Err(reason) if reason.code == "schema_unknown" => {
                unknown += 1;
                continue;
            }
            content => content.and_then(|wire| F::validate(wire, notation)),
        };
        let row = record.ok().map(|record| F::id(&record));
        expected.push(Expected { position, row, letter: pass.name.letter(position) });
    }
    if expected.is_empty() {
        return Ok(unknown);
    }
    for position in books.missing(F::NAME, &expected).await? {
        violations.add(Kind::RecordMissing, || {
            format!(
                "{}: the record at {position} was read and has neither a row nor a dead letter",
                pass.name
            )
        });
    }
    Ok(unknown)
}
