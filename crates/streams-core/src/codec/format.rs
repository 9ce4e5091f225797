//! What a codec writes, in a word.

use std::any::{TypeId, type_name};
use std::borrow::Cow;
use std::fmt;

/// What a codec writes: how `build()` sees that one topic or table is used in two ways, and how the
/// next start sees that a table's entries are to be read as something else.
///
/// ```
/// use headwater::codec::{Bytes, Codec, Format, Json, Text};
/// let text: &dyn Codec<String> = &Bytes;
/// assert_eq!(text.format(), Format::named("UTF-8 text"));
/// let digits: &dyn Codec<u64> = &Text;
/// assert_eq!(digits.format(), text.format());
/// let json: &dyn Codec<String> = &Json;
/// assert_ne!(json.format(), text.format());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(FormatKind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum FormatKind {
    Opaque,
    Named(Cow<'static, str>),
    Codec(TypeId, &'static str),
}

impl Format {
    /// A format with a name. Two codecs with the same one read what the other writes. The name of a
    /// table's codecs is kept in the log and compared at each start: it must not change while the
    /// bytes stay the same.
    pub fn named(name: impl Into<Cow<'static, str>>) -> Self {
        Self(FormatKind::Named(name.into()))
    }

    /// Bytes whose meaning is left open: fits to all others.
    pub fn opaque() -> Self {
        Self(FormatKind::Opaque)
    }

    /// Known by the codec's type only: what it is for codecs that do not say more.
    pub fn of_codec<C: ?Sized + 'static>() -> Self {
        Self(FormatKind::Codec(TypeId::of::<C>(), type_name::<C>()))
    }

    /// Its name, if it has one that may be kept.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.0 {
            FormatKind::Opaque => Some("bytes"),
            FormatKind::Named(name) => Some(name),
            FormatKind::Codec(..) => None,
        }
    }

    /// Whether bytes of one can be read as the other: `None` if that is not known.
    pub(crate) fn fits(&self, other: &Self) -> Option<bool> {
        match (&self.0, &other.0) {
            (FormatKind::Opaque, _) | (_, FormatKind::Opaque) => Some(true),
            (FormatKind::Named(one), FormatKind::Named(other)) => Some(one == other),
            (FormatKind::Codec(one, _), FormatKind::Codec(other, _)) if one == other => Some(true),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            FormatKind::Opaque => f.write_str("bytes"),
            FormatKind::Named(name) => f.write_str(name),
            FormatKind::Codec(_, name) => f.write_str(name),
        }
    }
}
