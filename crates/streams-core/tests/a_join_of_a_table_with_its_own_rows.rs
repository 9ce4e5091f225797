//! In a join of a table with one derived from it, both sides change at once. If the join is stored
//! under a name, it still knows the old value of each row.

use headwater_streams_core::{Builder, Table, Topic};
use headwater_testkit::TopologyTest;

#[test]
fn a_sum_over_the_stored_join_is_right() {
    let topic = Topic::<String, i64>::new("rows");
    let sum = Table::<String, i64>::new("sum");
    let app = Builder::new("t");
    let rows = app.table(&topic, &Table::new("rows"));
    let next = rows.map_values(|_, number| number + 1);
    let product = rows.join(&next, |_, number, next| number * next).keep(&Table::new("product"));
    let all = product.group_by("all", |_, product| ("all".to_owned(), *product));
    all.reduce(&sum, |sum, product| sum + product, |sum, product| sum - product);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for (key, number) in [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5)] {
        test.send(&topic, key.to_owned(), number).expect("processed");
    }
    assert_eq!(test.table(&sum, &"all".to_owned()).expect("reads"), Some(4 * 5 + 5 * 6));
}
