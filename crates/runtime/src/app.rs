//! The application: a topology, run.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use streams_core::{StoreProvider, Topology};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::error::AppError;
use crate::identity;
use crate::instance::{Instance, Parts};
use crate::status::StatusHandle;
use crate::threads::Threads;
use crate::topics::{self, Shape};
use crate::transport::Transport;

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
        let mut shutdown = pin!(shutdown);
        let cancelled = Arc::new(AtomicBool::new(false));
        let timeout = self.config.shutdown_timeout;
        let starting = self.start_in_background(Arc::clone(&cancelled));
        let mut threads = tokio::select! {
            started = starting => started?,
            () = &mut shutdown => {
                cancelled.store(true, Ordering::Release);
                return Ok(());
            }
        };
        let failure = tokio::select! {
            failure = threads.failure() => failure,
            () = shutdown => {
                tracing::info!("stopping gracefully");
                threads.stop_gracefully();
                let stopped = tokio::time::timeout(timeout, threads.failure()).await;
                stopped.unwrap_or(Some(AppError::ShutdownTimeout { after: timeout }))
            }
        };
        let ended = tokio::task::spawn_blocking(move || threads.end()).await;
        match (failure, ended) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(()),
            (None, Err(panic)) => {
                Err(AppError::Panicked { thread: "main", message: panic.to_string() })
            }
        }
    }

    async fn start_in_background(self, cancelled: Arc<AtomicBool>) -> Result<Threads, AppError> {
        let started = tokio::task::spawn_blocking(move || self.start(&cancelled)).await;
        started.unwrap_or_else(|panic| {
            Err(AppError::Panicked { thread: "main", message: panic.to_string() })
        })
    }

    fn start(self, cancelled: &AtomicBool) -> Result<Threads, AppError> {
        let config = self.config.checked()?;
        let application = self.topology.application_id();
        let home = identity::open(&config, application)?;
        let stores = match self.stores {
            Some(stores) => stores,
            None => home.stores(&config)?,
        };
        let layout = topics::retried_unless(cancelled, &*self.clock, &config, || {
            let mut admin = self.transport.admin()?;
            let timeout = config.request_timeout;
            let parts = (&*self.transport, &*self.clock, &config);
            let shape = Shape::look_up(&self.topology, &mut *admin, parts)?;
            let (kept, replication) = (shape.kept(), config.replication);
            let layout = topics::prepare(&self.topology, &mut *admin, kept, replication, timeout)?;
            shape.write(&mut *admin)?;
            Ok(layout)
        })?;
        let parts = Parts {
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
