//! Tables derived row by row from another table. They have no store: their rows follow from the
//! other table's.

use std::sync::Arc;

use super::TableStream;
use crate::chain::Chain;
use crate::operators::{MapChange, MappedRows};

impl<'b, K: Clone + 'static, V: Clone + 'static> TableStream<'b, K, V> {
    /// Returns the rows for which `predicate` is true. A row that no longer passes is deleted. A
    /// change between two values that do not pass produces no output.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let prices = Topic::<String, i64>::new("prices");
    /// let out = Topic::<String, Option<i64>>::new("out");
    /// let app = Builder::new("example");
    /// let all = app.table(&prices, &Table::new("prices"));
    /// all.filter(|_, price| *price < 10).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for price in [30, 3, 20, 25] {
    ///     test.send(&prices, "tea".into(), price)?;
    /// }
    /// assert_eq!(test.take(&out)?, [("tea".to_owned(), Some(3)), ("tea".to_owned(), None)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> TableStream<'b, K, V> {
        self.derive("filter", false, move |key, value| predicate(key, &value).then_some(value))
    }

    /// Returns the rows for which `predicate` is false; see [`filter`](TableStream::filter).
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let prices = Topic::<String, i64>::new("prices");
    /// let out = Topic::<String, Option<i64>>::new("out");
    /// let app = Builder::new("example");
    /// let all = app.table(&prices, &Table::new("prices"));
    /// all.filter_not(|_, price| *price < 10).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&prices, "tea".into(), 30)?;
    /// test.send(&prices, "tea".into(), 3)?;
    /// assert_eq!(test.take(&out)?, [("tea".to_owned(), Some(30)), ("tea".to_owned(), None)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter_not(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> TableStream<'b, K, V> {
        self.derive("filter_not", false, move |key, value| {
            (!predicate(key, &value)).then_some(value)
        })
    }

    /// Returns the same rows with other values. Every change is forwarded, even the deletion of a
    /// row that did not exist.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let prices = Topic::<String, i64>::new("prices");
    /// let out = Topic::<String, Option<i64>>::new("out");
    /// let app = Builder::new("example");
    /// let all = app.table(&prices, &Table::new("prices"));
    /// all.map_values(|_, price| price * 2).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&prices, "tea".into(), 3)?;
    /// assert_eq!(test.take(&out)?, [("tea".to_owned(), Some(6))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_values<V2: Clone + 'static>(
        &self,
        map: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> TableStream<'b, K, V2> {
        self.derive("map_values", true, move |key, value| Some(map(key, value)))
    }

    /// Returns the rows for which `map` returns a value, with that value. Every change is
    /// forwarded, as with [`map_values`](TableStream::map_values).
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let lines = Topic::<String, String>::new("lines");
    /// let out = Topic::<String, Option<i64>>::new("out");
    /// let app = Builder::new("example");
    /// let all = app.table(&lines, &Table::new("lines"));
    /// all.filter_map(|_, line| line.parse::<i64>().ok()).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&lines, "a".into(), "7".into())?;
    /// test.send(&lines, "a".into(), "seven".into())?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), Some(7)), ("a".to_owned(), None)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter_map<V2: Clone + 'static>(
        &self,
        map: impl Fn(&K, V) -> Option<V2> + Send + Sync + 'static,
    ) -> TableStream<'b, K, V2> {
        self.derive("filter_map", true, map)
    }

    fn derive<V2: Clone + 'static>(
        &self,
        name: &'static str,
        tells_absent: bool,
        map: impl Fn(&K, V) -> Option<V2> + Send + Sync + 'static,
    ) -> TableStream<'b, K, V2> {
        let map = Arc::new(map);
        let of_rows = Arc::clone(&map);
        let rows = MappedRows {
            rows: Arc::clone(&self.rows),
            map: move |key: &K, value| of_rows(key, value),
        };
        let derived = self.next(self.add_node(name), Arc::new(rows));
        let operator = MapChange { map, tells_absent, changes: derived.changes.clone() };
        self.changes.clone().connect(operator, self.builder);
        derived
    }
}
