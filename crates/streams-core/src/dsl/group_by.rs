//! From streams to groups of records with the same key.

use super::{Grouped, SourceChain, Stream};
use crate::chain::Chain;
use crate::consumed::Consumed;
use crate::operators::Sink;
use crate::repartition::{IntoRepartition, Repartition};
use crate::topic::Topic;
use crate::topology::SourceKind;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Groups by the current key. `build()` refuses it if an operator before it may have changed
    /// the key: equal keys could then be in different partitions, and
    /// [`group_by`](Stream::group_by) is needed.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers)
    ///     .group_by_key()
    ///     .reduce(&Table::new("sums"), |sum, n| sum + n)
    ///     .to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 1)?;
    /// test.send(&numbers, "a".into(), 2)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 1), ("a".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group_by_key(self) -> Grouped<'b, K, V, C> {
        self.refuse_changed_key("group_by_key");
        Grouped { stream: self }
    }

    /// Reports a problem if equal keys may be in different partitions.
    pub(crate) fn refuse_changed_key(&self, operator: &str) {
        if self.key_changed {
            self.builder.problem(format!(
                "{operator} after an operator that changes the key: equal keys may be in \
                 different partitions; send the records through a repartition topic, by \
                 repartition(name) or group_by(name, …)"
            ));
        }
    }

    /// Sends the records through the repartition topic `{application id}-{name}-repartition`, so
    /// that equal keys meet in one partition. Values are written there as JSON; a
    /// [`Repartition`](crate::Repartition) instead of the name has codecs of your choice. A record
    /// with a null key goes to any partition: a left or outer join may forward it without a match,
    /// and an operator that needs a key refuses it there.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let latest = Table::<String, i64>::new("latest");
    /// let app = Builder::new("example");
    /// let by_parity = app.stream(&numbers).select_key(|_, n| format!("{}", n % 2));
    /// by_parity.repartition("by-parity").to_table(&latest);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 3)?;
    /// test.send(&numbers, "b".into(), 5)?;
    /// assert_eq!(test.table(&latest, &"1".into())?, Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repartition(
        self,
        name: impl IntoRepartition<K, V>,
    ) -> Stream<'b, K, V, SourceChain<K, V>> {
        self.through(name.into_repartition(), false).stream
    }

    /// Groups by a new key. The records pass through the repartition topic `{application
    /// id}-{name}-repartition`, where equal keys meet in one partition. Values are written there as
    /// JSON; a [`Repartition`](crate::Repartition) instead of the name has codecs of your choice.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers)
    ///     .group_by("by-parity", |_, n| if n % 2 == 0 { "even" } else { "odd" }.to_owned())
    ///     .reduce(&Table::new("sums"), |sum, n| sum + n)
    ///     .to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 2)?;
    /// test.send(&numbers, "b".into(), 3)?;
    /// test.send(&numbers, "c".into(), 4)?;
    /// let sums = [("even".to_owned(), 2), ("odd".to_owned(), 3), ("even".to_owned(), 6)];
    /// assert_eq!(test.take(&out)?, sums);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group_by<K2: 'static>(
        self,
        name: impl IntoRepartition<K2, V>,
        key: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> Grouped<'b, K2, V, SourceChain<K2, V>> {
        self.select_key(key).through(name.into_repartition(), true)
    }

    fn through(
        self,
        repartition: Repartition<K, V>,
        needs_key: bool,
    ) -> Grouped<'b, K, V, SourceChain<K, V>> {
        let builder = self.builder;
        let Repartition { name, key, value } = repartition;
        let topic = Topic { name: builder.add_repartition(&name, self.node), key, value };
        self.chain.connect(Sink { topic: topic.clone(), needs_key }, builder);
        let consumed = Consumed::new(topic);
        Grouped { stream: builder.source(consumed, SourceKind::Repartition) }
    }
}
