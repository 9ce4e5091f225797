//! A fused chain is one type. It must grow with the number of operators, not with two to the power
//! of it; otherwise this file would never finish compiling.

use headwater_streams_core::{Builder, GlobalTable, Table, Topic};
use headwater_testkit::TopologyTest;

#[test]
fn a_chain_of_thirty_two_operators_compiles() {
    let numbers = Topic::<String, i64>::new("numbers");
    let out = Topic::<String, i64>::new("out");
    let rates = Topic::<String, i64>::new("rates");
    let app = Builder::new("long");
    let rates_table: GlobalTable<String, i64> = app.global_table(&rates, &Table::new("rates"));
    let rates_of = &rates_table;
    app.stream(&numbers)
        .map_values(|n| n + 1)
        .filter(|_, n| *n > 0)
        .map(|key, n| (key, n * 2))
        .filter_not(|_, n| *n == 7)
        .select_key(|key, _| key.clone())
        .try_map_values(|n| Ok::<_, std::num::ParseIntError>(n - 1))
        .join_global(rates_of, |key, _| key.clone(), |_, n, rate| n * rate)
        .peek(|_, _| {})
        .map_values(|n| n + 1)
        .filter(|_, n| *n > 0)
        .map(|key, n| (key, n * 2))
        .filter_not(|_, n| *n == 7)
        .select_key(|key, _| key.clone())
        .try_map_values(|n| Ok::<_, std::num::ParseIntError>(n - 1))
        .join_global(rates_of, |key, _| key.clone(), |_, n, rate| n * rate)
        .peek(|_, _| {})
        .map_values(|n| n + 1)
        .filter(|_, n| *n > 0)
        .map(|key, n| (key, n * 2))
        .filter_not(|_, n| *n == 7)
        .select_key(|key, _| key.clone())
        .try_map_values(|n| Ok::<_, std::num::ParseIntError>(n - 1))
        .join_global(rates_of, |key, _| key.clone(), |_, n, rate| n * rate)
        .peek(|_, _| {})
        .map_values(|n| n + 1)
        .filter(|_, n| *n > 0)
        .map(|key, n| (key, n * 2))
        .filter_not(|_, n| *n == 7)
        .select_key(|key, _| key.clone())
        .try_map_values(|n| Ok::<_, std::num::ParseIntError>(n - 1))
        .join_global(rates_of, |key, _| key.clone(), |_, n, rate| n * rate)
        .peek(|_, _| {})
        .to(&out);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.send(&rates, "a".into(), 1).expect("sends");
    test.send(&numbers, "a".into(), 1).expect("sends");
    // Each round of eight: (n + 1) * 2 - 1.
    assert_eq!(test.take(&out).expect("takes"), [("a".to_owned(), 31)]);
}
