//! Memory, files and threads of a process.

use std::fs;

#[derive(Debug)]
pub struct Usage {
    resident_mib: u64,
    files: usize,
    threads: usize,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.trim().strip_suffix(" kB"));
        let resident_kib: u64 = resident.expect("a size").trim().parse().expect("a number");
        let count =
            |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).expect("it runs").count();
        Self { resident_mib: resident_kib / 1024, files: count("fd"), threads: count("task") }
    }

    /// Caches fill and connections are opened; beyond that nothing may grow.
    pub fn has_not_outgrown(&self, first: &Self) {
        assert!(self.resident_mib < first.resident_mib + 150, "memory: {first:?}, then {self:?}");
        assert!(self.files < first.files + 60, "files: {first:?}, then {self:?}");
        assert!(self.threads < first.threads + 20, "threads: {first:?}, then {self:?}");
    }
}
