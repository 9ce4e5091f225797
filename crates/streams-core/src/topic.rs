//! Topics as the user names them: a name, and the types of the keys and values.

use std::fmt;
use std::sync::Arc;

use crate::codec::{Codec, Json, JsonValue, Natural, NaturalKey};

/// A topic with keys of type `K` and values of type `V`. Cheap to clone.
///
/// ```
/// use headwater::Topic;
/// use headwater::codec::{Bytes, Text};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Order;
/// let orders = Topic::<String, Order>::json("orders");     // UTF-8 keys, JSON values
/// let totals = Topic::<String, i64>::new("totals");     // as Java's LongSerializer writes them
/// let counts = Topic::<String, u64>::with("counts", Bytes, Text); // decimal digits
/// # let _ = (orders, totals, counts);
/// ```
pub struct Topic<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: Arc<dyn Codec<V>>,
}

impl<K: 'static, V: 'static> Topic<K, V> {
    /// Creates a topic whose keys and values are written in their [natural](Natural) bytes.
    pub fn new(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: Natural,
    {
        Self { name: name.into(), key: K::codec(), value: V::codec() }
    }

    /// Creates a topic with natural keys and JSON values.
    pub fn json(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: JsonValue,
    {
        Self { name: name.into(), key: K::codec(), value: Arc::new(Json) }
    }

    /// Creates a topic with codecs of your choice.
    pub fn with(name: impl Into<Arc<str>>, key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self { name: name.into(), key: Arc::new(key), value: Arc::new(value) }
    }

    /// The topic's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The codec of its keys.
    pub fn key_codec(&self) -> &Arc<dyn Codec<K>> {
        &self.key
    }

    /// The codec of its values.
    pub fn value_codec(&self) -> &Arc<dyn Codec<V>> {
        &self.value
    }
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
        }
    }
}

impl<K, V> fmt::Debug for Topic<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.name)
    }
}
