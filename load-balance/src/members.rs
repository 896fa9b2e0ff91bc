//! One snapshot of the endpoints, as a pick sees it.

use std::{any::Any, sync::Arc};

use seawall_core::{Endpoint, EndpointId, Health as Registered, Instant};

use crate::{
    Policy, Roster, Subset,
    area::Area,
    health::Health,
    link::Link,
    node::Node,
    pick::{
        Table,
        place::{Placed, Placement},
    },
    route::Routes,
    rule::Listed,
    set::Batch,
    shared::Turn,
    tiers::{Before, Tiers},
};

/// The endpoints of a balancer at one moment. Each list is ordered by id.
pub(crate) struct Members<S> {
    /// Those that may be picked.
    pub(crate) entries: Vec<Entry<S>>,
    /// Those of weight 0, those in maintenance and those outside of the subset: no new calls.
    pub(crate) drained: Vec<Entry<S>>,
    pub(crate) table: Table,
    pub(crate) placement: Placement,
    /// The parts that the entries are in, where they are not all one.
    pub(crate) tiers: Option<Tiers>,
    /// The sum of the weights.
    pub(crate) weights: u64,
}

pub(crate) struct Entry<S> {
    pub(crate) node: Arc<Node>,
    pub(crate) link: Arc<Link<S>>,
    pub(crate) weight: u16,
    pub(crate) priority: u32,
    /// Its registry says that it does not work: used only when there is nothing better.
    pub(crate) critical: bool,
}

impl<S> Clone for Entry<S> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), link: self.link.clone(), ..*self }
    }
}

impl<S> Placed for Entry<S> {
    fn id(&self) -> &EndpointId {
        self.node.id()
    }

    fn weight(&self) -> u16 {
        self.weight
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl<S> Placed for &Entry<S> {
    fn id(&self) -> &EndpointId {
        self.node.id()
    }

    fn weight(&self) -> u16 {
        self.weight
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl<S> Listed for Vec<&Entry<S>> {
    fn len(&self) -> usize {
        self.len()
    }

    fn node(&self, at: usize) -> &Node {
        &self[at].node
    }

    fn weight(&self, at: usize) -> u16 {
        self[at].weight
    }
}

impl<S> Listed for &[Entry<S>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn node(&self, at: usize) -> &Node {
        &self[at].node
    }

    fn weight(&self, at: usize) -> u16 {
        self[at].weight
    }
}

impl<S> Members<S> {
    /// Those that may be picked first, then the others.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry<S>> {
        self.entries.iter().chain(&self.drained)
    }
}

/// What left with a change, to be dropped outside of any lock.
pub(crate) type Retired = Vec<Arc<dyn Any + Send + Sync>>;

impl<S: Clone + Send + Sync + 'static> Members<S> {
    pub(crate) fn empty(policy: &Policy) -> Self {
        let nobody: &[Entry<S>] = &[];
        let table = Table::new(policy, &Roster::new(&nobody));
        let placement = Placement::new(policy);
        let (entries, drained) = (Vec::new(), Vec::new());
        Self { entries, drained, table, placement, tiers: None, weights: 0 }
    }

    /// The snapshot after `batch`.
    pub(crate) fn after(
        &self,
        batch: &Batch,
        policy: &Policy,
        subset: Option<Subset>,
        routes: &Arc<Routes>,
        turn: &Turn,
        health: &Arc<Health>,
    ) -> (Self, Retired) {
        let mut retired = Retired::new();
        let mut touched = Vec::with_capacity(batch.len());
        let mut drained_touched = Vec::new();
        // In a set without anybody to take the calls, nobody begins slowly.
        let first = self.entries.is_empty();
        for (id, new) in batch {
            let drained = find(&self.drained, id);
            let before = match drained {
                Some(at) => Some(&self.drained[at]),
                None => find(&self.entries, id).map(|at| &self.entries[at]),
            };
            let Some(endpoint) = new else {
                if let Some(entry) = before {
                    health.remove(&entry.node);
                    retired.extend(entry.link.retire().map(|service| service as _));
                }
                continue;
            };
            let was_live = before.is_some() && drained.is_none();
            let entry = match before {
                Some(entry) => entry.changed(endpoint, health, &mut retired),
                None => {
                    let entry = Entry::new(endpoint, health);
                    entry.node.record().begin(health.clock.now());
                    entry
                }
            };
            if is_drained(endpoint) {
                // What is drained is no part of the numbers that rule ejection.
                health.remove(&entry.node);
                drained_touched.push(entry);
            } else {
                if !was_live {
                    health.reset(&entry.node);
                    if !first {
                        health.warm(&entry.node);
                    }
                }
                health.set_critical(&entry.node, entry.critical);
                touched.push(entry);
            }
        }
        let entries = merged(&self.entries, batch, touched);
        let drained = merged(&self.drained, batch, drained_touched);
        let (entries, drained) = match subset {
            None => (entries, drained),
            Some(subset) => self.within(subset, entries, drained, health, &mut retired),
        };
        health.set_endpoints(entries.len());
        retired.push(Arc::new(TellPanic(health.clone())));
        let weights = entries.iter().map(|entry| u64::from(entry.weight)).sum();
        let before = |tiers| Before { tiers, entries: &self.entries, batch };
        let before = self.tiers.as_ref().map(before);
        let tiers = Tiers::new(&entries, before.as_ref(), routes, policy, turn, health);
        // Where the set is in parts, nobody looks at tables of the whole.
        let whole = if tiers.is_some() { &[] } else { &entries[..] };
        let old = if self.tiers.is_some() { &[] } else { &self.entries[..] };
        let table = Table::new(policy, &Roster::new(&whole));
        let placement = self.placement.after(old, whole);
        (Self { entries, drained, table, placement, tiers, weights }, retired)
    }

    /// Leaves only those of `subset` among the entries that may be picked.
    fn within(
        &self,
        subset: Subset,
        entries: Vec<Entry<S>>,
        drained: Vec<Entry<S>>,
        health: &Health,
        retired: &mut Retired,
    ) -> (Vec<Entry<S>>, Vec<Entry<S>>) {
        let by_id = |a: &Entry<S>, b: &Entry<S>| a.node.id().cmp(b.node.id());
        let (mut drained, spare): (Vec<_>, Vec<_>) =
            drained.into_iter().partition(|entry| is_drained(&entry.node.endpoint()));
        let mut all = entries;
        all.extend(spare);
        all.sort_by(by_id);
        let chosen = subset.of(all.iter().map(|entry| entry.node.id()));
        let mut entries = Vec::new();
        for (mut entry, chosen) in all.into_iter().zip(chosen) {
            let was_in = find(&self.entries, entry.node.id()).is_some();
            if chosen {
                if !was_in {
                    health.reset(&entry.node);
                    if !self.entries.is_empty() {
                        health.warm(&entry.node);
                    }
                    health.set_critical(&entry.node, entry.critical);
                }
                entries.push(entry);
            } else {
                health.remove(&entry.node);
                if was_in {
                    retired.extend(entry.link.retire().map(|service| service as _));
                    entry.link = Arc::new(Link::new());
                }
                drained.push(entry);
            }
        }
        drained.sort_by(by_id);
        (entries, drained)
    }
}

impl<S> Members<S> {
    /// All that may be picked.
    #[inline]
    pub(crate) fn whole<'a>(&'a self, turn: &'a Turn) -> Area<'a> {
        Area {
            places: None,
            table: &self.table,
            placement: &self.placement,
            turn,
            weights: self.weights,
            panicking: None,
        }
    }
}

impl<S> Entry<S> {
    /// Whether its service could not be made, but may be tried again.
    pub(crate) fn may_recover(&self, now: Instant) -> bool {
        self.node.state().is_broken_alone() && self.link.may_retry(now)
    }
}

/// Another set of endpoints may begin or end panic, which is told after the lock of the set.
struct TellPanic(Arc<Health>);

impl Drop for TellPanic {
    fn drop(&mut self) {
        self.0.tell_panic();
    }
}

impl<S: Clone + Send + Sync + 'static> Entry<S> {
    fn new(endpoint: &Arc<Endpoint>, health: &Arc<Health>) -> Self {
        Self {
            node: Arc::new(Node::new(endpoint.clone(), health.clone())),
            link: Arc::new(Link::new()),
            weight: endpoint.weight(),
            priority: endpoint.priority(),
            critical: endpoint.health() == Registered::Critical,
        }
    }

    /// The same endpoint with other data: what was learned stays, and so does the connection unless
    /// the address changed.
    fn changed(
        &self,
        endpoint: &Arc<Endpoint>,
        health: &Arc<Health>,
        retired: &mut Retired,
    ) -> Self {
        let moved = self.node.endpoint().address() != endpoint.address();
        self.node.update(endpoint.clone());
        let link = if moved {
            // Another process, most likely: the failures of the old one are not its own.
            health.reset(&self.node);
            self.node.latency().forget();
            retired.extend(self.link.retire().map(|service| service as _));
            Arc::new(Link::new())
        } else {
            self.link.clone()
        };
        Self {
            node: self.node.clone(),
            link,
            weight: endpoint.weight(),
            priority: endpoint.priority(),
            critical: endpoint.health() == Registered::Critical,
        }
    }
}

fn is_drained(endpoint: &Endpoint) -> bool {
    endpoint.weight() == 0 || endpoint.health() == Registered::Maintenance
}

fn find<S>(entries: &[Entry<S>], id: &EndpointId) -> Option<usize> {
    entries.binary_search_by(|entry| entry.node.id().cmp(id)).ok()
}

/// `old` without what `batch` names, and with `new`; all three are ordered by id.
fn merged<S>(old: &[Entry<S>], batch: &Batch, new: Vec<Entry<S>>) -> Vec<Entry<S>> {
    let mut all = Vec::with_capacity(old.len() + new.len());
    let mut new = new.into_iter().peekable();
    let mut rest = old;
    for id in batch.keys() {
        let at = ahead(rest, |entry| entry.node.id() < id);
        all.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if rest.first().is_some_and(|entry| entry.node.id() == id) {
            rest = &rest[1..];
        }
        all.extend(new.next_if(|entry| entry.node.id() == id));
    }
    all.extend_from_slice(rest);
    all
}

/// How many entries at the start are `before`, found in steps that double: few comparisons when
/// that many are few, as in a batch that names every endpoint, and when they are many.
fn ahead<T>(entries: &[T], before: impl Fn(&T) -> bool) -> usize {
    let mut step = 1;
    while step <= entries.len() && before(&entries[step - 1]) {
        step *= 2;
    }
    let (low, high) = (step / 2, step.min(entries.len()));
    low + entries[low..high].partition_point(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_in_doubling_steps_finds_every_place() {
        for len in 0..40 {
            let numbers: Vec<_> = (0..len).collect();
            for place in 0..=len {
                assert_eq!(ahead(&numbers, |number| *number < place), place, "of {len}");
            }
        }
    }
}
