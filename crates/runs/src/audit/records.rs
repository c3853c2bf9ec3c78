//! The records of a source, each against what it must have left behind.

use tally_audit::{Kind, Violations};
use tally_domain::amount::Notation;
use tally_domain::{Flow, Incoming};
use tally_ports::audit::{Expected, Pass};
use tally_ports::{Audit, Fault, Item};

/// Looks for the row or the dead letter of each of `items`, which `pass` has read, amounts in this notation; how many it
/// could not read, for want of their schema.
pub(super) async fn look_for(
    flow: &dyn Flow,
    items: impl IntoIterator<Item = Item>,
    notation: Notation,
    pass: &Pass,
    store: &impl Audit,
    violations: &mut Violations,
) -> Result<i64, Fault> {
    let (mut expected, mut unknown) = (Vec::new(), 0);
    for Item { position, content, raw } in items {
        let record = match content {
            Err(reason) if reason.code == "schema_unknown" => {
                unknown += 1;
                continue;
            }
            content => {
                content.and_then(|fields| flow.read(Incoming { fields, notation, raw: &raw }))
            }
        };
        expected.push(Expected::of(flow, record.ok().as_ref(), &pass.name, position));
    }
    if expected.is_empty() {
        return Ok(unknown);
    }
    for position in store.missing(flow.name(), &expected).await? {
        violations.add(Kind::RecordMissing, || {
            format!(
                "{}: the record at {position} was read and has neither a row nor a dead letter",
                pass.name
            )
        });
    }
    Ok(unknown)
}
