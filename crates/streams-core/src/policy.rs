//! What to do with a record that cannot be processed.

use std::sync::Arc;

use crate::backoff::Backoff;
use crate::error::Cause;

/// What happens to a record that fails. A record fails if it cannot be decoded, if it has no key
/// where one is needed, or if user code returns an error or panics on it. It also fails if the log
/// would refuse what it produces: an output that is too large for its topic or has a timestamp that
/// the topic does not accept, or a table entry that is too large for its changelog. Everything the
/// record did before it failed is undone first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorPolicy {
    /// The application stops with an error that names the record. Nothing after the record is
    /// committed.
    #[default]
    Fail,
    /// The record is skipped, logged and counted.
    Skip,
    /// The record's original bytes and headers go to this topic, in the same transaction as the
    /// offset after it. Kafka Streams' headers, all of them text, say where the record came from
    /// and what was wrong:
    ///
    /// * `__streams.errors.topic`, `__streams.errors.partition`, `__streams.errors.offset`;
    /// * `__streams.errors.exception`: the name of the [`Cause`](crate::Cause), such as
    ///   `headwater::errors::Cause::DecodeValue`;
    /// * `__streams.errors.message`: the error's message, at most 1 KiB of it;
    /// * `__streams.errors.stacktrace`: the message and its chain of causes, one per line; at most
    ///   4 KiB.
    ///
    /// Such headers from an earlier failure are replaced. If the topic does not accept the record
    /// with all of them, it gets fewer, or none. If the topic does not accept the record at all,
    /// because it is too large or lacks the key that a compacted topic needs, the application stops
    /// as with [`Fail`](Self::Fail) and reports both reasons. If the topic does not accept the
    /// timestamp, the dead letter gets the nearest one that it accepts, and the header
    /// `headwater.timestamp` has the original. If the record was [retried](Self::retry), the header
    /// `headwater.attempts` has the number of attempts, the first one included.
    DeadLetter(Arc<str>),
    /// The record waits and is retried; [`ErrorPolicy::retry`] creates this policy.
    Retry(Retry),
}

impl ErrorPolicy {
    /// Creates an [`ErrorPolicy::DeadLetter`] to `topic`.
    pub fn dead_letter(topic: impl Into<Arc<str>>) -> Self {
        Self::DeadLetter(topic.into())
    }

    /// Retries a record that failed, up to `retries` times (at least once), each time after a pause
    /// given by `backoff`. [`then`](Retry::then) says what happens if the last retry fails.
    ///
    /// ```
    /// use headwater_testkit::TopologyTest;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    /// use headwater::{Builder, Topic};
    /// use headwater::errors::{Backoff, ErrorPolicy};
    /// use headwater::topics::Consumed;
    /// static SERVICE_IS_AWAY: AtomicBool = AtomicBool::new(true);
    /// # let second = Duration::from_secs(1);
    ///
    /// let orders = Topic::<String, u64>::new("orders");
    /// let paid = Topic::<String, u64>::new("paid");
    /// let policy = ErrorPolicy::retry(5, Backoff::fixed(second))
    ///     .hold_key()
    ///     .then(ErrorPolicy::dead_letter("orders-dead"));
    /// let app = Builder::new("payments");
    /// app.stream(orders.consumed().on_error(policy))
    ///     .try_map_values(|amount| match SERVICE_IS_AWAY.load(Ordering::Relaxed) {
    ///         true => Err("the service is away"),
    ///         false => Ok(amount),
    ///     })
    ///     .to(&paid);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&orders, "ann".to_owned(), 5)?;
    /// SERVICE_IS_AWAY.store(false, Ordering::Relaxed);
    /// test.send(&orders, "ann".to_owned(), 6)?;
    /// test.send(&orders, "bob".to_owned(), 7)?;
    /// assert_eq!(test.take(&paid)?, [("bob".to_owned(), 7)]);
    /// test.advance(second)?;
    /// assert_eq!(test.take(&paid)?, [("ann".to_owned(), 5), ("ann".to_owned(), 6)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(retries: u32, backoff: Backoff) -> Retry {
        Retry { retries, backoff, hold_key: false, codec_errors: false, then: Box::default() }
    }

    /// Returns the dead-letter topic, if there is one.
    pub(crate) fn dead_letters(&self) -> Option<&Arc<str>> {
        match self {
            Self::Fail | Self::Skip => None,
            Self::DeadLetter(topic) => Some(topic),
            Self::Retry(retry) => retry.then.dead_letters(),
        }
    }

    /// Returns the policy that applies after the retries.
    pub(crate) fn without_retries(&self) -> &Self {
        self.retries().map_or(self, |retry| &retry.then)
    }

    pub(crate) fn retries(&self) -> Option<&Retry> {
        match self {
            Self::Retry(retry) => Some(retry),
            _ => None,
        }
    }
}

/// How failed records are retried. [`ErrorPolicy::retry`] starts it and has an example;
/// [`then`](Self::then) completes it.
///
/// What a failed record did is undone. Then the record waits in a table of its task,
/// `{topic}-retries` (for a repartition topic, without the application id in front). It is written
/// in the same transaction as the offset after the record. Like every table, it has a changelog, so
/// a waiting record survives crashes and moves to other instances, and takes memory only if tables
/// are in memory. When it is due, it passes through the operators again, with its original
/// timestamp, headers, topic, partition and offset. The effects of the retry and the removal from
/// the table are also one transaction.
///
/// * Windows, joins and suppressed results do not wait for the record. When it is retried it may be
///   late, and is then dropped and counted like other late records. Records with other keys do not
///   wait for it either. Without [`hold_key`](Self::hold_key), neither do records with the same
///   key: they are processed before it.
/// * Pauses are in wall-clock time and continue while no instance runs. Setting the date while an
///   instance runs changes no pause. Setting it back between two runs makes a pause longer, at most
///   by its own length; setting it forward shortens the pause.
/// * Errors and panics of user code are retried, and so is a full
///   [buffer](crate::BufferFull::Fail). Errors of the record itself, or of what is produced from
///   it, would occur again: a null key, a timestamp that is refused, a record or an entry that is
///   too large. Such a record goes to [`then`](Self::then) at once, and so does one with a [codec's
///   error](Self::with_codec_errors).
/// * A record that is too large for the table's changelog goes to [`then`](Self::then) at once, and
///   the error says why. Its entry there is a few bytes larger than the record in its topic,
///   headers included.
/// * Each reader of the source has its own entries there, under its name: the operators, each
///   agent, and each `map_async` (after the attempts that it makes itself). One reader retries a
///   record without the others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "`then` makes a policy of it"]
pub struct Retry {
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) hold_key: bool,
    pub(crate) codec_errors: bool,
    pub(crate) then: Box<ErrorPolicy>,
}

impl Retry {
    /// Holds later records with the same key until the record has succeeded or has gone to
    /// [`then`](Self::then); then they are processed in the order of their offsets. Records with
    /// other keys continue. Keys are compared by their bytes in the topic. A record with a null key
    /// holds nothing.
    ///
    /// A later record that is too large for the table can neither wait nor overtake, so it goes to
    /// [`then`](Self::then). If a batch of an agent fails, its records are delivered one by one,
    /// whatever a [`BatchError`](crate::agent::BatchError) says. A source cannot hold keys if a
    /// `map_async` or an agent with several futures reads it; `build()` refuses that.
    pub fn hold_key(self) -> Self {
        Self { hold_key: true, ..self }
    }

    /// Also retries records with a codec's error: records that could not be decoded, or whose
    /// results could not be encoded. Use it for codecs that depend on more than the bytes, such as
    /// a schema registry. By default, such records go to [`then`](Self::then) at once.
    pub fn with_codec_errors(self) -> Self {
        Self { codec_errors: true, ..self }
    }

    /// Sets what happens to a record that failed for the last time: [`Fail`](ErrorPolicy::Fail),
    /// [`Skip`](ErrorPolicy::Skip) or a [dead-letter topic](ErrorPolicy::dead_letter). With `Fail`,
    /// later records are already committed when the application stops. The failed record still
    /// waits in the table, and fails the next start too unless the cause is gone.
    pub fn then(self, policy: ErrorPolicy) -> ErrorPolicy {
        ErrorPolicy::Retry(Self { then: Box::new(policy), ..self })
    }

    /// The number of attempts, the first one included.
    pub(crate) fn attempts_in_all(&self) -> u32 {
        self.retries.saturating_add(1)
    }

    /// Whether the same record could succeed later.
    pub(crate) fn is_worth(&self, cause: &Cause) -> bool {
        match cause {
            Cause::User { .. } | Cause::Panic(_) | Cause::BufferFull { .. } => true,
            Cause::DecodeKey(_) | Cause::DecodeValue(_) | Cause::Encode { .. } => self.codec_errors,
            _ => false,
        }
    }
}
