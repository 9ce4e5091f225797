//! The guide: what the parts are, and how they behave. Start with the [`tutorial`] or with
//! [`concepts`].
//!
//! The pages are `docs/guide` of the repository. Their code is quoted from examples and tests that
//! run.
// Each page names its neighbours by file, for readers of the repository. The definition in front of
// a page takes precedence over the page's own, so that here the names lead to modules.

/// [concepts]: crate::guide::concepts
/// [time]: crate::guide::time
/// [windows]: crate::guide::windows
/// [exactly_once]: crate::guide::exactly_once
#[doc = include_str!("../guide/tutorial.md")]
pub mod tutorial {}

/// [time]: crate::guide::time
/// [exactly_once]: crate::guide::exactly_once
#[doc = include_str!("../guide/concepts.md")]
pub mod concepts {}

#[doc = include_str!("../guide/time.md")]
pub mod time {}

/// [time]: crate::guide::time
/// [state]: crate::guide::state
#[doc = include_str!("../guide/windows.md")]
pub mod windows {}

/// [time]: crate::guide::time
#[doc = include_str!("../guide/joins.md")]
pub mod joins {}

#[doc = include_str!("../guide/state.md")]
pub mod state {}

/// [async]: crate::guide::async_work
#[doc = include_str!("../guide/exactly_once.md")]
pub mod exactly_once {}

/// [retries]: crate::guide::retries
#[doc = include_str!("../guide/async.md")]
pub mod async_work {}

#[doc = include_str!("../guide/retries.md")]
pub mod retries {}

#[doc = include_str!("../guide/coming_from.md")]
pub mod coming_from {}
