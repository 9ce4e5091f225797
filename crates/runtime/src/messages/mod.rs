//! What the components of an instance tell each other: a file for each receiver.
//!
//! The components know the messages, and not each other. A task travels member → restorer →
//! worker, and back to the restorer when it is rewound.

mod mailbox;
mod to_member;
mod to_restorer;
mod to_worker;

pub(crate) use mailbox::Mailbox;
pub(crate) use to_member::MemberMessage;
pub(crate) use to_restorer::{RequestedStore, RestoreRequest};
pub(crate) use to_worker::{ChangelogEnd, InputStart, RestoredTask, WorkerMessage};
