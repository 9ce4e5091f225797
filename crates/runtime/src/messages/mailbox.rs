//! Sending to a component's thread, and waking it.

use std::sync::Arc;
use std::sync::mpsc::Sender;

/// The sending side of a component's channel, with a way to end the wait that the component may be
/// in.
pub(crate) struct Mailbox<T> {
    sender: Sender<T>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<T> Mailbox<T> {
    pub(crate) fn new(sender: Sender<T>, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { sender, wake }
    }

    /// For a receiver that waits on the channel itself.
    pub(crate) fn without_waker(sender: Sender<T>) -> Self {
        Self::new(sender, Arc::new(|| ()))
    }

    /// Sends a message. A component that has ended receives nothing; whatever ended it reports
    /// why.
    pub(crate) fn send(&self, message: T) {
        let _ = self.sender.send(message);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        (self.wake)();
    }
}
