//! The calls of a stream in the topology, which are started once for each task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::in_flight::InFlight;
use super::{Async, Call};
use crate::agent::{AgentRunner, Running, StartedFor};
use crate::error::BoxError;
use crate::intake::RawChain;
use crate::receive::Port;
use crate::record::{RawRecord, Timestamp};

pub(super) type Calling<V> = Pin<Box<dyn Future<Output = Result<V, BoxError>> + Send>>;

pub(super) type Function<K, V, V2> = dyn Fn(Call<K, V>) -> Calling<V2> + Send + Sync;

pub(crate) struct CallsRunner<K, V, V2> {
    pub(super) name: Arc<str>,
    pub(super) settings: Async,
    pub(super) intake: Arc<RawChain<K, V>>,
    pub(super) function: Arc<Function<K, V, V2>>,
    pub(super) results: Port<K, V2>,
}

impl<K, V, V2> CallsRunner<K, V, V2>
where
    K: Send + 'static,
    V: Send + 'static,
    V2: Send + 'static,
{
    pub(crate) fn new<F, Fut, E>(
        name: Arc<str>,
        settings: Async,
        intake: RawChain<K, V>,
        results: Port<K, V2>,
        function: F,
    ) -> Self
    where
        F: Fn(Call<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V2, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let function = Arc::new(move |call| {
            let result = function(call);
            Box::pin(async move { result.await.map_err(Into::into) }) as Calling<V2>
        });
        Self { name, settings, intake: Arc::new(intake), function, results }
    }
}

impl<K, V, V2> AgentRunner for CallsRunner<K, V, V2>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    V2: Send + 'static,
{
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn start(&self, task: &StartedFor) -> Box<dyn Running> {
        Box::new(InFlight::new(self, task))
    }

    fn limit(&self) -> Option<Duration> {
        None
    }

    fn feeds_operators(&self) -> bool {
        true
    }

    fn is_concurrent(&self) -> bool {
        true
    }

    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp> {
        self.intake.event_time(record)
    }

    fn extracts_times(&self) -> bool {
        self.intake.extracts_times()
    }
}
