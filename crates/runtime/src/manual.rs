//! An application that is turned by hand instead of by threads: for simulations.
//!
//! It is made of the same components as one that runs; only who calls them, and when, is left to
//! the caller. On a log that never waits, with a clock that stands still until it is moved, the
//! same turns give the same run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{StoreProvider, Topology};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::AppError;
use crate::instance::{Instance, InstanceIdentity, InstanceParts};
use crate::member::MemberMessage;
use crate::status::StatusHandle;
use crate::topics;
use crate::transport::Transport;

/// What an application that is turned by hand works with.
pub struct ManualAppParts {
    /// What it runs.
    pub topology: Arc<Topology>,
    /// Its configuration; `instance_id` must be set.
    pub config: Config,
    /// Its log.
    pub transport: Arc<dyn Transport>,
    /// Where its tables are.
    pub stores: Arc<dyn StoreProvider>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

/// An application without threads. Dropping it is the end of its process: no goodbye, no commit.
pub struct ManualApp {
    instance: Instance,
    status: StatusHandle,
    has_left: bool,
}

impl ManualApp {
    /// Checks and creates the topics, joins the group, makes the producers.
    ///
    /// # Errors
    /// As [`App::run`](crate::App::run), but that nothing is tried again at the start.
    pub fn start(parts: ManualAppParts) -> Result<Self, AppError> {
        let ManualAppParts { topology, config, transport, stores, clock } = parts;
        let config = config.checked()?;
        let layout = {
            let mut admin = transport.admin()?;
            let timeout = config.request_timeout;
            topics::prepare(&topology, &mut *admin, &BTreeSet::new(), config.replication, timeout)?
        };
        let instance_id = config.instance_id.clone().unwrap_or_else(|| "stepped".into());
        let identity = InstanceIdentity { instance_id, is_kept: true };
        let status = StatusHandle::default();
        let parts = InstanceParts {
            topology,
            config,
            transport,
            stores,
            clock,
            status: status.clone(),
            identity,
            layout,
        };
        let mut instance = Instance::new(&parts)?;
        instance.workers.iter_mut().try_for_each(crate::worker::Worker::start)?;
        Ok(Self { instance, status, has_left: false })
    }

    /// How many components there are to turn.
    pub fn components(&self) -> usize {
        let Instance { restorers, workers, globals, .. } = &self.instance;
        1 + restorers.len() + workers.len() + usize::from(globals.is_some())
    }

    /// Gives one of the components, numbered from 0, its turn. Nothing waits.
    ///
    /// # Errors
    /// What ends the application: drop it.
    pub fn turn(&mut self, component: usize) -> Result<(), AppError> {
        let Instance { member, restorers, workers, globals, .. } = &mut self.instance;
        let Some(component) = component.checked_sub(1) else {
            if !self.has_left {
                self.has_left = !member.turn(Duration::ZERO)?;
                if self.has_left {
                    self.status.ended(None);
                }
            }
            return Ok(());
        };
        if let Some(restorer) = restorers.get_mut(component) {
            return restorer.turn(Duration::ZERO);
        }
        match (workers.get_mut(component - restorers.len()), globals) {
            (Some(worker), _) => worker.turn(Duration::ZERO),
            (None, Some(globals)) => globals.turn(Duration::ZERO),
            (None, None) => Ok(()),
        }
    }

    /// How much it holds in memory that has a bound, and what the bound is, if it is beyond.
    pub fn beyond_its_bounds(&self) -> Option<String> {
        let workers = &self.instance.workers;
        workers.iter().find_map(crate::worker::Worker::beyond_its_bounds)
    }

    /// Asks for a graceful stop; [`has_left`](Self::has_left) says when it is done.
    pub fn stop(&self) {
        let _ = self.instance.notices.send(MemberMessage::Stop);
    }

    /// Whether it has stopped gracefully.
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    /// What it is doing.
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }
}
