//! All workloads in time: `./dev bench [PATTERN]`.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use bench::{Workload, WorkloadKind, all};
use criterion::{Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    all().iter().for_each(|kind| measure(&mut criterion, kind));
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, kind: &WorkloadKind) {
    let (group, name) = kind.name.split_once('/').unwrap_or(("", kind.name));
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(kind.elements));
    // Set up once, and only if the pattern asks for it.
    let mut workload = OnceCell::<Box<dyn Workload>>::new();
    group.bench_function(name, |bencher| {
        workload.get_or_init(kind.set_up);
        let workload = workload.get_mut().expect("it was set up a line ago");
        bencher.iter_custom(|rounds| {
            let mut time = Duration::ZERO;
            for _ in 0..rounds {
                workload.prepare();
                let begin = Instant::now();
                workload.run();
                time += begin.elapsed();
            }
            time
        });
    });
    group.finish();
}
