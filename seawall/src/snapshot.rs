//! What a client looks like from outside.

use std::time::Duration;

use seawall_circuit_breaker::{Mode, throttle};
use seawall_core::{Address, EndpointId, duration};
use seawall_load_balance::{EndpointState, Source};
use serde::Serialize;

use crate::{FallbackSnapshot, policy::Policy};

/// A resilient client at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The service that it calls.
    pub service: String,
    /// Counts the policies that were put in force, from 1.
    pub version: u64,
    /// It was shut down and has no endpoints any more.
    pub shut_down: bool,
    /// The services that it calls: its own first, then those that its routes name.
    pub services: Vec<ServiceSnapshot>,
    /// Its endpoints, and those of the services that its routes name, each ordered by id.
    pub endpoints: Vec<EndpointSnapshot>,
    /// The breakers of methods, ordered by service and method, where each method has one.
    pub methods: Vec<MethodSnapshot>,
    /// Its rate limit, if the policy has one.
    pub limiter: Option<LimiterSnapshot>,
    /// What it may spend on retries.
    pub budget: BudgetSnapshot,
    /// Its hedges, if the policy has them.
    pub hedge: Option<HedgeSnapshot>,
    /// How often it gave something in place of a call that had failed for good.
    pub fallbacks: FallbackSnapshot,
    /// Its throttle, if the policy has one.
    pub throttle: Option<throttle::Snapshot>,
    /// What its routes have of their own.
    pub routes: Vec<RouteSnapshot>,
    /// The policy in force.
    pub policy: Policy,
}

/// One of the services that a client calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServiceSnapshot {
    /// Its name.
    pub name: String,
    /// Where its endpoints come from, and whether they still do.
    pub source: Source,
    /// So few endpoints are well that those that are not are used again.
    pub panicking: bool,
}

/// What a route has of its own; `None` where it shares what the client has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RouteSnapshot {
    /// Its name, or its place among the routes.
    pub name: String,
    /// Its rate limit.
    pub limiter: Option<LimiterSnapshot>,
    /// What it may spend on retries.
    pub budget: Option<BudgetSnapshot>,
    /// Its hedges.
    pub hedge: Option<HedgeSnapshot>,
}

/// A budget for further attempts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BudgetSnapshot {
    /// The share of the calls that may be spent, in percent.
    pub percent: u32,
    /// What may be spent in each second besides.
    pub min_per_second: u32,
    /// The calls of the last ten seconds.
    pub calls: u64,
    /// What was spent in the last ten seconds.
    pub spent: u64,
    /// The attempts that it paid for since it began.
    pub granted: u64,
    /// The attempts that it did not pay for since it began.
    pub refused: u64,
}

/// Hedging at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HedgeSnapshot {
    /// After how long a second attempt is sent; `None` until enough calls were seen.
    #[serde(with = "duration::option")]
    pub delay: Option<Duration>,
    /// What it may spend.
    pub budget: BudgetSnapshot,
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
    /// How it stands with the balancer.
    pub standing: EndpointState,
    /// Its share of the calls, relative to the others.
    pub weight: u16,
    /// The part of its weight that it has now, from 0 to 1: less in slow start, 0 while it is out.
    pub share: f64,
    /// Attempts that are under way.
    pub in_flight: u64,
    /// Attempts that went to it.
    pub calls: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Attempts that were given up: by their time-out, or by the caller.
    pub abandoned: u64,
    /// Its recent latency, where the rule of the balancer goes by it (`peak_ewma`).
    #[serde(with = "duration::option")]
    pub latency: Option<Duration>,
    /// How often the balancer ejected it.
    pub ejections: u64,
    /// How long it stays ejected, if it is.
    #[serde(with = "duration::option")]
    pub ejected_for: Option<Duration>,
    /// The state of its breaker: `closed`, `open` or `half_open`; closed before its first call.
    pub state: &'static str,
    /// Who decides over its breaker.
    pub mode: Mode,
    /// How long until its breaker lets a probe through, while it is open.
    #[serde(with = "duration::option")]
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
    #[serde(with = "duration::option")]
    pub next_probe_in: Option<Duration>,
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
