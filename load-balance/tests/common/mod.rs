//! What the tests share: endpoints, and balancers over scripted services.
#![allow(dead_code, clippy::unwrap_used, reason = "tests, each of which uses its own part")]

use std::{collections::HashMap, io, sync::Arc};

use seawall_core::Endpoint;
use seawall_load_balance::{Balancer, EndpointSet, EndpointSnapshot};
use seawall_test_support::{Probe, ProbeHandle, Reply};

/// Answers with the id of the endpoint.
pub(crate) type Echo<E = io::Error> = Probe<u32, String, E>;

pub(crate) fn endpoint(id: &str) -> Endpoint {
    Endpoint::new(id, "127.0.0.1:1".parse().unwrap())
}

pub(crate) fn endpoints(count: usize) -> EndpointSet {
    (0..count).map(|number| endpoint(&format!("e{number:06}"))).collect()
}

/// A scripted service for each endpoint, which are made beforehand so that a test has their handles.
pub(crate) struct Probes<E = io::Error> {
    probes: Arc<HashMap<String, Echo<E>>>,
}

impl<E: Send + 'static> Probes<E> {
    pub(crate) fn new<F>(ids: &[&str], mut reply: F) -> Self
    where
        F: FnMut(&str) -> Box<dyn FnMut(u32) -> Reply<String, E> + Send>,
    {
        let probes = ids.iter().map(|id| ((*id).to_owned(), Probe::new(reply(id)))).collect();
        Self { probes: Arc::new(probes) }
    }

    pub(crate) fn set(&self) -> EndpointSet {
        self.probes.keys().map(|id| endpoint(id)).collect()
    }

    pub(crate) fn make(
        &self,
    ) -> impl Fn(&Endpoint) -> Result<Echo<E>, io::Error> + Send + Sync + 'static + use<E> {
        let probes = self.probes.clone();
        move |endpoint| {
            let probe = probes.get(endpoint.id().as_str()).cloned();
            probe.ok_or_else(|| io::Error::other("no such endpoint"))
        }
    }

    pub(crate) fn handle(&self, id: &str) -> ProbeHandle {
        self.probes[id].handle()
    }

    pub(crate) fn assert_idle(&self) {
        self.probes.values().for_each(|probe| probe.handle().assert_idle());
    }
}

impl Probes {
    /// Each answers at once with its own id.
    pub(crate) fn echo(ids: &[&str]) -> Self {
        Self::new(ids, |id| {
            let id = id.to_owned();
            Box::new(move |_| Reply::ok(id.clone()))
        })
    }

    /// Each answers with its own id once it is released.
    pub(crate) fn held(ids: &[&str]) -> Self {
        Self::new(ids, |id| {
            let id = id.to_owned();
            Box::new(move |_| Reply::Held(Ok(id.clone())))
        })
    }
}

pub(crate) fn of<S, T, R>(balancer: &Balancer<S, T, R>, id: &str) -> EndpointSnapshot
where
    S: Clone + Send + Sync + 'static,
{
    let snapshot = balancer.snapshot();
    snapshot.endpoints.into_iter().find(|endpoint| endpoint.id.as_str() == id).unwrap()
}
