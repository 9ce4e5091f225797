//! Tables as the user names them: named, typed state with one writer.

use std::fmt;
use std::sync::Arc;

use crate::codec::{Codec, Json, JsonValue, Natural, NaturalKey};

/// The typed name of a table. Not a handle: operators write it, agents reach it through their
/// [`Context`](crate::agent::Context). Cheap to clone.
///
/// A table is kept per partition in the task's store and logged to `{application
/// id}-{name}-changelog`. Its data is found by its name: an application whose table has another
/// name than when it last ran is refused at the start, unless it is told to accept that and to
/// begin with an empty one.
pub struct Table<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: Arc<dyn Codec<V>>,
}

impl<K: 'static, V: 'static> Table<K, V> {
    /// A table whose keys and values are kept in their [natural](Natural) bytes: counts, sums,
    /// strings.
    pub fn new(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: Natural,
    {
        Self { name: name.into(), key: K::codec(), value: V::codec() }
    }

    /// A table with natural keys and JSON values.
    pub fn json(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: JsonValue,
    {
        Self { name: name.into(), key: K::codec(), value: Arc::new(Json) }
    }

    /// A table with codecs of your choice.
    pub fn with(name: impl Into<Arc<str>>, key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self { name: name.into(), key: Arc::new(key), value: Arc::new(value) }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How its keys are written.
    pub fn key_codec(&self) -> &Arc<dyn Codec<K>> {
        &self.key
    }

    /// How its values are written.
    pub fn value_codec(&self) -> &Arc<dyn Codec<V>> {
        &self.value
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
        }
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.name)
    }
}
