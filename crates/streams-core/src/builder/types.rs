//! Which types a topic or a table is used with, and whether two uses of it are compatible.

use std::any::{TypeId, type_name};
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codec::{Codec, Format};
use crate::stored_format::StoredFormat;
use crate::table::Table;
use crate::topic::Topic;

/// The types of keys and values, and how they are written.
#[derive(Clone, Debug)]
pub(crate) struct Types {
    key: TypedPart,
    value: TypedPart,
}

#[derive(Clone, Debug)]
struct TypedPart {
    of: TypeId,
    name: &'static str,
    format: Format,
}

/// One use of a topic or a table with these types.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) name: Arc<str>,
    pub(crate) user: String,
    pub(crate) types: Types,
}

impl Types {
    pub(crate) fn new<K: 'static, V: 'static>(key: &dyn Codec<K>, value: &dyn Codec<V>) -> Self {
        Self { key: TypedPart::of(key), value: TypedPart::of(value) }
    }

    pub(crate) fn of_topic<K: 'static, V: 'static>(topic: &Topic<K, V>) -> Self {
        Self::new(&*topic.key, &*topic.value)
    }

    pub(crate) fn of_table<K: 'static, V: 'static>(table: &Table<K, V>) -> Self {
        Self::new(&*table.key, &*table.value)
    }

    /// What the log stores about it.
    pub(crate) fn terms(&self, windows: Option<String>) -> StoredFormat {
        let name = |side: &TypedPart| side.format.name().map(str::to_owned);
        StoredFormat { windows, keys: name(&self.key), values: name(&self.value) }
    }
}

impl TypedPart {
    fn of<T: 'static>(codec: &dyn Codec<T>) -> Self {
        Self { of: TypeId::of::<T>(), name: type_name::<T>(), format: codec.format() }
    }

    /// Whether both can be right. The formats decide; if they do not say enough, the types do.
    fn fits(&self, other: &Self) -> bool {
        self.format.fits(&other.format).unwrap_or(self.of == other.of)
    }

    fn describe(&self) -> String {
        format!("{} ({})", without_paths(self.name), without_paths(&self.format.to_string()))
    }
}

/// Topics or tables whose keys or values are used with incompatible types, one problem for each.
pub(super) fn clashes(what: &str, uses: &[Use]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut said = BTreeSet::new();
    for (index, later) in uses.iter().enumerate() {
        for earlier in uses[..index].iter().filter(|earlier| earlier.name == later.name) {
            let sides = [
                ("keys", &earlier.types.key, &later.types.key),
                ("values", &earlier.types.value, &later.types.value),
            ];
            for (part, one, other) in sides {
                if one.fits(other) || !said.insert((&later.name, part)) {
                    continue;
                }
                problems.push(format!(
                    "the {part} of the {what} {} are {} for {}, and {} for {}: use one type and \
                     codec, or bytes (Vec<u8>) where they do not matter",
                    later.name,
                    one.describe(),
                    earlier.user,
                    other.describe(),
                    later.user
                ));
            }
        }
    }
    problems
}

/// A type's name as a programmer writes it: `alloc::vec::Vec<alloc::string::String>` is
/// `Vec<String>`.
fn without_paths(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut word = 0;
    for character in name.chars() {
        match character {
            ':' => short.truncate(word),
            _ => short.push(character),
        }
        if !(character.is_alphanumeric() || matches!(character, '_' | ':')) {
            word = short.len();
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::without_paths;

    #[test]
    fn types_are_named_as_programmers_write_them() {
        assert_eq!(without_paths("alloc::vec::Vec<alloc::string::String>"), "Vec<String>");
        assert_eq!(without_paths("(u64, core::option::Option<a::b::C>)"), "(u64, Option<C>)");
        assert_eq!(without_paths("UTF-8 text"), "UTF-8 text");
    }
}
