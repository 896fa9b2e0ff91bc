//! What a client looks like from outside.

use std::{collections::HashMap, time::Duration};

use seawall_circuit_breaker::{AdmitService, State};
use seawall_core::{Address, EndpointId};
use seawall_load_balance::Balancer;
use serde::Serialize;

use crate::{breakers::Breaker, limit::Limit, live::Target};

/// A resilient client at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The service that it calls.
    pub service: String,
    /// Its endpoints, and those of the services that its routes name, each ordered by id.
    pub endpoints: Vec<EndpointSnapshot>,
    /// The breakers of methods, ordered by service and method, where each method has one.
    pub methods: Vec<MethodSnapshot>,
    /// Its rate limit, if the policy has one.
    pub limiter: Option<LimiterSnapshot>,
}

/// One endpoint of a client at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// The service that it belongs to.
    pub service: String,
    /// What identifies it.
    pub id: EndpointId,
    /// Where it listens.
    pub address: Address,
    /// Its share of the calls, relative to the others.
    pub weight: u16,
    /// Attempts that are under way.
    pub in_flight: u64,
    /// Attempts that went to it.
    pub calls: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Attempts that were given up: by their time-out, or by the caller.
    pub abandoned: u64,
    /// How often the balancer ejected it.
    pub ejections: u64,
    /// How long it stays ejected, if it is.
    pub ejected_for: Option<Duration>,
    /// The state of its breaker: `closed`, `open` or `half_open`; closed before its first call.
    pub state: &'static str,
    /// How long until its breaker lets a probe through, while it is open.
    pub next_probe_in: Option<Duration>,
}

/// The breaker of a method at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MethodSnapshot {
    /// The service that it belongs to.
    pub service: String,
    /// The path of the gRPC method, or the matches of the HTTP route.
    pub method: String,
    /// Its state: `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// How long until it lets a probe through, while it is open.
    pub next_probe_in: Option<Duration>,
}

type Guarded<S, T, U, R> = Balancer<AdmitService<Breaker, S, T>, U, R>;

impl Snapshot {
    /// The client as its balancer, its breakers and its limit see it.
    pub(crate) fn of<S, T, U, R>(
        service: &str,
        targets: &[Target<Guarded<S, T, U, R>>],
        limit: Option<&Limit>,
    ) -> Self
    where
        AdmitService<Breaker, S, T>: Clone + Send + Sync + 'static,
    {
        let endpoints = targets.iter().flat_map(|target| {
            let guarded: HashMap<_, _> = target.balancer.services().into_iter().collect();
            let service = target.service.clone();
            target.balancer.snapshot().endpoints.into_iter().map(move |endpoint| {
                let guarded = guarded.get(&endpoint.id);
                let breaker = guarded.and_then(|guarded| guarded.admit().one());
                let breaker = breaker.map(|breaker| breaker.snapshot());
                EndpointSnapshot {
                    service: service.to_string(),
                    id: endpoint.id,
                    address: endpoint.address,
                    weight: endpoint.weight,
                    in_flight: endpoint.in_flight,
                    calls: endpoint.calls,
                    errors: endpoint.failures,
                    abandoned: endpoint.abandoned,
                    ejections: endpoint.ejections,
                    ejected_for: endpoint.ejected_for,
                    state: breaker.map_or(State::Closed, |breaker| breaker.state).as_str(),
                    next_probe_in: breaker.and_then(|breaker| breaker.next_probe_in),
                }
            })
        });
        let limiter = limit.map(Limit::snapshot);
        let methods = targets.iter().flat_map(|target| {
            target.breakers.methods().into_iter().map(|(method, breaker)| {
                let breaker = breaker.snapshot();
                MethodSnapshot {
                    service: target.service.to_string(),
                    method,
                    state: breaker.state.as_str(),
                    next_probe_in: breaker.next_probe_in,
                }
            })
        });
        Self {
            service: service.to_owned(),
            endpoints: endpoints.collect(),
            methods: methods.collect(),
            limiter,
        }
    }
}

/// A client's rate limit at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LimiterSnapshot {
    /// Calls that were within the limit.
    pub allowed: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// Of these two, those that were decided without Redis, which did not answer.
    pub degraded: u64,
}
