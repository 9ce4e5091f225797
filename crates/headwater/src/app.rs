//! The application, on the log that its configuration names.

use std::future::Future;
use std::sync::Arc;

use runtime::transport::Transport;
use runtime::{AppError, Config, StatusHandle};
use streams_core::{StoreProvider, Topology};

use crate::connect::connect;

/// An application: a topology with a configuration.
///
/// [`run`](App::run) waits for the log, checks and creates topics, joins the group, processes, and
/// stops gracefully when asked to. If it fails, its error names the record or step.
pub struct App {
    /// `run` returns the error, so that creating an application cannot fail.
    app: Result<runtime::App, AppError>,
    status: StatusHandle,
}

impl App {
    /// An application on the log that `config.broker` names.
    pub fn new(topology: Topology, config: Config) -> Self {
        let transport = connect(&config);
        Self::of(transport.map(|transport| runtime::App::new(topology, config, transport)))
    }

    /// An application on your own transport; `config.broker` is only its name.
    pub fn with_transport(
        topology: Topology,
        config: Config,
        transport: Arc<dyn Transport>,
    ) -> Self {
        Self::of(Ok(runtime::App::new(topology, config, transport)))
    }

    fn of(app: Result<runtime::App, AppError>) -> Self {
        let status = app.as_ref().map(runtime::App::status).unwrap_or_default();
        Self { app, status }
    }

    /// Keeps tables in your own stores instead of those that the configuration names.
    #[must_use]
    pub fn with_stores(self, stores: Arc<dyn StoreProvider>) -> Self {
        Self { app: self.app.map(|app| app.with_stores(stores)), ..self }
    }

    /// A handle to what the application is doing.
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Runs until `shutdown` completes, then stops gracefully: commits, closes tables, leaves the
    /// group. Must be called on a tokio runtime; processing uses its own threads.
    ///
    /// # Errors
    /// See [`AppError`]. Uncommitted work is repeated at the next start.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AppError> {
        let app = self.app.inspect_err(|error| self.status.failed(error))?;
        app.run(shutdown).await
    }
}
