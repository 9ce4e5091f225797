//! An application that its caller turns by hand, instead of threads: for simulations.
//!
//! It has the same components as an application with threads, but the caller decides which of them
//! has a turn, and when. On a log that never waits, with a clock that stands still until it is
//! moved, the same turns give the same run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{StoreProvider, Topology};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::AppError;
use crate::instance::{Instance, InstanceParts};
use crate::local_state::InstanceIdentity;
use crate::messages::MemberMessage;
use crate::status::StatusHandle;
use crate::topics;
use crate::transport::Transport;
use crate::worker::Worker;

/// The parts of a [`ManualApp`].
pub struct ManualAppParts {
    /// What it runs.
    pub topology: Arc<Topology>,
    /// Its configuration. `instance_id` should be set; without one, it is `manual`.
    pub config: Config,
    /// Its log.
    pub transport: Arc<dyn Transport>,
    /// Where its tables are.
    pub stores: Arc<dyn StoreProvider>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

/// An application without threads. Dropping it is like the death of its process: it neither commits
/// nor leaves the group.
pub struct ManualApp {
    instance: Instance,
    status: StatusHandle,
    has_left: bool,
}

impl ManualApp {
    /// Checks and creates the topics, joins the group, opens the producers.
    ///
    /// # Errors
    /// As [`App::run`](crate::App::run), except that nothing is retried.
    pub fn start(parts: ManualAppParts) -> Result<Self, AppError> {
        let ManualAppParts { topology, config, transport, stores, clock } = parts;
        let config = config.checked()?;
        let metadata = {
            let mut admin = transport.admin()?;
            let kept = BTreeSet::new();
            let timeout = config.request_timeout;
            topics::prepare(&topology, &mut *admin, &kept, config.replication, timeout)?
        };
        let instance_id = config.instance_id.clone().unwrap_or_else(|| "manual".into());
        let status = StatusHandle::default();
        let mut instance = Instance::new(&InstanceParts {
            topology,
            config,
            transport,
            stores,
            clock,
            status: status.clone(),
            identity: InstanceIdentity { instance_id, is_kept: true },
            metadata,
        })?;
        instance.workers.iter_mut().try_for_each(Worker::start)?;
        Ok(Self { instance, status, has_left: false })
    }

    /// How many components there are to turn.
    pub fn components(&self) -> usize {
        let Instance { restorers, workers, globals, .. } = &self.instance;
        1 + restorers.len() + workers.len() + usize::from(globals.is_some())
    }

    /// Gives one of the components a turn: 0 is the member, then come the restorers, the workers,
    /// and the reader of global tables. Never waits.
    ///
    /// # Errors
    /// The application has failed: drop it.
    pub fn turn(&mut self, component: usize) -> Result<(), AppError> {
        let Some(component) = component.checked_sub(1) else { return self.turn_member() };
        let Instance { restorers, workers, globals, .. } = &mut self.instance;
        if let Some(restorer) = restorers.get_mut(component) {
            return restorer.turn(Duration::ZERO);
        }
        match (workers.get_mut(component - restorers.len()), globals) {
            (Some(worker), _) => worker.turn(Duration::ZERO),
            (None, Some(globals)) => globals.turn(Duration::ZERO),
            (None, None) => Ok(()),
        }
    }

    fn turn_member(&mut self) -> Result<(), AppError> {
        if !self.has_left {
            self.has_left = !self.instance.member.turn(Duration::ZERO)?;
            if self.has_left {
                self.status.ended(None);
            }
        }
        Ok(())
    }

    /// Describes what takes more memory than its bound allows, if anything does.
    pub fn exceeded_bound(&self) -> Option<String> {
        self.instance.workers.iter().find_map(Worker::exceeded_bound)
    }

    /// Asks for a graceful stop; [`has_left`](Self::has_left) says when it is done.
    pub fn stop(&self) {
        let _ = self.instance.to_member.send(MemberMessage::Stop);
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
