//! The application: a topology, run.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use streams_core::{StoreProvider, Topology};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::error::AppError;
use crate::instance::{Instance, InstanceParts};
use crate::local_state::LocalState;
use crate::retry;
use crate::status::{AppState, StatusHandle};
use crate::threads::Threads;
use crate::topics::{self, TopicMetadata, TopologyCompatibility, TopologyRecords};
use crate::transport::{Transport, TransportError};

/// An application: a topology with a configuration, on a log.
///
/// `run` waits for the log, checks and creates topics, joins the group, and processes. It stops
/// gracefully when asked to, or with an error that names the record or the step that failed.
pub struct App {
    topology: Arc<Topology>,
    config: Config,
    transport: Arc<dyn Transport>,
    stores: Option<Arc<dyn StoreProvider>>,
    clock: Arc<dyn Clock>,
    status: StatusHandle,
}

impl App {
    /// An application on `transport`.
    pub fn new(topology: Topology, config: Config, transport: Arc<dyn Transport>) -> Self {
        Self {
            topology: Arc::new(topology),
            config,
            transport,
            stores: None,
            clock: Arc::new(SystemClock::default()),
            status: StatusHandle::default(),
        }
    }

    /// Uses stores of your own for tables instead of those that the configuration names.
    #[must_use]
    pub fn with_stores(mut self, stores: Arc<dyn StoreProvider>) -> Self {
        self.stores = Some(stores);
        self
    }

    /// A handle to what the application is doing.
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Runs until `shutdown` completes, then stops gracefully: commits, closes tables, leaves the
    /// group. Must be called on a tokio runtime; processing has threads of its own.
    ///
    /// # Errors
    /// See [`AppError`]. Records whose effects were not committed are processed again at the next
    /// start.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AppError> {
        let status = EndOnDrop(self.status.clone());
        let result = self.run_until(shutdown).await;
        status.0.ended(result.as_ref().err().map(ToString::to_string));
        result
    }

    async fn run_until(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AppError> {
        let mut shutdown = pin!(shutdown);
        let mut losses = MembershipLosses::default();
        loop {
            self.status.set_state(AppState::Starting);
            match self.run_once(shutdown.as_mut()).await {
                RunOutcome::MembershipLost(error) if losses.may_join_again(&*self.clock) => {
                    tracing::warn!(%error, "the membership of the group was lost; joining again");
                    self.status.clear_tasks();
                }
                RunOutcome::MembershipLost(error) => return Err(AppError::Membership(error)),
                RunOutcome::Ended(result) => return result,
            }
        }
    }

    /// From the start to the end, or to the loss of the membership.
    async fn run_once(
        &self,
        mut shutdown: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> RunOutcome {
        let cancelled = Arc::new(AtomicBool::new(false));
        let timeout = self.config.shutdown_timeout;
        let starting = self.start_in_background(Arc::clone(&cancelled));
        let started = tokio::select! {
            started = starting => started,
            () = &mut shutdown => {
                cancelled.store(true, Ordering::Release);
                return RunOutcome::Ended(Ok(()));
            }
        };
        let mut threads = match started {
            Ok(threads) => threads,
            Err(error) => return RunOutcome::Ended(Err(error)),
        };
        let (failure, is_stopping) = tokio::select! {
            failure = threads.failure() => (failure, false),
            () = shutdown => {
                tracing::info!("stopping gracefully");
                threads.stop_gracefully();
                let stopped = tokio::time::timeout(timeout, threads.failure()).await;
                (stopped.unwrap_or(Some(AppError::ShutdownTimeout { after: timeout })), true)
            }
        };
        let ended = tokio::task::spawn_blocking(move || threads.end()).await;
        match (failure, ended) {
            (Some(AppError::Membership(error)), _) if !is_stopping => {
                RunOutcome::MembershipLost(error)
            }
            (Some(error), _) => RunOutcome::Ended(Err(error)),
            (None, Ok(())) => RunOutcome::Ended(Ok(())),
            (None, Err(panic)) => {
                let message = panic.to_string();
                RunOutcome::Ended(Err(AppError::Panicked { thread: "main", message }))
            }
        }
    }

    async fn start_in_background(&self, cancelled: Arc<AtomicBool>) -> Result<Threads, AppError> {
        let app = Self {
            topology: Arc::clone(&self.topology),
            config: self.config.clone(),
            transport: Arc::clone(&self.transport),
            stores: self.stores.clone(),
            clock: Arc::clone(&self.clock),
            status: self.status.clone(),
        };
        let started = tokio::task::spawn_blocking(move || app.start(&cancelled)).await;
        started.unwrap_or_else(|panic| {
            Err(AppError::Panicked { thread: "main", message: panic.to_string() })
        })
    }

    fn start(self, cancelled: &AtomicBool) -> Result<Threads, AppError> {
        let config = self.config.checked()?;
        let application = Arc::clone(self.topology.application_id());
        let local_state = LocalState::open(&config, &application)?;
        let stores = match self.stores {
            Some(stores) => stores,
            None => local_state.stores(&config)?,
        };
        let records =
            TopologyRecords { log: &*self.transport, clock: &*self.clock, config: &config };
        let metadata =
            retry::until_reachable_or_cancelled(cancelled, &*self.clock, &config, || {
                prepare_topics(&self.topology, records)
            })?;
        let parts = InstanceParts {
            topology: self.topology,
            config,
            transport: self.transport,
            stores,
            clock: self.clock,
            status: self.status,
            identity: local_state.identity(),
            metadata,
        };
        let instance = Instance::new(&parts)?;
        tracing::info!(app = %application, instance = %parts.identity.instance_id, "started");
        Threads::start(instance, local_state, application).map_err(|error| AppError::Panicked {
            thread: "main",
            message: format!("a thread could not be started: {error}"),
        })
    }
}

/// Compares the topology with the one that ran last, then checks and creates topics, and only then
/// records the topology: one that was refused leaves no trace.
fn prepare_topics(
    topology: &Topology,
    records: TopologyRecords<'_>,
) -> Result<TopicMetadata, AppError> {
    let Config { replication, request_timeout, .. } = *records.config;
    let mut admin = records.log.admin()?;
    let compatibility = TopologyCompatibility::look_up(topology, &mut *admin, records)?;
    let kept = compatibility.kept();
    let metadata = topics::prepare(topology, &mut *admin, kept, replication, request_timeout)?;
    compatibility.write(&mut *admin)?;
    Ok(metadata)
}

/// Dropping the future of `run` ends the application, too.
struct EndOnDrop(StatusHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.ended(None);
    }
}

/// How a run of an instance ended.
enum RunOutcome {
    Ended(Result<(), AppError>),
    /// The group has removed the instance. Kafka fences a static member for good when the answer to
    /// an earlier request of its own to join reaches it too late. Joining again is all that is
    /// needed.
    MembershipLost(TransportError),
}

/// When the membership was lost, within [`LOSSES_WITHIN`].
#[derive(Default)]
struct MembershipLosses(Vec<Duration>);

/// More losses than this within [`LOSSES_WITHIN`] mean that another process has the same identity.
const LOSSES_MAX: usize = 5;
const LOSSES_WITHIN: Duration = Duration::from_secs(60);

impl MembershipLosses {
    fn may_join_again(&mut self, clock: &dyn Clock) -> bool {
        let now = clock.monotonic();
        self.0.retain(|at| now.saturating_sub(*at) < LOSSES_WITHIN);
        self.0.push(now);
        self.0.len() <= LOSSES_MAX
    }
}

/// Completes at SIGINT (Ctrl-C) or SIGTERM.
pub async fn shutdown_signal() {
    let interrupt = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    interrupt.await;
}
