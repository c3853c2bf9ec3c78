//! What must hold of a ledger: pure checks of the facts that a store shows, see [`tally_ports::audit`].
//!
//! To add a check: a [`Kind`] for what it finds, and the check itself where the facts that it needs go by. A check sees
//! each fact once and in order, and remembers a bounded number of them.
//!
//! What a record must have left follows from its flow's description. By the ledger alone, and so by counts:
//!
//! - rows with a key: as many records wrote those of a pass as were written, at most; newer ones replace them;
//! - appended rows: of each batch that no later pass over the same log has read again, as many records have rows as were
//!   written, at most, and exactly where the flow writes nothing else; a record's rows are numbered 0, 1, 2; none comes from a
//!   position that was not read.
//!
//! Given the source, record by record ([`check_records`]): an invalid record has a dead letter; one that was written has exactly
//! the rows that it appends, a row under each key that it upserts or deletes, and where that row is its own, the mark if it was a
//! delete; one whose dead letter is not replayed has appended nothing; one that writes nothing may leave nothing. A dead letter
//! that was purged may have been replayed before.

mod dead_letters;
mod entries;
mod inspection;
mod passes;
mod publications;
mod records;
mod rows;
mod sources;
mod totals;
mod violation;

pub use inspection::{Findings, Inspection};
pub use publications::{
    ExpectedPublication, FoundRecord, Publications, Published, PublishedTo, ReadFrom, digest,
};
pub use records::{Expected, ExpectedRow, Read, check_records};
pub use sources::{Compared, check_file};
pub use totals::{FlowTotals, PartitionTotals, Totals};
pub use violation::{Kind, Violation, Violations};
