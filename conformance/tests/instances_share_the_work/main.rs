//! Two instances on topics with three partitions, one of which is replaced at random moments, end
//! with the same tables as a single task.

#[path = "../common/mod.rs"]
mod common;
mod order_free;
mod run;

use order_free::{OrderFree, order_free};
use run::Tables;
use testkit::Dice;

fn cases() -> Vec<OrderFree> {
    let cases: Vec<_> = common::cases_by_rules().iter().filter_map(order_free).collect();
    assert!(cases.len() >= 80, "{} cases are free of order", cases.len());
    cases
}

/// The tables that are not as expected.
fn different(seed: u64, case: &OrderFree, expected: &Tables, found: &Tables) -> Vec<String> {
    let places = expected.keys().filter(|place| found.get(*place) != expected.get(*place));
    places
        .map(|place| {
            let expected = &expected[place];
            let found = found.get(place);
            format!("seed {seed}: {} {place}: {expected:?}\n  {found:?}", case.case.id)
        })
        .collect()
}

/// Every case in tasks with random turns, aborts and crashes.
#[test]
fn interleaved_tasks_end_with_the_same_tables_over_all_seeds() {
    let cases: Vec<_> = cases().into_iter().map(|case| (run::alone(&case), case)).collect();
    let all = common::in_parallel(common::seeds(), |seed| {
        let one = |(expected, case): &(Tables, OrderFree)| {
            different(seed, case, expected, &run::interleaved(case, seed))
        };
        cases.iter().flat_map(one).collect()
    });
    assert!(all.is_empty(), "{} differ:\n{}", all.len(), all.join("\n"));
}

/// One case for each seed, in production instances.
#[test]
fn instances_end_with_the_same_tables_over_all_seeds() {
    let cases = cases();
    let all = common::in_parallel(common::seeds(), |seed| {
        // A prime, so that consecutive seeds reach all cases.
        let case = &cases[(seed as usize * 7) % cases.len()];
        let expected = run::alone(case);
        let found = run::shared(case, &expected, &mut Dice::new(seed));
        different(seed, case, &expected, &found)
    });
    assert!(all.is_empty(), "{} differ:\n{}", all.len(), all.join("\n"));
}
