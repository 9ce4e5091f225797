//! A piece of work that is done again and again.

use crate::{agents, chain, codecs, end_to_end, joins, stores, tables, windows};

/// A piece of work, and how to set it up.
pub struct WorkloadKind {
    /// `group/name`.
    pub name: &'static str,
    /// How many records, values or entries one round goes over.
    pub elements: u64,
    /// Whether its instructions are the same wherever it runs. What RocksDB does depends on the
    /// processor it finds and on threads of its own.
    pub is_counted: bool,
    /// Makes it ready for its first round.
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

/// Rounds of work. A round may find what earlier rounds left, but costs what they cost.
pub trait Workload {
    /// What a round needs and is not measured.
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

/// All of them, in the order in which they are shown.
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
