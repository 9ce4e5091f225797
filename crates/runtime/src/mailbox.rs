//! Sending to a component's thread, and waking it.

use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Where a component takes messages: a channel, and a way to end the wait that it may be in.
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

    /// A component that has ended takes nothing more; whoever ended it says why.
    pub(crate) fn send(&self, message: T) {
        let _ = self.sender.send(message);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        (self.wake)();
    }
}
