//! Threads of our own client.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use runtime::transport::{ErrorKind, Result, TransportError};

/// Starts a thread. Should it panic, which is a bug, `failed` is told why: whoever waits for what
/// it does would wait for ever.
pub(crate) fn spawn(
    name: String,
    work: impl FnOnce() + Send + 'static,
    failed: impl FnOnce(String) + Send + 'static,
) -> Result<()> {
    let context = format!("starting the thread {name}");
    let who = name.clone();
    // What it shares is not used any more afterwards, but to say that it failed.
    let work = AssertUnwindSafe(work);
    let body = move || {
        if let Err(panic) = catch_unwind(move || { work }.0()) {
            failed(format!("the thread {who} panicked: {}", said(&*panic)));
        }
    };
    let spawned = thread::Builder::new().name(name).spawn(body);
    spawned.map(drop).map_err(|error| TransportError::new(ErrorKind::Fatal, context, error))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panic_is_told() {
        let (told, hears) = mpsc::channel();
        let failed = move |why| told.send(why).expect("somebody hears");
        spawn("test".to_owned(), || panic!("on purpose"), failed).expect("started");
        assert_eq!(hears.recv().as_deref(), Ok("the thread test panicked: on purpose"));
    }
}
