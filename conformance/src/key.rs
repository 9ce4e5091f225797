//! Keys and values of cases, and how they are written.

use headwater::Record;
use headwater::codec::{Codec, CodecError, Json};
use headwater::windows::Windowed;
use serde_json::{Value, json};

/// A value; `None` is null.
pub type Val = Option<Value>;
/// A record of a case.
pub type Rec = Record<Key, Val>;

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// None.
    Null,
    /// A string.
    Plain(String),
    /// A string in a window.
    Windowed(Windowed<String>),
}

impl Key {
    /// The key that JSON stands for.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(Self::Null),
            Value::String(text) => Ok(Self::Plain(text.clone())),
            Value::Object(members) => {
                let number = |name: &str| members.get(name).and_then(Value::as_i64);
                let key = members.get("key").and_then(Value::as_str);
                match (key, number("start"), number("end")) {
                    (Some(key), Some(start), Some(end)) => {
                        Ok(Self::Windowed(Windowed { key: key.to_owned(), start, end }))
                    }
                    _ => Err(format!("{value} is no key")),
                }
            }
            _ => Err(format!("{value} is no key")),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Plain(text) => Value::String(text.clone()),
            Self::Windowed(w) => json!({"key": w.key, "start": w.start, "end": w.end}),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The string in it.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Null => None,
            Self::Plain(text) => Some(text),
            Self::Windowed(windowed) => Some(&windowed.key),
        }
    }
}

/// Keys of tables: plain, or with a window.
pub trait RowKey: Clone + Send + Sync + 'static {
    /// As a key of a case.
    fn to_key(&self) -> Key;
}

impl RowKey for Key {
    fn to_key(&self) -> Key {
        self.clone()
    }
}

impl RowKey for Windowed<Key> {
    fn to_key(&self) -> Key {
        let key = self.key.text().unwrap_or_default().to_owned();
        Key::Windowed(Windowed { key, start: self.start, end: self.end })
    }
}

/// Strings as UTF-8. A windowed string is followed by a byte that is not UTF-8, and the window's
/// start and end.
#[derive(Clone, Copy)]
pub struct KeyCodec;

const WINDOW: u8 = 0xff;

impl Codec<Key> for KeyCodec {
    fn encode(&self, key: &Key, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        match key {
            Key::Null => return Ok(false),
            Key::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Key::Windowed(windowed) => {
                out.extend_from_slice(windowed.key.as_bytes());
                out.push(WINDOW);
                out.extend_from_slice(&windowed.start.to_be_bytes());
                out.extend_from_slice(&windowed.end.to_be_bytes());
            }
        }
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Key, CodecError> {
        let Some(bytes) = bytes else { return Ok(Key::Null) };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(CodecError::new);
        let windowed = bytes
            .split_last_chunk::<8>()
            .and_then(|(rest, end)| rest.split_last_chunk::<8>().map(|(rest, at)| (rest, at, end)))
            .and_then(|(rest, start, end)| Some((rest.strip_suffix(&[WINDOW])?, start, end)));
        let Some((key, start, end)) = windowed else { return text(bytes).map(Key::Plain) };
        let start = i64::from_be_bytes(*start);
        let end = i64::from_be_bytes(*end);
        Ok(Key::Windowed(Windowed { key: text(key)?, start, end }))
    }
}

/// JSON; null is null.
#[derive(Clone, Copy)]
pub struct ValCodec;

impl Codec<Val> for ValCodec {
    fn encode(&self, value: &Val, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        match value {
            None | Some(Value::Null) => Ok(false),
            Some(value) => Json.encode(value, out),
        }
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Val, CodecError> {
        bytes.map(|bytes| Json.decode(Some(bytes))).transpose().map(val)
    }
}

/// JSON null and an absent value are the same.
pub fn val(value: Option<Value>) -> Val {
    value.filter(|value| !value.is_null())
}
