//! What must hold of a ledger: pure checks of the facts that a store shows, see [`tally_ports::audit`].
//!
//! To add a check: a [`Kind`] for what it finds, and the check itself where the facts that it needs go by. A check sees
//! each fact once and in order, and remembers a bounded number of them.

mod entries;
mod inspection;
mod letters;
mod passes;
mod rows;
mod sources;
mod totals;
mod violation;

pub use inspection::{Findings, Inspection};
pub use sources::{Compared, check_file};
pub use totals::{FlowTotals, PartitionTotals, Totals};
pub use violation::{Kind, Violation, Violations};
