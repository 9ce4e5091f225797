//! A piece of work that is repeated.

use crate::{agents, chain, codecs, end_to_end, joins, stores, tables, windows};

/// A piece of work, and how to set it up.
pub struct WorkloadKind {
    /// `group/name`.
    pub name: &'static str,
    /// How many records, values or entries one round goes over.
    pub elements: u64,
    /// Whether its instructions are the same wherever it runs. RocksDB's depend on the processor
    /// and on its own threads.
    pub is_counted: bool,
    /// Sets it up for its first round.
    pub set_up: fn() -> Box<dyn Workload>,
}

impl WorkloadKind {
    /// One whose instructions are counted.
    pub(crate) const fn counted(
        name: &'static str,
        elements: u64,
        set_up: fn() -> Box<dyn Workload>,
    ) -> Self {
        Self { name, elements, is_counted: true, set_up }
    }
}

/// Rounds of work. A round may build on earlier ones, but costs the same.
pub trait Workload {
    /// Prepares a round, without being measured.
    fn prepare(&mut self) {}

    /// A round.
    fn run(&mut self);
}

/// Work that needs no preparation.
impl<F: FnMut()> Workload for F {
    fn run(&mut self) {
        self();
    }
}

/// All workloads, in display order.
pub fn all() -> Vec<WorkloadKind> {
    let groups = [
        agents::kinds(),
        chain::kinds(),
        codecs::kinds(),
        tables::kinds(),
        stores::kinds(),
        windows::kinds(),
        joins::kinds(),
        end_to_end::kinds(),
    ];
    groups.into_iter().flatten().collect()
}
