//! Limits how deeply a value in a binary format may be nested. Without a limit, a type that
//! contains itself could be read level by level until the stack overflows and the process ends.

use std::cell::Cell;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::ser;

use super::CodecError;
use super::guarded::Guard;

/// The allowed nesting of structs, lists, maps, enums, `Some` and newtypes.
const LEVELS: u16 = 256;

/// How many elements without bytes (`Vec<()>`) a value may have. Without a limit, the reader would
/// count up to a corrupt length.
const EMPTY_ELEMENTS: usize = 1 << 20;

/// The limit that was exceeded. It is stored beside the format's own error, because not every
/// format keeps the message.
pub(super) type Exceeded = Cell<Option<&'static str>>;

const TOO_DEEP: &str = "the value is nested more than 256 levels deep";
const TOO_LONG: &str = "a list is longer than its bytes";

/// Returns the exceeded limit if there is one, otherwise the format's error.
pub(super) fn explained(
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    exceeded: &Exceeded,
) -> CodecError {
    exceeded.get().map_or_else(|| CodecError::new(error), CodecError::new)
}

/// For writers: how many levels are left.
#[derive(Clone, Copy)]
pub(super) struct Levels<'b> {
    left: u16,
    exceeded: &'b Exceeded,
}

impl<'b> Levels<'b> {
    pub(super) fn all(exceeded: &'b Exceeded) -> Self {
        Self { left: LEVELS, exceeded }
    }
}

impl Guard for Levels<'_> {
    #[inline]
    fn inside<E: ser::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => {
                self.exceeded.set(Some(TOO_DEEP));
                Err(E::custom(TOO_DEEP))
            }
        }
    }

    #[inline]
    fn float<E: ser::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

/// What a value may still contain.
pub(super) struct Budget {
    elements: Cell<usize>,
    pub(super) exceeded: Exceeded,
}

impl Budget {
    /// For a value of `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let elements = bytes.len().saturating_add(EMPTY_ELEMENTS);
        Self { elements: Cell::new(elements), exceeded: Exceeded::default() }
    }

    fn exceed<E: Error>(&self, what: &'static str) -> E {
        self.exceeded.set(Some(what));
        E::custom(what)
    }
}

/// For readers: how many levels and elements are left.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'b> {
    levels: u16,
    budget: &'b Budget,
}

impl<'b> Bounds<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self { levels: LEVELS, budget }
    }

    fn inside<E: Error>(self) -> Result<Self, E> {
        let left = self.levels.checked_sub(1);
        let levels = left.ok_or_else(|| self.budget.exceed::<E>(TOO_DEEP))?;
        Ok(Self { levels, ..self })
    }

    fn take<E: Error>(self, elements: usize) -> Result<(), E> {
        let left = self.budget.elements.get().checked_sub(elements);
        self.budget.elements.set(left.ok_or_else(|| self.budget.exceed::<E>(TOO_LONG))?);
        Ok(())
    }
}

/// A deserializer, or a part of one, with bounds.
pub(super) struct Bounded<'b, D> {
    pub(super) from: D,
    pub(super) bounds: Bounds<'b>,
}

/// A visitor of a value that has parts.
struct Visiting<'b, V> {
    visitor: V,
    bounds: Bounds<'b>,
    /// Whether the bytes say how many parts there are.
    is_counted: bool,
}

impl<'b, D> Bounded<'b, D> {
    fn visiting<V, E: Error>(&self, visitor: V) -> Result<Visiting<'b, V>, E> {
        Ok(Visiting { visitor, bounds: self.bounds.inside()?, is_counted: false })
    }

    fn counting<V, E: Error>(&self, visitor: V) -> Result<Visiting<'b, V>, E> {
        Ok(Visiting { is_counted: true, ..self.visiting(visitor)? })
    }
}

/// Values without parts, which are read without limits.
macro_rules! plain {
    ($($method:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.from.$method(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    plain!(
        deserialize_any,
        deserialize_bool,
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_i128,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_u128,
        deserialize_f32,
        deserialize_f64,
        deserialize_char,
        deserialize_str,
        deserialize_string,
        deserialize_bytes,
        deserialize_byte_buf,
        deserialize_unit,
        deserialize_identifier,
        deserialize_ignored_any
    );

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor)?;
        self.from.deserialize_option(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.from.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor)?;
        self.from.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.counting(visitor)?;
        self.from.deserialize_seq(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor)?;
        self.from.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor)?;
        self.from.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.counting(visitor)?;
        self.from.deserialize_map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor)?;
        self.from.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor)?;
        self.from.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.from.is_human_readable()
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Visiting<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Bounded { from, bounds: self.bounds })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Bounded { from, bounds: self.bounds })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let Self { visitor, bounds, is_counted } = self;
        match from.size_hint() {
            // postcard does not report a length that is larger than the remaining bytes.
            None if is_counted => visitor.visit_seq(Counted(Bounded { from, bounds })),
            Some(elements) if is_counted => {
                bounds.take(elements)?;
                visitor.visit_seq(Bounded { from, bounds })
            }
            _ => visitor.visit_seq(Bounded { from, bounds }),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let Self { visitor, bounds, is_counted } = self;
        match from.size_hint() {
            None if is_counted => visitor.visit_map(Counted(Bounded { from, bounds })),
            Some(elements) if is_counted => {
                bounds.take(elements)?;
                visitor.visit_map(Bounded { from, bounds })
            }
            _ => visitor.visit_map(Bounded { from, bounds }),
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Bounded { from, bounds: self.bounds })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.from.deserialize(Bounded { from, bounds: self.bounds })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.from.next_element_seed(Bounded { from: seed, bounds: self.bounds })
    }

    fn size_hint(&self) -> Option<usize> {
        self.from.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.from.next_key_seed(Bounded { from: seed, bounds: self.bounds })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.from.next_value_seed(Bounded { from: seed, bounds: self.bounds })
    }

    fn size_hint(&self) -> Option<usize> {
        self.from.size_hint()
    }
}

/// Elements that are counted one by one.
struct Counted<'b, A>(Bounded<'b, A>);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Counted<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.bounds.take(1)?;
        self.0.next_element_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Counted<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.bounds.take(1)?;
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let bounds = self.bounds;
        let (value, from) = self.from.variant_seed(seed)?;
        Ok((value, Bounded { from, bounds }))
    }
}

/// The enum has already counted its level.
impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.from.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.from.newtype_variant_seed(Bounded { from: seed, bounds: self.bounds })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = Visiting { visitor, bounds: self.bounds, is_counted: false };
        self.from.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = Visiting { visitor, bounds: self.bounds, is_counted: false };
        self.from.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    use crate::codec::Codec;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Linked {
        next: Option<Box<Linked>>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(Option<Box<Newtype>>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct List(Vec<List>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Map(BTreeMap<u8, Map>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Enum {
        End,
        Newtype(Box<Enum>),
        Tuple(u8, Box<Enum>),
        Struct { next: Box<Enum> },
    }

    type Outcome = Result<(), String>;

    fn round_trip<T: PartialEq + Debug>(codec: &impl Codec<T>, value: &T) -> Outcome {
        let mut bytes = Vec::new();
        codec.encode(value, &mut bytes).map_err(|error| error.to_string())?;
        assert_eq!(&codec.decode(Some(&bytes)).expect("what is written is read"), value);
        Ok(())
    }

    fn refused<T: DeserializeOwned>(codec: &impl Codec<T>, bytes: &[u8], words: &str) {
        let error = codec.decode(Some(bytes)).err().expect("refused").to_string();
        assert!(error.contains(words), "{error}");
    }

    fn linked(count: usize) -> Linked {
        (1..count).fold(Linked { next: None }, |next, _| Linked { next: Some(Box::new(next)) })
    }

    fn tuples(count: usize) -> Enum {
        (1..count).fold(Enum::End, |inner, _| Enum::Tuple(7, Box::new(inner)))
    }

    /// Each has two levels: the struct and `Some`, the newtype and the list.
    fn check<C>(codec: &C)
    where
        C: Codec<Linked> + Codec<Newtype> + Codec<List> + Codec<Map> + Codec<Enum>,
        C: Codec<Vec<()>> + Codec<Vec<Vec<()>>>,
    {
        assert_eq!(round_trip(codec, &linked(128)), Ok(()));
        assert!(round_trip(codec, &linked(129)).unwrap_err().contains("256 levels"));
        assert_eq!(round_trip(codec, &tuples(256)), Ok(()));
        assert!(round_trip(codec, &tuples(257)).unwrap_err().contains("256 levels"));
        let deep = [1; 100_000];
        refused::<Linked>(codec, &deep, "256 levels");
        refused::<Newtype>(codec, &deep, "256 levels");
        refused::<List>(codec, &deep, "256 levels");
        refused::<Map>(codec, &deep, "256 levels");
        for variant in 1..=3 {
            refused::<Enum>(codec, &[variant; 100_000], "256 levels");
        }
        assert_eq!(round_trip(codec, &vec![(); 1_000]), Ok(()));
        // A corrupt length is not counted up to, not even in parts.
        refused::<Vec<()>>(codec, &[253, 255, 255, 255, 255, 255, 255, 255, 127], "");
        let pieces = [&[100][..], &[200, 200, 50].repeat(100)].concat();
        refused::<Vec<Vec<()>>>(codec, &pieces, "");
    }

    #[cfg(feature = "postcard")]
    #[test]
    fn postcard_reads_what_is_not_too_deep() {
        check(&crate::codec::Postcard);
    }

    #[cfg(feature = "bincode")]
    #[test]
    fn bincode_reads_what_is_not_too_deep() {
        check(&crate::codec::Bincode::<1_048_576>);
    }
}
