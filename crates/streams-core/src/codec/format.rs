//! The name of what a codec writes.

use std::any::{TypeId, type_name};
use std::borrow::Cow;
use std::fmt;

/// The format that a codec writes. With it `build()` finds topics and tables that are used in two
/// ways, and the next start finds a table whose entries would be read differently.
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
    /// Creates a format with a name. Two codecs with the same format name can read each other's
    /// bytes. The names of a table's formats are stored in the log and compared at each start, so a
    /// name must not change while the bytes stay the same.
    pub fn named(name: impl Into<Cow<'static, str>>) -> Self {
        Self(FormatKind::Named(name.into()))
    }

    /// Creates a format for bytes whose meaning is left open. It is compatible with all others.
    pub fn opaque() -> Self {
        Self(FormatKind::Opaque)
    }

    /// Creates a format that is known only by the codec's type: the default for codecs.
    pub fn of_codec<C: ?Sized + 'static>() -> Self {
        Self(FormatKind::Codec(TypeId::of::<C>(), type_name::<C>()))
    }

    /// The format's name, if it has one that may be stored.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.0 {
            FormatKind::Opaque => Some("bytes"),
            FormatKind::Named(name) => Some(name),
            FormatKind::Codec(..) => None,
        }
    }

    /// Whether bytes of one format can be read as the other; `None` if that is not known.
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
