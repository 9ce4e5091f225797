//! A change of a table's row.

/// What a row was and what it is now. `None` is an absent row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// What it was.
    pub old: Option<V>,
    /// What it is.
    pub new: Option<V>,
}

impl<V> Change<V> {
    /// Passes both sides through the same function.
    pub(crate) fn and_then<V2>(self, mut map: impl FnMut(V) -> Option<V2>) -> Change<V2> {
        Change { old: self.old.and_then(&mut map), new: self.new.and_then(map) }
    }
}
