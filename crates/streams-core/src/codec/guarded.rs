//! Makes values fail that a serde format would write but could not read back.

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// What a format cannot represent.
pub(super) trait Guard: Copy {
    /// Goes one level deeper into the value.
    fn inside<E: Error>(self) -> Result<Self, E>;

    /// Checks a float.
    fn float<E: Error>(self, value: f64) -> Result<(), E>;
}

/// For JSON, which cannot represent NaN and infinity: serde_json would write `null`. The formatter
/// counts the nesting, because it sees exactly the levels that the reader does.
#[derive(Clone, Copy)]
pub(super) struct Finite;

impl Guard for Finite {
    #[inline]
    fn inside<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    #[inline]
    fn float<E: Error>(self, value: f64) -> Result<(), E> {
        if value.is_finite() { Ok(()) } else { Err(no_number(value)) }
    }
}

#[cold]
fn no_number<E: Error>(value: f64) -> E {
    E::custom(format_args!("JSON has no number for {value}"))
}

/// A serializer, or a part of one, with a guard.
pub(super) struct Guarded<S, G> {
    to: S,
    guard: G,
}

impl<S, G: Guard> Guarded<S, G> {
    #[inline]
    pub(super) fn new(to: S, guard: G) -> Self {
        Self { to, guard }
    }

    #[inline]
    fn around<'v, T: ?Sized>(&self, value: &'v T) -> Within<'v, T, G> {
        Within { value, guard: self.guard }
    }
}

/// A part of a value, whose serializer is guarded too.
struct Within<'v, T: ?Sized, G> {
    value: &'v T,
    guard: G,
}

impl<T: Serialize + ?Sized, G: Guard> Serialize for Within<'_, T, G> {
    #[inline]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Guarded { to, guard: self.guard })
    }
}

macro_rules! as_they_are {
    ($($method:ident: $type:ty),*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.to.$method(value)
        }
    )*};
}

/// The serializer of the parts, one level deeper.
macro_rules! compound {
    ($($method:ident($($name:ident: $type:ty),*) -> $parts:ident;)*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<Self::$parts, S::Error> {
            let guard = self.guard.inside()?;
            Ok(Guarded { to: self.to.$method($($name),*)?, guard })
        }
    )*};
}

impl<S: Serializer, G: Guard> Serializer for Guarded<S, G> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Guarded<S::SerializeSeq, G>;
    type SerializeTuple = Guarded<S::SerializeTuple, G>;
    type SerializeTupleStruct = Guarded<S::SerializeTupleStruct, G>;
    type SerializeTupleVariant = Guarded<S::SerializeTupleVariant, G>;
    type SerializeMap = Guarded<S::SerializeMap, G>;
    type SerializeStruct = Guarded<S::SerializeStruct, G>;
    type SerializeStructVariant = Guarded<S::SerializeStructVariant, G>;

    as_they_are!(serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_char: char,
        serialize_str: &str, serialize_bytes: &[u8], serialize_unit_struct: &'static str);

    compound! {
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.guard.float(f64::from(value))?;
        self.to.serialize_f32(value)
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.guard.float(value)?;
        self.to.serialize_f64(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.to.serialize_unit()
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.guard.inside()?;
        self.to.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let guard = self.guard.inside()?;
        self.to.serialize_some(&Within { value, guard })
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.guard.inside()?;
        self.to.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let guard = self.guard.inside()?;
        self.to.serialize_newtype_struct(name, &Within { value, guard })
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let guard = self.guard.inside()?;
        self.to.serialize_newtype_variant(name, index, variant, &Within { value, guard })
    }

    #[inline]
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.to.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.to.is_human_readable()
    }
}

/// Lists: parts without names.
macro_rules! list {
    ($($of:ident :: $method:ident),*) => {$(
        impl<S: $of, G: Guard> $of for Guarded<S, G> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.around(value);
                self.to.$method(&value)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.to.end()
            }
        }
    )*};
}
list!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// Structs: parts with names that are known when the program is compiled.
macro_rules! named {
    ($($of:ident),*) => {$(
        impl<S: $of, G: Guard> $of for Guarded<S, G> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.around(value);
                self.to.serialize_field(key, &value)
            }

            #[inline]
            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.to.skip_field(key)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.to.end()
            }
        }
    )*};
}
named!(SerializeStruct, SerializeStructVariant);

impl<S: SerializeMap, G: Guard> SerializeMap for Guarded<S, G> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        let key = self.around(key);
        self.to.serialize_key(&key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.around(value);
        self.to.serialize_value(&value)
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), S::Error> {
        let key = self.around(key);
        let value = self.around(value);
        self.to.serialize_entry(&key, &value)
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.to.end()
    }
}
