//! Windows of cases.

use std::time::Duration;

use headwater::windows::{Hopping, Session, Sliding, Tumbling};
use serde::Deserialize;

/// The windows of an aggregation.
#[derive(Clone, Copy, Debug)]
pub enum AnyWindows {
    /// Side by side.
    Tumbling(Tumbling),
    /// Overlapping.
    Hopping(Hopping),
    /// Around records that are close to each other.
    Sliding(Sliding),
    /// As long as records keep coming.
    Session(Session),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ShapeOfWindow {
    Tumbling { size_ms: u64 },
    Hopping { size_ms: u64, advance_ms: u64 },
    Sliding { difference_ms: u64 },
    Session { gap_ms: u64 },
}

#[derive(Deserialize)]
pub(super) struct WindowShape {
    #[serde(flatten)]
    shape: ShapeOfWindow,
    grace_ms: u64,
}

impl WindowShape {
    pub(super) fn windows(&self, retention_ms: Option<u64>) -> AnyWindows {
        let ms = Duration::from_millis;
        let grace = Duration::from_millis(self.grace_ms);
        let retention = ms(retention_ms.unwrap_or(0));
        macro_rules! terms {
            ($windows:expr) => {
                $windows.grace(grace).retention(retention)
            };
        }
        match self.shape {
            ShapeOfWindow::Tumbling { size_ms } => {
                AnyWindows::Tumbling(terms!(Tumbling::of(ms(size_ms))))
            }
            ShapeOfWindow::Hopping { size_ms, advance_ms } => {
                AnyWindows::Hopping(terms!(Hopping::of(ms(size_ms), ms(advance_ms))))
            }
            ShapeOfWindow::Sliding { difference_ms } => {
                AnyWindows::Sliding(terms!(Sliding::of(ms(difference_ms))))
            }
            ShapeOfWindow::Session { gap_ms } => {
                AnyWindows::Session(terms!(Session::of(ms(gap_ms))))
            }
        }
    }
}
