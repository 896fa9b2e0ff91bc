//! How the endpoints of a balancer are doing.

use std::{sync::Arc, time::Duration};

use seawall_core::{Address, EndpointId, Health};

use crate::{members::Entry, set::Source, shared::Shared};

/// A balancer at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BalancerSnapshot {
    /// All endpoints of the set, ordered by id.
    pub endpoints: Vec<EndpointSnapshot>,
    /// So few endpoints are well that ejected and critical ones are used again.
    pub panicking: bool,
    /// Where the set's changes come from, and whether they still do.
    pub source: Source,
}

/// One endpoint at one moment. Counts are since it came into the set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// What identifies it.
    pub id: EndpointId,
    /// Where it listens.
    pub address: Address,
    /// Its weight in the set.
    pub weight: u16,
    /// The part of its weight that it has now, from 0 to 1: less than 1 in slow start, 0 when it is
    /// ejected or its service cannot be made.
    pub share: f64,
    /// What the registry says of it.
    pub health: Health,
    /// It gets no new calls: weight 0, or in maintenance.
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
    pub latency: Option<Duration>,
    /// How often it was ejected.
    pub ejections: u64,
    /// How long it still stays ejected, if it is.
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
        Self { endpoints, panicking: shared.health.panicking(), source: shared.set.source() }
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
        Self {
            id: node.id().clone(),
            address: endpoint.address().clone(),
            weight: endpoint.weight(),
            share: if drained { 0.0 } else { shared.health.share(node, now) },
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
            admits: shared.admits(entry),
            construction_error: entry.link.error(),
        }
    }
}
