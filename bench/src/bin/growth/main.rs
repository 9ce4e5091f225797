//! How the cost of a record grows with keys, partitions, operators, instances, and the work between
//! two commits. It is measured in CPU time, which depends less on other load on the machine than
//! wall time.
//!
//! `growth [keys] [partitions] [operators] [instances] [commits]`; without arguments, all of them.
//! `docs/benchmarks.md` has a run of it, and the shapes explained.

mod commits;
mod cpu;
mod instances;
mod keys;
mod operators;
mod partitions;
mod run;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let parts: [(&str, fn()); 5] = [
        ("keys", keys::print),
        ("partitions", partitions::print),
        ("operators", operators::print),
        ("instances", instances::print),
        ("commits", commits::print),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    let is_known = |name: &String| parts.iter().any(|(part, _)| part == name);
    if let Some(unknown) = wanted.iter().find(|name| !is_known(name)) {
        eprintln!("no part {unknown}: keys, partitions, operators, instances, commits");
        return ExitCode::FAILURE;
    }
    for (name, print) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            print();
        }
    }
    ExitCode::SUCCESS
}
