//! Bounds on types that the DSL writes without an explicit codec. They have names of their own so
//! that the compiler can say what to do about a type that does not meet them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Natural;

/// A type that can be a key without an explicit codec: any [`Natural`] type.
///
/// You do not implement it by hand: implement [`Natural`], or use the method that takes codecs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` needs a codec to be a key here",
    label = "no natural bytes are known for `{Self}`",
    note = "give it a codec: `Repartition::new(name, key_codec, value_codec)` instead of the name \
            of a grouping or a repartition, `Topic::with` and `Table::with` of `new` and `json`, \
            `JoinBuffers::with` of `JoinBuffers::json`",
    note = "`headwater::codec::Json` is a codec for whatever implements serde's traits"
)]
pub trait NaturalKey: Natural {}

#[diagnostic::do_not_recommend]
impl<T: Natural> NaturalKey for T {}

/// A type that can be a value without an explicit codec, because it can be written as JSON: any
/// type that implements serde's `Serialize` and `Deserialize` and borrows nothing.
///
/// You do not implement it by hand: derive serde's traits, or use the method that takes codecs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written as JSON and read back",
    label = "`{Self}` does not implement both `serde::Serialize` and `serde::Deserialize`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to it (serde with the feature \
            `derive`), or give it a codec: `Topic::with`, `Table::with`, `Repartition::new` and \
            `TableStream::sent_as` take codecs"
)]
pub trait JsonValue: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> JsonValue for T {}
