//! What to do with a record that cannot be processed.

use std::sync::Arc;

use crate::backoff::Backoff;
use crate::error::Cause;

/// What happens to a record that cannot be decoded, that has no key where one is needed, on which
/// user code fails or panics, or that makes something which the log would refuse: a record that is
/// too large for its topic or has a timestamp that the topic does not take, a table's entry that is
/// too large for its changelog. Whatever the record did before it failed is taken back first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorPolicy {
    /// The application stops with an error that names the record. Nothing is committed beyond it.
    #[default]
    Fail,
    /// The record is passed over, logged and counted.
    Skip,
    /// The record's own bytes and headers go to this topic, in the same transaction as the offset
    /// that passes it, with Kafka Streams' headers that say where it came from and what was wrong,
    /// all of them text:
    ///
    /// * `__streams.errors.topic`, `__streams.errors.partition`, `__streams.errors.offset`;
    /// * `__streams.errors.exception`: the name of the [`Cause`](crate::Cause), such as
    ///   `headwater::errors::Cause::DecodeValue`;
    /// * `__streams.errors.message`: what it says, at most 1 KiB of it;
    /// * `__streams.errors.stacktrace`: that, and what caused it, a line each; at most 4 KiB.
    ///
    /// Those that a record has from an earlier round are replaced. Where the topic does not take
    /// the record with all of them, it gets fewer, or none. A record that the topic does not take
    /// at all, because it is too large by itself or lacks the key of a compacted topic, stops the
    /// application as [`Fail`](Self::Fail) does, with both reasons. A timestamp that the topic does
    /// not take becomes the nearest one that it does, and `headwater.timestamp` is the record's
    /// own. Of a record that was [tried again](Self::retry), `headwater.attempts` says how often it
    /// was tried in all.
    DeadLetter(Arc<str>),
    /// The record waits, and is tried again; made by [`ErrorPolicy::retry`].
    Retry(Retry),
}

impl ErrorPolicy {
    /// [`ErrorPolicy::DeadLetter`] to `topic`.
    pub fn dead_letter(topic: impl Into<Arc<str>>) -> Self {
        Self::DeadLetter(topic.into())
    }

    /// Tries a record that failed again, up to `retries` times (at least once), each after
    /// the wait that `backoff` says. [`then`](Retry::then) says what happens to one that failed
    /// each time.
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

    /// The topic that gets what cannot be processed.
    pub(crate) fn dead_letters(&self) -> Option<&Arc<str>> {
        match self {
            Self::Fail | Self::Skip => None,
            Self::DeadLetter(topic) => Some(topic),
            Self::Retry(retry) => retry.then.dead_letters(),
        }
    }

    /// What it is when nothing is tried again.
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

/// How records that failed are tried again; begun by [`ErrorPolicy::retry`], which has an example,
/// and finished by [`then`](Self::then).
///
/// What a failed record did is taken back. Then the record waits in a table of its task,
/// `{topic}-retries` (of a repartition topic without the application's id in front), with a
/// changelog as every table: in the same transaction as the offset that passes it. So it survives
/// crashes, moves to other instances, and takes memory only where tables are in memory. When its
/// time has come it goes through the operators again, as it was: with its timestamp, its headers
/// and its place. What it does then, and that it is no longer in that table, is one transaction,
/// too.
///
/// * Windows, joins and suppressed results do not wait for it: it may be too late for them by then,
///   and is dropped and counted as other late records are. Records of other keys do not wait
///   either, nor, without [`hold_key`](Self::hold_key), those of its own: they are processed before
///   it.
/// * Waits are by the wall clock and go on while nobody runs. A date that is set forth or back
///   while an instance runs changes no wait. One that is set back between two runs makes a wait
///   longer, by no more than its own length; one that is set forth shortens it.
/// * Errors of user code are tried again, panics too, and a full
///   [buffer](crate::BufferFull::Fail). What is wrong with the record itself or with what is made
///   of it (a null key, a timestamp that is refused, a record or an entry that is too large) would
///   be wrong again: it goes to [`then`](Self::then) at once, and so do
///   [codecs' errors](Self::with_codec_errors).
/// * A record that is too large for the table's changelog goes to [`then`](Self::then) at once; the
///   error says why. It takes some bytes more there than in its topic, its headers included.
/// * Each reader of the source has its own records there, under its name: the operators, each
///   agent, each `map_async` (after the attempts that it makes itself). One of them tries a record
///   again without the others.
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
    /// Later records with the same key wait until the record has succeeded, or has gone to
    /// [`then`](Self::then), and are processed in the order of their offsets then; records of other
    /// keys go on. Keys are compared as they are in the topic, in bytes. A null key holds nothing.
    ///
    /// A later record that is too large for the table can neither wait nor go first: it goes to
    /// [`then`](Self::then). An agent that takes batches is given the records of one that failed
    /// one by one, whatever a [`BatchError`](crate::agent::BatchError) says. A source cannot hold
    /// keys that a `map_async` reads, or an agent with several futures; `build()` refuses it.
    pub fn hold_key(self) -> Self {
        Self { hold_key: true, ..self }
    }

    /// Tries records again that a codec refused: that could not be decoded, or that led to
    /// something that could not be encoded. For codecs that depend on more than the bytes, such as
    /// a registry of schemas. Default: they go to [`then`](Self::then) at once.
    pub fn with_codec_errors(self) -> Self {
        Self { codec_errors: true, ..self }
    }

    /// What happens to a record that has failed for the last time:
    /// [`Fail`](ErrorPolicy::Fail), [`Skip`](ErrorPolicy::Skip) or a
    /// [dead-letter topic](ErrorPolicy::dead_letter). Under `Fail` the application has committed
    /// what came after the record when it stops; the record itself still waits, and fails the next
    /// start, too, if nothing has changed.
    pub fn then(self, policy: ErrorPolicy) -> ErrorPolicy {
        ErrorPolicy::Retry(Self { then: Box::new(policy), ..self })
    }

    /// How often a record is tried in all.
    pub(crate) fn attempts_in_all(&self) -> u32 {
        self.retries.saturating_add(1)
    }

    /// Whether the same record could have more luck later.
    pub(crate) fn is_worth(&self, cause: &Cause) -> bool {
        match cause {
            Cause::User { .. } | Cause::Panic(_) | Cause::BufferFull { .. } => true,
            Cause::DecodeKey(_) | Cause::DecodeValue(_) | Cause::Encode { .. } => self.codec_errors,
            _ => false,
        }
    }
}
