//! What a record does to windows, as data.

use super::Window;
use crate::record::Timestamp;

/// A window of the record's key that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Which one.
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
    /// Which one.
    pub window: Window,
    /// What it begins with.
    pub base: Base,
    /// Whether the record is added.
    pub add: bool,
}

/// What a window begins with before the record is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// What the table holds for it.
    Stored,
    /// Nothing.
    Fresh,
    /// The aggregate of a neighbour, by its place; the neighbour itself, if it is that window.
    Near(usize),
    /// All neighbours, merged in order.
    Merged,
}

impl Plan {
    /// Adds the record to `window`, which begins with `base`.
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
