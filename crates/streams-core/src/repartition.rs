//! The repartition topic of a grouping: its name, and how its keys and values are written.

use std::sync::Arc;

use crate::codec::{Codec, Json, JsonValue, NaturalKey};

/// A repartition topic with codecs of your choice, for [`group_by`](crate::Stream::group_by) and
/// [`repartition`](crate::Stream::repartition). A name alone means natural keys and JSON values.
///
/// ```
/// use headwater::codec::{Bytes, Text};
/// use headwater::{Builder, Table, Topic};
/// use headwater::streams::Repartition;
/// use headwater_testkit::TopologyTest;
/// let numbers = Topic::<String, i64>::new("numbers");
/// let out = Topic::<String, i64>::new("out");
/// let app = Builder::new("example");
/// let by_length = Repartition::new("by-length", Bytes, Text);
/// app.stream(&numbers)
///     .group_by(by_length, |key, _| key.len().to_string())
///     .reduce(&Table::new("sums"), |sum, n| sum + n)
///     .to(&out);
///
/// let mut test = TopologyTest::new(app.build()?);
/// test.send(&numbers, "a".into(), 2)?;
/// test.send(&numbers, "b".into(), 3)?;
/// assert_eq!(test.take(&out)?, [("1".to_owned(), 2), ("1".to_owned(), 5)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Repartition<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: Arc<dyn Codec<V>>,
}

impl<K: 'static, V: 'static> Repartition<K, V> {
    /// Describes the repartition topic `{application id}-{name}-repartition`.
    pub fn new(name: &str, key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self { name: name.into(), key: Arc::new(key), value: Arc::new(value) }
    }
}

/// What can name a repartition topic: a text, or a [`Repartition`] with codecs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a repartition topic",
    label = "not a name",
    note = "give a name, or `Repartition::new(name, key codec, value codec)`"
)]
pub trait IntoRepartition<K, V> {
    /// Returns the name with its codecs.
    fn into_repartition(self) -> Repartition<K, V>;
}

impl<K: NaturalKey, V: JsonValue> IntoRepartition<K, V> for &str {
    fn into_repartition(self) -> Repartition<K, V> {
        Repartition { name: self.into(), key: K::codec(), value: Arc::new(Json) }
    }
}

impl<K: NaturalKey, V: JsonValue> IntoRepartition<K, V> for &String {
    fn into_repartition(self) -> Repartition<K, V> {
        self.as_str().into_repartition()
    }
}

impl<K, V> IntoRepartition<K, V> for Repartition<K, V> {
    fn into_repartition(self) -> Self {
        self
    }
}
