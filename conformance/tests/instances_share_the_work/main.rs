//! Two instances on topics of three partitions, one of them stopped and another started at random
//! moments, end with the tables that one task alone has.

#[path = "../common/mod.rs"]
mod common;
mod order_free;
mod run;

use common::Dice;
use order_free::{OrderFree, order_free};

#[test]
fn final_tables_are_the_same_over_all_seeds() {
    let all = common::cases_by_rules();
    let cases: Vec<OrderFree> = all.iter().filter_map(order_free).collect();
    assert!(cases.len() >= 80, "{} cases are free of order", cases.len());
    let different = common::in_parallel(common::seeds(), |seed| {
        // A prime, so that each seed has its case and all cases their turn.
        let case = &cases[(seed as usize * 7) % cases.len()];
        let expected = run::alone(case);
        let found = run::shared(case, &expected, &mut Dice::new(seed));
        let places = expected.keys().filter(|place| found.get(*place) != expected.get(*place));
        places
            .map(|place| {
                let (expected, found) = (&expected[place], found.get(place));
                format!("seed {seed}: {} {place}: {expected:?}\n  {found:?}", case.case.id)
            })
            .collect()
    });
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
