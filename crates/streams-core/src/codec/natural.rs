//! Types with the Kafka bytes that the Java client's own serializers write.

use std::sync::Arc;

use super::{Codec, CodecError, Format, present};

/// A type with a byte form that all Kafka clients share: text as UTF-8, integers big-endian, bytes
/// unchanged.
///
/// Keys use it by default, so that a Java producer and a Headwater application agree on a key's
/// partition. Implement it for a key type of your own by delegating to one of these, or give the
/// topic a codec.
///
/// ```
/// use std::sync::Arc;
/// use headwater::codec::{Codec, CodecError, Natural};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct OrderId(u64);
///
/// struct OrderIds;
/// impl Codec<OrderId> for OrderIds {
///     fn encode(&self, id: &OrderId, out: &mut Vec<u8>) -> Result<bool, CodecError> {
///         u64::codec().encode(&id.0, out)
///     }
///     fn decode(&self, bytes: Option<&[u8]>) -> Result<OrderId, CodecError> {
///         u64::codec().decode(bytes).map(OrderId)
///     }
/// }
/// impl Natural for OrderId {
///     fn codec() -> Arc<dyn Codec<Self>> { Arc::new(OrderIds) }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no natural byte form for Kafka",
    label = "no natural bytes are known for `{Self}`",
    note = "strings, bytes, integers and Option<…> of them have one; otherwise choose a codec: \
            `Topic::json` and `Table::json` for values that implement serde's traits, \
            `Topic::with` and `Table::with` for keys too, `Repartition::new` for a grouping"
)]
pub trait Natural: Sized + 'static {
    /// Returns the codec of this type.
    fn codec() -> Arc<dyn Codec<Self>>;
}

/// Strings, byte strings and big-endian integers as the Java client's serializers write them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl Codec<String> for Bytes {
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<String, CodecError> {
        std::str::from_utf8(present(bytes)?).map(str::to_owned).map_err(CodecError::new)
    }

    fn format(&self) -> Format {
        Format::named("UTF-8 text")
    }
}

impl Codec<Box<str>> for Bytes {
    fn encode(&self, value: &Box<str>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Box<str>, CodecError> {
        std::str::from_utf8(present(bytes)?).map(Into::into).map_err(CodecError::new)
    }

    fn format(&self) -> Format {
        Format::named("UTF-8 text")
    }
}

impl Codec<Vec<u8>> for Bytes {
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(value);
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Vec<u8>, CodecError> {
        Ok(present(bytes)?.to_vec())
    }

    fn format(&self) -> Format {
        Format::opaque()
    }
}

/// The unit type: always null. For topics without keys.
impl Codec<()> for Bytes {
    fn encode(&self, _: &(), _: &mut Vec<u8>) -> Result<bool, CodecError> {
        Ok(false)
    }

    fn decode(&self, _: Option<&[u8]>) -> Result<(), CodecError> {
        Ok(())
    }

    fn format(&self) -> Format {
        Format::opaque()
    }
}

macro_rules! natural {
    ($($type:ty),*) => {$(
        impl Natural for $type {
            fn codec() -> Arc<dyn Codec<Self>> {
                Arc::new(Bytes)
            }
        }
    )*};
}

macro_rules! big_endian {
    ($($type:ty),*) => {$(
        impl Codec<$type> for Bytes {
            fn encode(&self, value: &$type, out: &mut Vec<u8>) -> Result<bool, CodecError> {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(true)
            }

            fn decode(&self, bytes: Option<&[u8]>) -> Result<$type, CodecError> {
                let bytes = present(bytes)?;
                let array = bytes.try_into().map_err(|_| {
                    CodecError::new(format!(
                        "{} bytes, where {} has {}",
                        bytes.len(),
                        stringify!($type),
                        size_of::<$type>()
                    ))
                })?;
                Ok(<$type>::from_be_bytes(array))
            }

            fn format(&self) -> Format {
                Format::named(stringify!($type))
            }
        }
    )*};
}

big_endian!(i16, u16, i32, u32, i64, u64, f64);
natural!(String, Box<str>, Vec<u8>, (), i16, u16, i32, u32, i64, u64, f64);

/// Allows null: `None` is written as null, and null is read as `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nullable<C>(pub C);

impl<T, C: Codec<T>> Codec<Option<T>> for Nullable<C> {
    fn encode(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        match value {
            Some(value) => self.0.encode(value, out),
            None => Ok(false),
        }
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Option<T>, CodecError> {
        bytes.map(|bytes| self.0.decode(Some(bytes))).transpose()
    }

    fn format(&self) -> Format {
        self.0.format()
    }
}

impl<T: Natural> Natural for Option<T> {
    fn codec() -> Arc<dyn Codec<Self>> {
        Arc::new(Nullable(T::codec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Natural + PartialEq + std::fmt::Debug>(value: T, expected: Option<&[u8]>) {
        let codec = T::codec();
        let mut bytes = Vec::new();
        let present = codec.encode(&value, &mut bytes).expect("encodes");
        assert_eq!(present.then_some(&*bytes), expected);
        assert_eq!(codec.decode(expected).expect("decodes"), value);
    }

    #[test]
    fn writes_what_the_java_serializers_write() {
        round_trip("héllo".to_owned(), Some("héllo".as_bytes()));
        round_trip(String::new(), Some(b""));
        round_trip(1_i64, Some(&[0, 0, 0, 0, 0, 0, 0, 1]));
        round_trip(-2_i32, Some(&[0xff, 0xff, 0xff, 0xfe]));
        round_trip(vec![0_u8, 255], Some(&[0, 255]));
        round_trip((), None);
        round_trip(None::<String>, None);
        round_trip(Some(String::new()), Some(b""));
    }

    #[test]
    fn refuses_null_wrong_lengths_and_broken_text() {
        assert!(String::codec().decode(None).is_err());
        assert!(u64::codec().decode(Some(&[1, 2])).unwrap_err().to_string().contains("2 bytes"));
        assert!(String::codec().decode(Some(&[0xff])).is_err());
    }
}
