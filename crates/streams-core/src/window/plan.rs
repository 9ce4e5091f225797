//! What a record does to windows, as data.

use super::Window;
use crate::record::Timestamp;

/// An existing window of the record's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The window.
    pub window: Window,
    /// The largest timestamp in it.
    pub latest: Timestamp,
    /// Its aggregate, in bytes.
    pub(crate) value: Box<[u8]>,
}

/// What happens to windows, in order.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) steps: Vec<WindowStep>,
    pub(crate) removes_near: bool,
}

/// What happens to one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStep {
    /// The window.
    pub window: Window,
    /// The aggregate that it starts from.
    pub base: Base,
    /// Whether the record is added.
    pub add: bool,
}

/// The aggregate that a window starts from, before the record is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The stored aggregate.
    Stored,
    /// An empty aggregate.
    Fresh,
    /// The aggregate of a neighbour, by its index. If the neighbour is the window itself, it is its
    /// own.
    Near(usize),
    /// All neighbours, merged in order.
    Merged,
}

impl Plan {
    /// Adds the record to `window`, which starts from `base`.
    pub fn add(&mut self, window: Window, base: Base) {
        self.steps.push(WindowStep { window, base, add: true });
    }

    /// Makes `window` a copy of a neighbour, without the record.
    pub fn copy(&mut self, window: Window, from: usize) {
        self.steps.push(WindowStep { window, base: Base::Near(from), add: false });
    }

    /// Removes all neighbours before anything else happens.
    pub fn remove_near(&mut self) {
        self.removes_near = true;
    }

    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.removes_near = false;
    }
}
