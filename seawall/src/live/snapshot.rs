//! What a client looks like, and what can be done to it by hand.

use std::sync::Arc;

use seawall_circuit_breaker::State;

use super::{Follow, Live, Target};
use crate::{
    act::{Act, Action, Refused},
    call::Caller,
    limit::Limit,
    snapshot::{EndpointSnapshot, MethodSnapshot, RouteSnapshot, ServiceSnapshot, Snapshot},
};

impl<B: Clone + Follow + Send + Sync + 'static> Live<B> {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let plan = self.plan.load();
        let base = &plan.rest.caller;
        let route = |(name, caller): (String, &Caller)| RouteSnapshot {
            name,
            limiter: other(&base.limit, &caller.limit).map(Limit::snapshot),
            budget: other(&Some(base.budget.clone()), &Some(caller.budget.clone()))
                .map(|budget| budget.snapshot()),
            hedge: other(&base.hedging, &caller.hedging).map(|hedging| hedging.snapshot()),
        };
        Snapshot {
            service: self.service.to_string(),
            version: plan.version,
            shut_down: plan.targets.is_empty(),
            services: plan.targets.iter().map(service).collect(),
            endpoints: plan.targets.iter().flat_map(endpoints).collect(),
            methods: plan.targets.iter().flat_map(methods).collect(),
            limiter: base.limit.as_deref().map(Limit::snapshot),
            budget: base.budget.snapshot(),
            hedge: base.hedging.as_ref().map(|hedging| hedging.snapshot()),
            fallbacks: self.given.fallbacks.snapshot(),
            throttle: base.throttle.as_ref().map(|throttle| throttle.snapshot()),
            routes: plan.callers().map(route).collect(),
            policy: plan.policy.clone(),
        }
    }
}

/// What a route has of its own.
fn other<'a, T>(base: &Option<Arc<T>>, own: &'a Option<Arc<T>>) -> Option<&'a T> {
    let same = |own: &Arc<T>| base.as_ref().is_some_and(|base| Arc::ptr_eq(base, own));
    own.as_ref().filter(|own| !same(own)).map(|own| &**own)
}

fn service<B: Follow>(target: &Target<B>) -> ServiceSnapshot {
    let balancer = target.balancer.balancer();
    ServiceSnapshot {
        name: target.service.to_string(),
        source: balancer.source,
        panicking: balancer.panicking,
    }
}

fn endpoints<B: Follow>(target: &Target<B>) -> Vec<EndpointSnapshot> {
    let breakers = target.balancer.breakers_of();
    let of = |endpoint: seawall_load_balance::EndpointSnapshot| {
        let breaker = breakers.get(&endpoint.id).and_then(|breaker| breaker.one());
        let breaker = breaker.map(|breaker| breaker.snapshot());
        EndpointSnapshot {
            service: target.service.to_string(),
            id: endpoint.id,
            address: endpoint.address,
            standing: endpoint.state,
            weight: endpoint.weight,
            share: endpoint.share,
            in_flight: endpoint.in_flight,
            calls: endpoint.calls,
            errors: endpoint.failures,
            abandoned: endpoint.abandoned,
            latency: endpoint.latency,
            ejections: endpoint.ejections,
            ejected_for: endpoint.ejected_for,
            state: breaker.map_or(State::Closed, |breaker| breaker.state).as_str(),
            mode: breaker.map(|breaker| breaker.mode).unwrap_or_default(),
            next_probe_in: breaker.and_then(|breaker| breaker.next_probe_in),
        }
    };
    target.balancer.balancer().endpoints.into_iter().map(of).collect()
}

fn methods<B>(target: &Target<B>) -> Vec<MethodSnapshot> {
    let of = |(method, breaker): (String, seawall_circuit_breaker::CircuitBreaker)| {
        let breaker = breaker.snapshot();
        MethodSnapshot {
            service: target.service.to_string(),
            method,
            state: breaker.state.as_str(),
            next_probe_in: breaker.next_probe_in,
        }
    };
    target.breakers.methods().into_iter().map(of).collect()
}

impl<B: Clone + Follow + Send + Sync + 'static> Act for Live<B> {
    #[cfg(feature = "admin")]
    fn snapshot(&self) -> Snapshot {
        self.snapshot()
    }

    fn act(&self, service: &str, endpoint: &str, action: Action) -> Result<(), Refused> {
        let plan = self.plan.load();
        let target = plan.targets.iter().find(|target| *target.service == *service);
        let target = target.ok_or(Refused::Unknown)?;
        let (balancer, id) = (&target.balancer, endpoint.into());
        if !balancer.endpoints().endpoints().iter().any(|endpoint| *endpoint.id() == id) {
            return Err(Refused::Unknown);
        }
        let breaker = || {
            let breakers = balancer.breakers_of();
            breakers.get(&id).and_then(|breaker| breaker.one()).cloned().ok_or(Refused::NoBreaker)
        };
        let done = match action {
            Action::OpenBreaker => return breaker().map(|breaker| breaker.force_open()),
            Action::CloseBreaker => return breaker().map(|breaker| breaker.force_closed()),
            Action::FreeBreaker => return breaker().map(|breaker| breaker.automatic()),
            Action::Eject(time) => balancer.eject(&id, time),
            Action::Uneject => balancer.uneject(&id),
            Action::Drain => balancer.endpoints().drain(&id),
            Action::Undrain => balancer.endpoints().undrain(&id),
        };
        if done { Ok(()) } else { Err(Refused::NoChange) }
    }
}
