//! How much there is.

use std::collections::BTreeMap;

use serde::Serialize;
use tally_ports::audit::{AuditedDeadLetter, Counts, Pass};

use crate::passes::is_same_partition;
use crate::{Kind, Violations};

/// So many partitions are listed, files among them; what the others hold is in the sums.
const LISTED: usize = 10_000;

/// How much there is.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By partition, in order.
    pub partitions: Vec<PartitionTotals>,
    /// How many partitions are not among them.
    pub left_out: u64,
    /// By flow, in order.
    pub flows: Vec<FlowTotals>,
    /// Dead letters by state, all attempts.
    pub letters: BTreeMap<String, u64>,
    /// The partition that passes are still added to.
    open: Option<PartitionTotals>,
}

/// All passes over a partition.
#[derive(Clone, Debug)]
pub struct PartitionTotals {
    /// The last pass over it.
    pub last: Pass,
    /// How many entries the ledger has.
    pub batches: i64,
    /// Their sums.
    pub sums: Counts,
}

/// All partitions of a flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowTotals {
    pub flow: String,
    /// How many entries the ledger has.
    pub batches: i64,
    /// Their sums.
    #[serde(skip)]
    pub sums: Counts,
    /// How many rows its tables hold.
    pub rows: i64,
}

impl Totals {
    pub(crate) fn see_pass(&mut self, pass: Pass, violations: &mut Violations) {
        match &mut self.open {
            Some(open) if is_same_partition(&open.last.name, &pass.name) => open.add(pass),
            _ => {
                self.close(violations);
                let (batches, sums) = (pass.batches, pass.sums);
                self.open = Some(PartitionTotals { last: pass, batches, sums });
            }
        }
    }

    pub(crate) fn see_letter(&mut self, letter: &AuditedDeadLetter) {
        match self.letters.get_mut(&letter.state) {
            Some(count) => *count += 1,
            None => drop(self.letters.insert(letter.state.clone(), 1)),
        }
    }

    pub(crate) fn see_rows(&mut self, flow: &str, count: i64) {
        let flow = self.flow(flow);
        flow.rows = flow.rows.saturating_add(count);
    }

    /// All flows together.
    pub fn all(&self) -> (i64, Counts) {
        let (mut batches, mut sums) = (0_i64, Counts::default());
        for flow in &self.flows {
            batches = batches.saturating_add(flow.batches);
            sums.add(&flow.sums);
        }
        (batches, sums)
    }

    /// There are no more passes.
    pub(crate) fn finish(&mut self, violations: &mut Violations) {
        self.close(violations);
        for FlowTotals { flow, sums, .. } in &self.flows {
            check(&format!("the flow {flow}"), sums, violations);
        }
        check("everything", &self.all().1, violations);
    }

    /// The partition's passes are all known.
    fn close(&mut self, violations: &mut Violations) {
        let Some(partition) = self.open.take() else { return };
        let name = &partition.last.name;
        let place = format!("{} {} partition {}", name.flow, name.stream, name.partition);
        check(&place, &partition.sums, violations);
        let flow = self.flow(&name.flow);
        flow.batches = flow.batches.saturating_add(partition.batches);
        flow.sums.add(&partition.sums);
        if self.partitions.len() < LISTED {
            self.partitions.push(partition);
        } else {
            self.left_out += 1;
        }
    }

    fn flow(&mut self, name: &str) -> &mut FlowTotals {
        let index = self.flows.iter().position(|flow| flow.flow == name).unwrap_or_else(|| {
            let (flow, sums) = (name.to_owned(), Counts::default());
            self.flows.push(FlowTotals { flow, batches: 0, sums, rows: 0 });
            self.flows.len() - 1
        });
        &mut self.flows[index]
    }
}

impl PartitionTotals {
    fn add(&mut self, pass: Pass) {
        self.batches = self.batches.saturating_add(pass.batches);
        self.sums.add(&pass.sums);
        self.last = pass;
    }
}

fn check(place: &str, sums: &Counts, violations: &mut Violations) {
    let (read, accounted) = (sums.read, sums.accounted());
    if read != accounted {
        violations.add(Kind::Unbalanced, || {
            format!("{place}: {read} records were read in all and {accounted} are accounted for")
        });
    }
}
