//! The threads of this client.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crate::error::{ErrorClass, KafkaClientError};

/// Starts a thread. Should it panic, which is a bug, `failed` is called with the reason, so that
/// nothing waits for its work without end.
pub(crate) fn spawn(
    name: String,
    work: impl FnOnce() + Send + 'static,
    failed: impl FnOnce(String) + Send + 'static,
) -> Result<(), KafkaClientError> {
    let context = format!("starting the thread {name}");
    let thread_name = name.clone();
    // After a panic what it shares is only used to say that it failed.
    let work = AssertUnwindSafe(work);
    let body = move || {
        if let Err(panic) = catch_unwind(move || { work }.0()) {
            failed(format!("the thread {thread_name} panicked: {}", message(&*panic)));
        }
    };
    let spawned = thread::Builder::new().name(name).spawn(body);
    spawned.map(drop).map_err(|error| KafkaClientError::new(ErrorClass::Fatal, context, error))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gave no message")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panic_is_reported() {
        let (sender, receiver) = mpsc::channel();
        let failed = move |why| sender.send(why).expect("a receiver");
        spawn("test".to_owned(), || panic!("on purpose"), failed).expect("started");
        assert_eq!(receiver.recv().as_deref(), Ok("the thread test panicked: on purpose"));
    }
}
