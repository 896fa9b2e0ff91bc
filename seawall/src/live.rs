//! The policy that is in force, and the way of each call by it.

mod plan;
mod snapshot;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use seawall_circuit_breaker::AdmitService;
use seawall_core::{EndpointId, Reason, Rejection};
use seawall_load_balance::{Balancer, BalancerSnapshot, EndpointSet};
use tokio::{task::AbortHandle, time::sleep};
use tower_service::Service;

use self::plan::Plan;
use crate::{
    BuildError, Error,
    breakers::{Breaker, Breakers},
    call::Caller,
    fallback::{Degrade, Fallback},
    gate::{Entered, Gate},
    policy::{Bounds, Policy, PolicyError, Transport},
    pool::Pool,
    setup::Given,
    shutdown::End,
    way::Way,
};

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What calls of one service go through.
#[derive(Clone)]
pub(crate) struct Target<B> {
    pub(crate) service: Arc<str>,
    pub(crate) balancer: B,
    pub(crate) breakers: Breakers,
    /// What new endpoints are held to.
    pub(crate) bounds: Arc<ArcSwap<Bounds>>,
    /// Whose place the balancer took while they had calls under way.
    pub(crate) left: Vec<B>,
}

impl<B: Clone + Follow> Target<B> {
    /// Goes on from `before`, with other settings.
    fn take_over(&mut self, before: &Self) {
        self.balancer.take_over(&before.balancer);
        let left = before.left.iter().chain([&before.balancer]);
        self.left = left.filter(|balancer| balancer.in_flight() > 0).cloned().collect();
    }

    fn in_flight(&self) -> u64 {
        self.left.iter().chain([&self.balancer]).map(Follow::in_flight).sum()
    }
}

/// One call: who makes it, the way that it goes, and what comes in its place.
pub(crate) struct Call<B> {
    pub(crate) caller: Caller,
    way: Way<B>,
    fallback: Option<Arc<Fallback>>,
    /// The way to the service of the fallback.
    instead: Option<Way<B>>,
    /// Held to the beginning of the response; the endpoint counts the rest.
    _entered: Entered,
}

impl<B> Call<B> {
    /// Makes the call.
    pub(crate) async fn make<P>(
        mut self,
        protocol: &P,
        request: P::Request,
    ) -> Result<P::Answer, Error<P::Error>>
    where
        P: Degrade,
        P::Error: fmt::Display,
        Way<B>:
            Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        <Way<B> as Service<P::Attempt>>::Future: Send,
    {
        let Some(fallback) = &self.fallback else {
            return self.caller.call(protocol, &mut self.way, request).await.map(P::sent);
        };
        // Boxed, so that calls without a fallback stay small.
        let (way, instead) = (&mut self.way, self.instead);
        Box::pin(fallback.call(&self.caller, protocol, way, instead, request)).await
    }
}

/// Makes what calls of a service go through, by a policy.
type MakeTarget<B> =
    dyn Fn(&Arc<str>, &Policy, Option<&Target<B>>) -> Result<Target<B>, BuildError> + Send + Sync;

/// A policy in force, which another may replace while calls are running.
pub(crate) struct Live<B> {
    service: Arc<str>,
    plan: ArcSwap<Plan<B>>,
    transport: Transport,
    given: Given,
    make: Box<MakeTarget<B>>,
    gate: Arc<Gate>,
    /// One change at a time.
    changing: Mutex<()>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What has breakers and pools, which follow the policy.
pub(crate) trait Follow {
    fn breakers(&self) -> Vec<Breaker>;
    fn bound(&self, bounds: Bounds);
    fn endpoints(&self) -> EndpointSet;
    /// Goes on with what another one has of the same endpoints.
    fn take_over(&self, before: &Self);
    /// Attempts that have not ended.
    fn in_flight(&self) -> u64;
    fn balancer(&self) -> BalancerSnapshot;
    /// The breakers of the endpoints that have been called.
    fn breakers_of(&self) -> HashMap<EndpointId, Breaker>;
    fn eject(&self, id: &EndpointId, time: Duration) -> bool;
    fn uneject(&self, id: &EndpointId) -> bool;
}

impl<S, T, U, R> Follow for Balancer<AdmitService<Breaker, Pool<S>, T>, U, R>
where
    AdmitService<Breaker, Pool<S>, T>: Clone + Send + Sync + 'static,
    S: Clone,
{
    fn breakers(&self) -> Vec<Breaker> {
        self.services().into_iter().map(|(_, guarded)| guarded.admit().clone()).collect()
    }

    fn bound(&self, bounds: Bounds) {
        for (_, guarded) in self.services() {
            guarded.inner().follow(bounds);
        }
    }

    fn endpoints(&self) -> EndpointSet {
        self.set().clone()
    }

    fn take_over(&self, before: &Self) {
        self.take_over(before);
    }

    fn in_flight(&self) -> u64 {
        self.snapshot().endpoints.iter().map(|endpoint| endpoint.in_flight).sum()
    }

    fn balancer(&self) -> BalancerSnapshot {
        self.snapshot()
    }

    fn breakers_of(&self) -> HashMap<EndpointId, Breaker> {
        self.services().into_iter().map(|(id, guarded)| (id, guarded.admit().clone())).collect()
    }

    fn eject(&self, id: &EndpointId, time: Duration) -> bool {
        Balancer::eject(self, id, time)
    }

    fn uneject(&self, id: &EndpointId) -> bool {
        Balancer::uneject(self, id)
    }
}

impl<B: Clone + Follow + Send + Sync + 'static> Live<B> {
    pub(crate) fn new(
        service: &Arc<str>,
        policy: Policy,
        transport: Transport,
        given: Given,
        make: Box<MakeTarget<B>>,
    ) -> Result<Self, BuildError> {
        policy.check()?;
        policy.check_for(transport)?;
        let plan = Plan::new(service, policy, &given, None, &*make)?;
        plan.keep_settings();
        Ok(Self {
            service: service.clone(),
            plan: ArcSwap::from_pointee(plan),
            transport,
            given,
            make,
            gate: Arc::default(),
            changing: Mutex::new(()),
            tasks: Mutex::new(Vec::new()),
        })
    }

    /// How a call is made, and the way that it goes.
    ///
    /// # Errors
    ///
    /// The client is shut down.
    pub(crate) fn call(&self, method: &str, path: &str) -> Result<Call<B>, Rejection> {
        let shut_down = || Rejection::new(Reason::ShutDown).by(self.service.clone());
        let entered = self.gate.enter().ok_or_else(shut_down)?;
        self.plan.load().call(method, path, entered).ok_or_else(shut_down)
    }

    pub(crate) fn policy(&self) -> Policy {
        self.plan.load().policy.clone()
    }

    /// Puts `policy` in force, or leaves all as it was.
    pub(crate) fn apply(&self, policy: Policy) -> Result<(), BuildError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.plan.load_full();
        if now.targets.is_empty() {
            return Err(BuildError::ShutDown);
        }
        if now.policy == policy {
            return Ok(());
        }
        policy.check()?;
        policy.check_for(self.transport)?;
        now.policy.check_change(&policy)?;
        let plan = Plan::new(&self.service, policy, &self.given, Some(&now), &*self.make)?;
        // Nothing below can fail.
        for target in &plan.targets {
            if now.targets.iter().any(|known| known.service == target.service) {
                target.breakers.follow(&plan.policy, target.balancer.breakers());
                // Endpoints that come meanwhile have the new bounds already.
                let bounds = plan.policy.bounds(self.transport);
                target.bounds.store(Arc::new(bounds));
                target.balancer.bound(bounds);
            }
        }
        plan.keep_settings();
        self.plan.store(Arc::new(plan));
        Ok(())
    }

    /// Puts what the file at `path` says in force whenever it changes, until the last clone of the
    /// client is gone. Every change is told to `tell`, and so is why one was refused.
    pub(crate) fn follow_file(
        self: &Arc<Self>,
        path: PathBuf,
        tell: impl Fn(Result<(), PolicyError>) + Send + 'static,
    ) {
        let live = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            let mut last = None;
            loop {
                let text =
                    tokio::fs::read_to_string(&path).await.map_err(|error| error.to_string());
                if last.as_ref() != Some(&text) {
                    let Some(live) = Weak::upgrade(&live) else { return };
                    let told = live.take_over(&path, &text);
                    drop(live);
                    if let Some(told) = told {
                        tell(told);
                    }
                    last = Some(text);
                }
                sleep(LOOK).await;
            }
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task.abort_handle());
    }

    /// What became of a new text, if it was new.
    fn take_over(
        &self,
        path: &std::path::Path,
        text: &Result<String, String>,
    ) -> Option<Result<(), PolicyError>> {
        let read = match text {
            Ok(text) => Policy::from_text(path, text),
            Err(error) => Err(PolicyError::new("", format!("{}: {error}", path.display()))),
        };
        match read {
            Ok(policy) if policy == self.plan.load().policy => None,
            Ok(policy) => Some(self.apply(policy).map_err(|error| match error {
                BuildError::Config(error) => error.into(),
                error => PolicyError::new("", error.to_string()),
            })),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<B: Clone + Follow + Send + Sync + 'static> End for Live<B> {
    fn close(&self) -> u64 {
        // In this order: a call is at an endpoint before it leaves the gate.
        let entered = self.gate.close();
        let plan = self.plan.load();
        entered + plan.targets.iter().map(Target::in_flight).sum::<u64>()
    }

    fn end(&self) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.plan.store(Arc::new(self.plan.load().without_targets()));
        self.stop();
    }
}

impl<B> Live<B> {
    fn stop(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl<B> Drop for Live<B> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<B> fmt::Debug for Live<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("policy", &self.plan.load().policy).finish_non_exhaustive()
    }
}
