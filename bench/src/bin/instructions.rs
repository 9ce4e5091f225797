//! Runs one workload, or lists those that are counted. `scripts/bench.sh` runs it under Valgrind,
//! which counts only the instructions inside [`measured_part`].

use std::process::ExitCode;

use bench::{Workload, WorkloadKind, all};

/// Uncounted rounds at the start, after which buffers have their final size.
const WARM_UP: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let kinds: Vec<_> = all().into_iter().filter(|kind| kind.is_counted).collect();
    match &*arguments {
        [] => kinds.iter().for_each(|kind| println!("{}", kind.name)),
        [name, rounds] => {
            let (Some(kind), Ok(rounds)) = (find(&kinds, name), rounds.parse::<u64>()) else {
                eprintln!("no workload {name}, or no number: {rounds}");
                return ExitCode::FAILURE;
            };
            count(kind, rounds);
            println!("{}", kind.elements * rounds);
        }
        _ => {
            eprintln!("usage: instructions [NAME ROUNDS]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn find<'a>(kinds: &'a [WorkloadKind], name: &str) -> Option<&'a WorkloadKind> {
    kinds.iter().find(|kind| kind.name == name)
}

fn count(kind: &WorkloadKind, rounds: u64) {
    let mut workload = (kind.set_up)();
    for _ in 0..WARM_UP {
        workload.prepare();
        workload.run();
    }
    for _ in 0..rounds {
        workload.prepare();
        measured_part(&mut *workload);
    }
}

/// Valgrind counts from its first instruction to its last; it knows the function by its name.
#[inline(never)]
fn measured_part(workload: &mut dyn Workload) {
    workload.run();
    // Keep something after the call, or it becomes a jump and the function never returns.
    std::hint::black_box(());
}
