//! The producer over librdkafka, with its traps avoided.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings::{self as rd, rd_kafka_vtype_t as vtype};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer as _, PurgeConfig};
use runtime::transport::{
    ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, ProducerConfig, Result,
    TransportError,
};
use streams_core::TopicPartition;

use super::deliveries::Deliveries;
use crate::config::{KafkaConfig, Role};
use crate::error;
use crate::group::{NativeMetadata, offset_list};
use crate::headers::NativeHeaders;
use crate::oauth::{TokenClient, TokenKeeper};

pub(crate) struct LibrdkafkaProducer {
    /// `None` once it is dropped.
    producer: Option<Arc<BaseProducer<Deliveries>>>,
    /// What it was made with.
    config: ClientConfig,
    /// What gives it tokens, if it authenticates itself by some.
    tokens: Option<TokenKeeper>,
    /// The smallest batch that a topic takes, if that has to be told to the client yet.
    bytes_max: Option<usize>,
    topics: BTreeMap<Arc<str>, CString>,
    tracked: BTreeMap<TopicPartition, usize>,
    is_transactional: bool,
    sent: u64,
    request_timeout: Duration,
    /// Set when a commit took so long that librdkafka may have sent it twice.
    distrusted: bool,
}

/// How long a producer may take to look up a topic.
const LOOK_UP: Duration = Duration::from_secs(5);

/// How long an abort waits for records in flight before it gives the producer up.
const ABORT_DRAIN: Duration = Duration::from_secs(2);

/// So long after its time-out a request is given up whose call does not return.
const PATIENCE: Duration = Duration::from_secs(2);

/// librdkafka's `RD_KAFKA_PARTITION_UA`: by the partitioner.
const BY_KEY: i32 = -1;

/// How large a batch is at most, except for one with a single record.
const BATCH_BYTES: &str = "batch.size";

/// How often a wait looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often `send` lets delivery reports in.
const POLL_EVERY: u64 = 1_024;

/// After this, librdkafka has repeated a request; a repeated EndTxn can arrive late, in the next
/// transaction.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

impl LibrdkafkaProducer {
    pub(crate) fn new(kafka: &KafkaConfig, config: &ProducerConfig) -> Result<Self> {
        let mut client = kafka.client(Role::Producer);
        let request_timeout = REQUEST_TIMEOUT.min(config.transaction_timeout);
        client
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set(
                "queue.buffering.max.kbytes",
                (config.buffer_bytes_max / 1024).max(1024).to_string(),
            )
            .set("queue.buffering.max.messages", "1000000");
        if let Some(id) = &config.transactional_id {
            client
                .set("transactional.id", &**id)
                .set("transaction.timeout.ms", config.transaction_timeout.as_millis().to_string())
                .set("socket.timeout.ms", request_timeout.as_millis().to_string());
        }
        Ok(Self {
            producer: Some(open(&client, kafka.tokens())?),
            config: client,
            tokens: kafka.tokens().cloned(),
            bytes_max: None,
            topics: BTreeMap::new(),
            tracked: BTreeMap::new(),
            is_transactional: config.transactional_id.is_some(),
            sent: 0,
            request_timeout,
            distrusted: false,
        })
    }

    /// librdkafka knows one size of batches for all topics: it is the smallest that one of them
    /// takes. Nothing was sent yet.
    fn apply_limits(&mut self) -> Result<()> {
        let Some(bytes_max) = self.bytes_max.take() else { return Ok(()) };
        let batch_bytes = self.config.get(BATCH_BYTES).and_then(|bytes| bytes.parse().ok());
        if batch_bytes.is_some_and(|bytes: usize| bytes <= bytes_max) {
            return Ok(());
        }
        self.config.set(BATCH_BYTES, bytes_max.max(1).to_string());
        self.producer = Some(open(&self.config, self.tokens.as_ref())?);
        self.tracked.clear();
        Ok(())
    }

    fn producer(&self) -> Result<&BaseProducer<Deliveries>> {
        self.producer.as_deref().ok_or_else(closed)
    }

    /// A request of a transaction. librdkafka has been seen to forget about one for ever, its
    /// time-out notwithstanding, when the broker went away at the wrong moment: it is waited for by
    /// a thread of its own, which is left behind then, with the client.
    fn request<T: Send + 'static>(
        &self,
        context: &'static str,
        timeout: Duration,
        call: impl FnOnce(&BaseProducer<Deliveries>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(producer) = self.producer.clone() else { return Err(closed()) };
        let (done, result) = std::sync::mpsc::channel();
        let waiting = thread::Builder::new().name("headwater-kafka-transaction".to_owned());
        let spawned = waiting.spawn(move || done.send(call(&producer)));
        spawned.map_err(|error| TransportError::new(ErrorKind::Fatal, context, error))?;
        result.recv_timeout(timeout + PATIENCE).unwrap_or_else(|_| {
            let why = "librdkafka did not come back from it";
            Err(TransportError::new(ErrorKind::Unknown, context, why))
        })
    }

    /// Lets delivery reports in and says what they said.
    fn serve(&self) -> Result<()> {
        let producer = self.producer()?;
        producer.poll(Duration::ZERO);
        match producer.context().take_failure() {
            Some((context, code)) => Err(self.failure(context, code)),
            None => Ok(()),
        }
    }

    fn failure(&self, context: String, code: RDKafkaErrorCode) -> TransportError {
        match error::code(context.clone(), code) {
            error if matches!(error.kind(), ErrorKind::Refused | ErrorKind::NotFound) => error,
            error if !self.is_transactional => error,
            _ if matches!(
                code,
                RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch
            ) =>
            {
                TransportError::new(ErrorKind::Fenced, context, code.to_string())
            }
            _ => TransportError::new(ErrorKind::Abortable, context, code.to_string()),
        }
    }

    /// Waits until nothing is in flight, or until the first failed delivery.
    ///
    /// rdkafka's own flush, which its commit calls too, polls for 100 ms at a time and comes back
    /// only when they are over; and its poll with a time-out of its own spins through what is left
    /// of a millisecond.
    fn drain(&self, timeout: Duration) -> Result<()> {
        let producer = self.producer()?;
        let deadline = Instant::now() + timeout;
        loop {
            // SAFETY: the client is alive; with a time-out of 0 the call only tells batches not to
            // linger.
            unsafe { rd::rd_kafka_flush(producer.client().native_ptr(), 0) };
            self.serve()?;
            // Delivery reports that nobody has looked at yet count too: they hold errors and
            // offsets.
            if producer.in_flight_count() == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let kind =
                    if self.is_transactional { ErrorKind::Abortable } else { ErrorKind::Retriable };
                let context = format!("flushing, {} records in flight", producer.in_flight_count());
                return Err(TransportError::new(kind, context, "not acknowledged in time"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn produce(&mut self, record: &Outgoing<'_>) -> Result<RDKafkaErrorCode> {
        let partition = record.partition.unwrap_or(BY_KEY);
        let tracked = record.partition.and_then(|partition| {
            let mut tracked = self.tracked.iter();
            let same =
                |one: &TopicPartition| one.partition == partition && one.topic == *record.topic;
            tracked.find(|(one, _)| same(one)).map(|(_, number)| number + 1)
        });
        if !self.topics.contains_key(record.topic) {
            let name = self.known_topic(record.topic)?;
            self.topics.insert(Arc::clone(record.topic), name);
        }
        let topic = &self.topics[record.topic];
        let headers = record.headers.map(NativeHeaders::of);
        let headers_ptr = headers.as_ref().map_or(ptr::null_mut(), NativeHeaders::ptr);
        let (key, key_length) = raw(record.key);
        let (value, value_length) = raw(record.value);
        // librdkafka takes 0 for now: a millisecond later is the least that is wrong.
        let timestamp = record.timestamp.max(1);
        // SAFETY: all pointers are valid during the call, which copies key and value; the arguments
        // are pairs of a tag and what the tag calls for, ended by VTYPE_END. On success
        // librdkafka owns the headers.
        let code = unsafe {
            rd::rd_kafka_producev(
                self.producer()?.client().native_ptr(),
                vtype::RD_KAFKA_VTYPE_TOPIC,
                topic.as_ptr(),
                vtype::RD_KAFKA_VTYPE_PARTITION,
                partition,
                vtype::RD_KAFKA_VTYPE_MSGFLAGS,
                rd::RD_KAFKA_MSG_F_COPY,
                vtype::RD_KAFKA_VTYPE_VALUE,
                value,
                value_length,
                vtype::RD_KAFKA_VTYPE_KEY,
                key,
                key_length,
                vtype::RD_KAFKA_VTYPE_OPAQUE,
                tracked.unwrap_or(0) as *mut c_void,
                vtype::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp,
                vtype::RD_KAFKA_VTYPE_HEADERS,
                headers_ptr,
                vtype::RD_KAFKA_VTYPE_END,
            )
        };
        let code = RDKafkaErrorCode::from(code);
        if code == RDKafkaErrorCode::NoError {
            headers.into_iter().for_each(NativeHeaders::taken);
        }
        Ok(code)
    }

    /// Looks a topic up before the first record goes to it: a broker may be set to create any topic
    /// that it is asked about by name, and a typing error would become a topic.
    fn known_topic(&self, topic: &Arc<str>) -> Result<CString> {
        let context = || format!("sending to {topic}");
        let metadata = self.producer()?.client().fetch_metadata(None, LOOK_UP);
        let metadata = metadata.map_err(|error| error::plain(context(), error))?;
        if !metadata.topics().iter().any(|known| known.name() == &**topic) {
            return Err(TransportError::new(ErrorKind::NotFound, context(), "no such topic"));
        }
        CString::new(&**topic)
            .map_err(|error| TransportError::new(ErrorKind::Refused, context(), error))
    }

    fn size_of(record: &Outgoing<'_>) -> usize {
        record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
    }
}

fn open(
    config: &ClientConfig,
    tokens: Option<&TokenKeeper>,
) -> Result<Arc<BaseProducer<Deliveries>>> {
    let opened = config.create_with_context(Deliveries::default());
    let opened: BaseProducer<Deliveries> =
        opened.map_err(|error| error::plain("opening a producer", error))?;
    let opened = Arc::new(opened);
    if let Some(tokens) = tokens {
        let client: Arc<dyn TokenClient> = Arc::clone(&opened) as _;
        tokens.keep(&client)?;
    }
    Ok(opened)
}

impl TokenClient for BaseProducer<Deliveries> {
    fn native(&self) -> *mut rd::rd_kafka_t {
        self.client().native_ptr()
    }
}

fn closed() -> TransportError {
    TransportError::new(ErrorKind::Fatal, "the producer", "it was closed")
}

fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    match bytes {
        // An empty slice's pointer is not null: empty and null stay apart.
        Some(bytes) => (bytes.as_ptr() as *mut c_void, bytes.len()),
        None => (ptr::null_mut(), 0),
    }
}

impl Producer for LibrdkafkaProducer {
    fn limit_batches(&mut self, _: &Arc<str>, bytes_max: usize) {
        let least = self.bytes_max.map_or(bytes_max, |least| least.min(bytes_max));
        self.bytes_max = Some(least);
    }

    fn init(&mut self, timeout: Duration) -> Result<()> {
        self.apply_limits()?;
        if !self.is_transactional {
            return Ok(());
        }
        const CONTEXT: &str = "initializing transactions";
        let initialized = self.request(CONTEXT, timeout, move |producer| {
            let initialized = producer.init_transactions(timeout);
            initialized.map_err(|error| error::transactional(CONTEXT, error))
        });
        initialized.map_err(|error| match error {
            // Nothing was begun yet: it can be tried again, with a new producer.
            error if error.kind() == ErrorKind::Unknown => {
                TransportError::new(ErrorKind::Retriable, CONTEXT, error)
            }
            error => error,
        })
    }

    fn begin(&mut self) -> Result<()> {
        if self.distrusted {
            let why = "the last commit was slow: librdkafka may have sent it twice, and the second \
                       could still arrive";
            return Err(TransportError::new(ErrorKind::Fatal, "beginning a transaction", why));
        }
        let begun = self.producer()?.begin_transaction();
        begun.map_err(|error| error::transactional("beginning a transaction", error))
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        self.sent += 1;
        if self.sent.is_multiple_of(POLL_EVERY) {
            self.serve()?;
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let code = self.produce(record)?;
            match code {
                RDKafkaErrorCode::NoError => return Ok(()),
                RDKafkaErrorCode::QueueFull if Instant::now() < deadline => {
                    thread::sleep(LOOK_EVERY);
                    self.serve()?;
                }
                code => {
                    let size = Self::size_of(record);
                    let context = format!("sending {size} bytes to {}", record.topic);
                    return Err(self.failure(context, code));
                }
            }
        }
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.drain(timeout)
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        const CONTEXT: &str = "adding offsets to the transaction";
        let failed = |error| error::transactional(CONTEXT, error);
        let list = offset_list(offsets).map_err(failed)?;
        let metadata = NativeMetadata::new(group).map_err(failed)?;
        self.request(CONTEXT, timeout, move |producer| {
            // SAFETY: client, list and metadata are alive during the call; the result is an owned
            // error or null.
            let native = unsafe {
                rd::rd_kafka_send_offsets_to_transaction(
                    producer.client().native_ptr(),
                    list.ptr(),
                    metadata.ptr(),
                    crate::librdkafka::millis(timeout),
                )
            };
            native_result(CONTEXT, native)
        })
    }

    fn commit(&mut self, timeout: Duration) -> Result<()> {
        self.drain(timeout)?;
        let started = Instant::now();
        self.request("committing", timeout, move |producer| {
            let committed = producer.commit_transaction(timeout);
            committed.map_err(|error| error::transactional("committing", error))
        })?;
        self.distrusted = started.elapsed() >= self.request_timeout;
        Ok(())
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        // abort_transaction does not serve delivery reports, so it would wait for what is in flight
        // until it times out. Purging what is in flight instead tears a hole into the
        // sequence numbers, which the next commit may fall into.
        let deadline = Instant::now() + timeout.min(ABORT_DRAIN);
        let mut drained = self.drain(ABORT_DRAIN);
        while drained.is_err() && Instant::now() < deadline {
            // A failed delivery is why we are here, perhaps; the others still have to come to rest.
            drained = self.drain(ABORT_DRAIN);
        }
        let producer = self.producer()?;
        if producer.in_flight_count() > 0 {
            producer.purge(PurgeConfig::default().queue().inflight());
            let why =
                drained.err().map_or_else(|| "records in flight".to_owned(), |e| e.to_string());
            return Err(TransportError::new(ErrorKind::Fatal, "aborting", why));
        }
        self.request("aborting", timeout, move |producer| {
            let aborted = producer.abort_transaction(timeout);
            producer.context().take_failure();
            aborted.map_err(|error| error::transactional("aborting", error))
        })
    }

    fn track(&mut self, partition: &TopicPartition) {
        if self.tracked.contains_key(partition) {
            return;
        }
        let Some(producer) = &self.producer else { return };
        let mut offsets = producer.context().offsets.lock().unwrap_or_else(PoisonError::into_inner);
        self.tracked.insert(partition.clone(), offsets.len());
        offsets.push(Arc::new(AtomicI64::new(-1)));
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        let offsets = &self.producer.as_ref()?.context().offsets;
        let offsets = offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = offsets.get(*self.tracked.get(partition)?)?.load(Ordering::Acquire);
        (offset >= 0).then_some(offset)
    }
}

impl Drop for LibrdkafkaProducer {
    fn drop(&mut self) {
        // Destroying a librdkafka client waits for its threads, at times for long: not in the way
        // of a worker.
        let producer = self.producer.take();
        let dropped = thread::Builder::new()
            .name("headwater-kafka-close".to_owned())
            .spawn(move || drop(producer));
        if let Err(error) = dropped {
            tracing::warn!(target: "headwater::kafka", %error, "closing a producer inline");
        }
    }
}

/// The result of a transactional call that rdkafka does not wrap.
fn native_result(context: &str, error: *mut rd::rd_kafka_error_t) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is alive until it is destroyed, which is at the end, once; its text is a
    // NUL-terminated string.
    unsafe {
        let code = RDKafkaErrorCode::from(rd::rd_kafka_error_code(error));
        let is_fatal = rd::rd_kafka_error_is_fatal(error) != 0;
        let requires_abort = rd::rd_kafka_error_txn_requires_abort(error) != 0;
        let text = std::ffi::CStr::from_ptr(rd::rd_kafka_error_string(error));
        let text = text.to_string_lossy().into_owned();
        rd::rd_kafka_error_destroy(error);
        let kind = error::transactional_kind(code, is_fatal, requires_abort);
        Err(TransportError::new(kind, context, text))
    }
}
