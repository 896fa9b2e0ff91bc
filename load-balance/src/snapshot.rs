//! How the endpoints of a balancer are doing.

use std::{sync::Arc, time::Duration};

use seawall_core::{Address, EndpointId, Health};

use crate::{RouteSnapshot, members::Entry, set::Source, shared::Shared, tiers::Tiers};

/// A balancer at one moment.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BalancerSnapshot {
    /// All endpoints of the set, ordered by id.
    pub endpoints: Vec<EndpointSnapshot>,
    /// So few endpoints are well, where the set is in parts those of a part that gets calls, that
    /// ejected and critical ones are used again.
    pub panicking: bool,
    /// What each part of the set gets; none where it is not in parts.
    pub routes: Vec<RouteSnapshot>,
    /// Where the set's changes come from, and whether they still do.
    pub source: Source,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EndpointState {
    /// With all of its share.
    In,
    /// In slow start, with a part of its share.
    Warming,
    /// Ejected for its failures.
    Ejected,
    /// Left alone because it asked for it.
    Resting,
    /// Its active checks fail, or have not passed yet.
    CheckFailing,
    /// The connection to it is being made, see [`ConfigBuilder::warm_up`](crate::ConfigBuilder).
    Connecting,
    /// Its registry says that it does not work.
    Critical,
    /// Its service cannot be made.
    Broken,
    /// Its service would refuse a call, or try one to find out.
    Refusing,
    /// Without new calls: weight 0, or in maintenance.
    Drained,
}

/// One endpoint at one moment. Counts are since it came into the set.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// What identifies it.
    pub id: EndpointId,
    /// Where it listens.
    pub address: Address,
    /// How it stands.
    pub state: EndpointState,
    /// How long it has stood so, to the last change of any of its states.
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    pub state_for: Duration,
    /// Its weight in the set.
    pub weight: u16,
    /// Its weight times the share that it has now.
    pub effective_weight: f64,
    /// How loaded it is, as the policy sees it: calls in flight, or for
    /// [`Policy::PeakEwma`](crate::Policy::PeakEwma) one more of them times the latency in
    /// nanoseconds.
    pub load: f64,
    /// The part of its weight that it has now, from 0 to 1: less than 1 in slow start, 0 when it is
    /// ejected or its service cannot be made.
    pub share: f64,
    /// What the registry says of it.
    pub health: Health,
    /// It gets no new calls: weight 0, in maintenance, or outside of the client's
    /// [`Subset`](crate::Subset).
    pub drained: bool,
    /// Calls that have begun and not ended.
    pub in_flight: u64,
    /// Calls to it, be they attempts of the same call.
    pub calls: u64,
    /// Calls that ended well.
    pub successes: u64,
    /// Calls that failed, and services that could not be made.
    pub failures: u64,
    /// Calls whose callers gave up on them, as a time-out does, whether or not ejection counts them.
    pub abandoned: u64,
    /// Its latency as [`Policy::PeakEwma`](crate::Policy::PeakEwma) knows it; `None` for other
    /// policies, and before the first answer.
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration::option"))]
    pub latency: Option<Duration>,
    /// How often it was ejected.
    pub ejections: u64,
    /// How long it still stays ejected, if it is.
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration::option"))]
    pub ejected_for: Option<Duration>,
    /// Whether its service would take a call, as far as it says.
    pub admits: bool,
    /// Why its service could not be made, if it could not.
    pub construction_error: Option<Arc<str>>,
}

impl BalancerSnapshot {
    pub(crate) fn of<S: Clone + Send + Sync + 'static>(shared: &Shared<S>) -> Self {
        let members = shared.load();
        let live = members.entries.iter().map(|entry| (entry, false));
        let drained = members.drained.iter().map(|entry| (entry, true));
        let mut endpoints: Vec<_> = live
            .chain(drained)
            .map(|(entry, drained)| EndpointSnapshot::of(entry, drained, shared))
            .collect();
        endpoints.sort_by(|a, b| a.id.cmp(&b.id));
        let route = |tiers: &Tiers| tiers.snapshot(&members.entries, &shared.health);
        let routes = members.tiers.as_ref().map(route).unwrap_or_default();
        Self {
            endpoints,
            routes,
            panicking: shared.health.panicking(),
            source: shared.set.source(),
        }
    }
}

impl EndpointSnapshot {
    fn of<S: Clone + Send + Sync + 'static>(
        entry: &Entry<S>,
        drained: bool,
        shared: &Shared<S>,
    ) -> Self {
        let (node, endpoint) = (&entry.node, entry.node.endpoint());
        let totals = node.totals();
        let now = shared.clock().now();
        let share = if drained { 0.0 } else { shared.health.share(node, now) };
        Self {
            id: node.id().clone(),
            address: endpoint.address().clone(),
            state: if drained { EndpointState::Drained } else { node.state().describe(now) },
            state_for: now.saturating_since(node.record().since()),
            weight: endpoint.weight(),
            effective_weight: f64::from(endpoint.weight()) * share,
            load: match shared.health.costs() {
                None => totals.in_flight as f64,
                Some(costs) => (totals.in_flight as f64 + 1.0) * f64::from(costs.of(node)),
            },
            share,
            health: endpoint.health(),
            drained,
            in_flight: totals.in_flight,
            calls: totals.calls,
            successes: totals.successes,
            failures: totals.failures,
            abandoned: totals.abandoned,
            latency: node.latency().last().map(|nanos| Duration::from_nanos(nanos as u64)),
            ejections: node.record().ejections(),
            ejected_for: node.state().ejected_for(now),
            admits: shared.admission(entry).admits(),
            construction_error: entry.link.error(),
        }
    }
}
