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
use crate::local_state;
use crate::status::{AppState, StatusHandle};
use crate::threads::Threads;
use crate::topics::{self, TopologyCompatibility};
use crate::transport::{Transport, TransportError};

/// An application: a topology with a configuration, on a log.
///
/// `run` takes it through its life: it waits for the log, checks and creates topics, joins the
/// group, processes, and stops gracefully when asked to, or with an error that names the record or
/// step that it could not get over.
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

    /// Keeps tables in stores of your own instead of those that the configuration names.
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
    /// Whatever [`AppError`] says. Work that was not committed is done again at the next start.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AppError> {
        let life = EndOnDrop(self.status.clone());
        let result = self.run_until(shutdown).await;
        life.0.ended(result.as_ref().err().map(ToString::to_string));
        result
    }

    async fn run_until(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AppError> {
        let mut shutdown = pin!(shutdown);
        let mut losses = MembershipLosses::default();
        loop {
            self.status.set_state(AppState::Starting);
            match self.run_once(shutdown.as_mut()).await {
                RunOutcome::Lost(error) if losses.may_go_on(&*self.clock) => {
                    tracing::warn!(%error, "joining the group anew");
                    self.status.clear_tasks();
                }
                RunOutcome::Lost(error) => return Err(AppError::Membership(error)),
                RunOutcome::By(result) => return result,
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
                return RunOutcome::By(Ok(()));
            }
        };
        let mut threads = match started {
            Ok(threads) => threads,
            Err(error) => return RunOutcome::By(Err(error)),
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
            (Some(AppError::Membership(error)), _) if !is_stopping => RunOutcome::Lost(error),
            (Some(error), _) => RunOutcome::By(Err(error)),
            (None, Ok(())) => RunOutcome::By(Ok(())),
            (None, Err(panic)) => {
                let message = panic.to_string();
                RunOutcome::By(Err(AppError::Panicked { thread: "main", message }))
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
        let application = self.topology.application_id();
        let home = local_state::open(&config, application)?;
        let stores = match self.stores {
            Some(stores) => stores,
            None => home.stores(&config)?,
        };
        let layout = topics::retried_unless(cancelled, &*self.clock, &config, || {
            let mut admin = self.transport.admin()?;
            let timeout = config.request_timeout;
            let parts = (&*self.transport, &*self.clock, &config);
            let shape = TopologyCompatibility::look_up(&self.topology, &mut *admin, parts)?;
            let (kept, replication) = (shape.kept(), config.replication);
            let layout = topics::prepare(&self.topology, &mut *admin, kept, replication, timeout)?;
            shape.write(&mut *admin)?;
            Ok(layout)
        })?;
        let parts = InstanceParts {
            topology: self.topology,
            config,
            transport: self.transport,
            stores,
            clock: self.clock,
            status: self.status,
            identity: home.identity(),
            layout,
        };
        let instance = Instance::new(&parts)?;
        let application = parts.topology.application_id();
        tracing::info!(app = %application, instance = %parts.identity.instance_id, "started");
        Threads::start(instance, home).map_err(|error| AppError::Panicked {
            thread: "main",
            message: format!("a thread could not be started: {error}"),
        })
    }
}

/// Whoever drops the future of `run` has ended the application, too.
struct EndOnDrop(StatusHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.ended(None);
    }
}

/// How a run of an instance ended.
enum RunOutcome {
    By(Result<(), AppError>),
    /// Its membership is gone. Kafka takes a static member's for good when an answer to its own
    /// earlier request to join comes too late for it: joining anew is all it takes.
    Lost(TransportError),
}

/// When the membership was lost.
#[derive(Default)]
struct MembershipLosses(Vec<Duration>);

/// So many losses within a minute mean that another process has the same identity.
const LOSSES_MAX: usize = 5;

impl MembershipLosses {
    fn may_go_on(&mut self, clock: &dyn Clock) -> bool {
        let now = clock.monotonic();
        self.0.retain(|at| now.saturating_sub(*at) < Duration::from_secs(60));
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
