//! A set in parts: by subset, priority and zone.
//!
//! Parts are made with each snapshot. How much each gets depends on how many of its endpoints are
//! well; that is counted anew when one fails or recovers, and while something is wrong a few
//! times a second, by one of the picks. All picks else read what was counted.

pub(crate) mod loads;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use fastrand::Rng;
use seawall_core::{Endpoint, Instant};

use self::loads::{Count, Part, Zone};
use crate::{
    Policy, Roster,
    area::Area,
    health::Health,
    members::Entry,
    pick::{
        Table, below,
        place::{Placed, Placement},
    },
    route::{Routes, ZoneAware},
    set::Batch,
    shared::Turn,
    sync::Mutex,
};

/// How long a count of those that are well is believed while some are not: for each endpoint that is
/// counted, so that counting stays below a part in a hundred of one core, and at least.
const BELIEVED: (Duration, Duration) = (Duration::from_micros(5), Duration::from_millis(100));

/// The parts of one snapshot.
pub(crate) struct Tiers {
    subsets: Vec<Subset>,
    routes: Arc<Routes>,
    loads: ArcSwap<Loads>,
    counting: Mutex<()>,
}

struct Subset {
    name: Option<Arc<str>>,
    weight: u32,
    /// Ordered by priority.
    tiers: Vec<Tier>,
}

struct Tier {
    priority: u32,
    whole: Leaf,
    /// Where zones matter.
    zones: Vec<(Option<Arc<str>>, Leaf)>,
}

/// Endpoints that are picked from together.
struct Leaf {
    places: Vec<u32>,
    made: Arc<Made>,
    turn: Turn,
}

/// What is made for the endpoints of a leaf, and kept as long as no change touches one of them.
struct Made {
    table: Table,
    placement: Placement,
    weights: u64,
}

/// The parts before a change.
pub(crate) struct Before<'a, S> {
    pub(crate) tiers: &'a Tiers,
    pub(crate) entries: &'a [Entry<S>],
    pub(crate) batch: &'a Batch,
}

/// What was counted.
struct Loads {
    made: Instant,
    /// How many were not well by the balancer's own count.
    sick: usize,
    /// Some are not well.
    unwell: bool,
    /// For each tier of each subset.
    tiers: Vec<Vec<Load>>,
}

struct Load {
    percent: u32,
    panicking: bool,
    /// Parts of ten thousand for each zone, where they matter now.
    zones: Vec<u32>,
}

/// Which part a call goes to.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    subset: usize,
    tier: usize,
    zone: Option<usize>,
}

/// What a part gets, for the snapshot of a balancer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RouteSnapshot {
    /// The subset, where calls are split.
    pub subset: Option<Arc<str>>,
    /// The priority within the subset.
    pub priority: u32,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// The percentage of the subset's calls that go to it now.
    pub percent: u32,
    /// So few of its endpoints are well that the others are used all the same.
    pub panicking: bool,
    /// The percentages of these calls that go to each zone; none where zones do not matter now.
    pub zones: Vec<(Option<Arc<str>>, f64)>,
}

impl Tiers {
    /// The parts of `entries`, or nothing where they are all one. New parts begin their turns where
    /// the whole set's, `turn`, is: a seed rules them too.
    ///
    /// # Cost
    ///
    /// Linear in the set, to find who is in which part; tables are made anew for the parts of the
    /// endpoints that changed alone.
    pub(crate) fn new<S>(
        entries: &[Entry<S>],
        old: Option<&Before<'_, S>>,
        routes: &Arc<Routes>,
        policy: &Policy,
        turn: &Turn,
        health: &Health,
    ) -> Option<Self> {
        let divided = routes.divide() || entries.iter().any(|entry| entry.priority != 0);
        if !divided || entries.is_empty() {
            health.set_parts(None);
            return None;
        }
        let endpoints: Vec<_> = entries.iter().map(|entry| entry.node.endpoint()).collect();
        let before = Parts(old);
        let leaf = |places: Vec<u32>, old: Option<&Leaf>| {
            let turn = old.map_or(turn, |leaf| &leaf.turn).copy();
            Leaf { made: before.made(old, &places, entries, policy), places, turn }
        };
        let mut subsets = Vec::new();
        for (name, weight, places) in split(routes, &endpoints) {
            let before = old.and_then(|old| old.tiers.subsets.iter().find(|s| s.name == name));
            let mut levels = BTreeMap::<u32, Vec<u32>>::new();
            for place in places {
                levels.entry(entries[place as usize].priority).or_default().push(place);
            }
            let tiers = levels.into_iter().map(|(priority, places)| {
                let before =
                    before.and_then(|s| s.tiers.iter().find(|tier| tier.priority == priority));
                let zones = zoned(routes, &places, &endpoints).into_iter().map(|(zone, places)| {
                    let before = before
                        .and_then(|t| t.zones.iter().find(|(own, _)| *own == zone))
                        .map(|(_, leaf)| leaf);
                    (zone, leaf(places, before))
                });
                let zones = zones.collect();
                Tier { priority, whole: leaf(places, before.map(|tier| &tier.whole)), zones }
            });
            subsets.push(Subset { name, weight, tiers: tiers.collect() });
        }
        let loads = Loads::of(&subsets, routes, entries, health);
        health.set_parts(Some(loads.panicking()));
        let tiers = Self {
            loads: ArcSwap::from_pointee(loads),
            subsets,
            routes: routes.clone(),
            counting: Mutex::default(),
        };
        Some(tiers)
    }

    fn loads<S>(&self, entries: &[Entry<S>], health: &Health) -> arc_swap::Guard<Arc<Loads>> {
        let loads = self.loads.load();
        let old = loads.sick != health.out()
            || loads.unwell && {
                let (each, least) = BELIEVED;
                let believed = least.max(each.saturating_mul(entries.len() as u32));
                health.clock.now().saturating_since(loads.made) >= believed
            };
        if !old {
            return loads;
        }
        drop(loads);
        self.count(entries, health);
        self.loads.load()
    }

    #[cold]
    fn count<S>(&self, entries: &[Entry<S>], health: &Health) {
        // One counts, and the others go by what was counted before.
        let Ok(counting) = self.counting.try_lock() else { return };
        let loads = Loads::of(&self.subsets, &self.routes, entries, health);
        health.set_parts(Some(loads.panicking()));
        self.loads.store(Arc::new(loads));
        drop(counting);
        health.tell_panic();
    }

    /// Where a call goes first.
    pub(crate) fn choose<S>(
        &self,
        subset: Option<&str>,
        entries: &[Entry<S>],
        health: &Health,
        rng: &mut Rng,
    ) -> Way {
        let named = subset.and_then(|name| {
            self.subsets.iter().position(|s| s.name.as_deref() == Some(name) && !s.tiers.is_empty())
        });
        let subset = named.unwrap_or_else(|| {
            let weight = |s: &Subset| if s.tiers.is_empty() { 0 } else { s.weight };
            draw(self.subsets.iter().map(weight), rng)
                // Those that are left get calls only when they are named, or are all there is.
                .or_else(|| self.subsets.iter().position(|s| !s.tiers.is_empty()))
                .unwrap_or(0)
        });
        let loads = self.loads(entries, health);
        let loads = &loads.tiers[subset];
        let tier = draw(loads.iter().map(|load| load.percent), rng).unwrap_or(0);
        let zones = loads.get(tier).map_or(&[][..], |load| &load.zones);
        Way { subset, tier, zone: draw(zones.iter().copied(), rng) }
    }

    /// The part that `way` leads to; `None` when the set has no endpoint that a subset takes.
    pub(crate) fn area(&self, way: Way) -> Option<Area<'_>> {
        let tier = self.subsets.get(way.subset)?.tiers.get(way.tier)?;
        let leaf = way.zone.map_or(&tier.whole, |zone| &tier.zones[zone].1);
        let panicking = self.loads.load().tiers[way.subset][way.tier].panicking;
        Some(Area {
            places: Some(&leaf.places),
            table: &leaf.made.table,
            placement: &leaf.made.placement,
            turn: &leaf.turn,
            weights: leaf.made.weights,
            panicking: Some(panicking),
        })
    }

    /// Where else a call may go, beginning with the other zones of its priority.
    pub(crate) fn others(&self, way: Way) -> impl Iterator<Item = Way> + use<> {
        let tiers = self.subsets.get(way.subset).map_or(0, |subset| subset.tiers.len());
        let same = way.zone.map(|_| Way { zone: None, ..way });
        let others = (0..tiers).filter(move |tier| *tier != way.tier);
        same.into_iter().chain(others.map(move |tier| Way { tier, zone: None, ..way }))
    }

    /// Whether a subset takes any endpoint.
    pub(crate) fn has_endpoints(&self) -> bool {
        self.subsets.iter().any(|subset| !subset.tiers.is_empty())
    }

    pub(crate) fn is_settled(&self) -> bool {
        let tiers = self.subsets.iter().flat_map(|subset| &subset.tiers);
        let leaves =
            tiers.flat_map(|tier| tier.zones.iter().map(|zone| &zone.1).chain([&tier.whole]));
        leaves.into_iter().all(|leaf| leaf.made.placement.is_settled())
    }

    pub(crate) fn snapshot<S>(&self, entries: &[Entry<S>], health: &Health) -> Vec<RouteSnapshot> {
        let loads = self.loads(entries, health);
        let subsets = self.subsets.iter().zip(&loads.tiers);
        let tiers = subsets.flat_map(|(subset, loads)| {
            subset.tiers.iter().zip(loads).map(|(tier, load)| (subset.name.clone(), tier, load))
        });
        let route = |(subset, tier, load): (_, &Tier, &Load)| RouteSnapshot {
            subset,
            priority: tier.priority,
            endpoints: tier.whole.places.len(),
            percent: load.percent,
            panicking: load.panicking,
            zones: tier
                .zones
                .iter()
                .zip(&load.zones)
                .map(|((zone, _), part)| (zone.clone(), f64::from(*part) / 100.0))
                .collect(),
        };
        tiers.map(route).collect()
    }
}

/// The parts before a change, where there were any.
struct Parts<'a, S>(Option<&'a Before<'a, S>>);

impl<S> Parts<'_, S> {
    /// What is made for the leaf of these places of `all`, which was `old`.
    fn made(
        &self,
        old: Option<&Leaf>,
        places: &[u32],
        all: &[Entry<S>],
        policy: &Policy,
    ) -> Arc<Made> {
        let entries: Vec<_> = places.iter().map(|at| &all[*at as usize]).collect();
        let (Some(old), Some(before)) = (old, self.0) else {
            let placement = Placement::new(policy).after(&[], &entries);
            return Arc::new(Made::new(entries, policy, placement));
        };
        let were: Vec<_> = old.places.iter().map(|at| &before.entries[*at as usize]).collect();
        let same = |(was, is): (&&Entry<S>, &&Entry<S>)| {
            Arc::ptr_eq(&was.node, &is.node) && !before.batch.contains_key(is.node.id())
        };
        if were.len() == entries.len() && were.iter().zip(&entries).all(same) {
            return old.made.clone();
        }
        let placement = old.made.placement.after(&were, &entries);
        Arc::new(Made::new(entries, policy, placement))
    }
}

impl Made {
    fn new<S>(entries: Vec<&Entry<S>>, policy: &Policy, placement: Placement) -> Self {
        let table = Table::new(policy, &Roster::new(&entries));
        let weights = entries.iter().map(|entry| u64::from(entry.weight())).sum();
        Self { table, placement, weights }
    }
}

impl Loads {
    fn of<S>(subsets: &[Subset], routes: &Routes, entries: &[Entry<S>], health: &Health) -> Self {
        // Read first: one that fails while this counts makes it count again.
        let sick = health.out();
        let now = health.clock.now();
        let count = |leaf: &Leaf| {
            let well = leaf.places.iter().filter(|at| {
                let entry = &entries[**at as usize];
                // One that could not be made counts again when it may be tried again.
                !entry.critical && (health.share(&entry.node, now) > 0.0 || entry.may_recover(now))
            });
            let cold = |at: &&u32| entries[**at as usize].node.state().is_cold();
            // As for panic, those that are not connected yet do not count.
            let cold = leaf.places.iter().filter(cold).count();
            Count { well: well.count(), all: leaf.places.len() - cold }
        };
        let mut unwell = false;
        let tiers = subsets.iter().map(|subset| {
            let counts: Vec<_> = subset.tiers.iter().map(|tier| count(&tier.whole)).collect();
            let whole = subset.tiers.iter().map(|tier| tier.whole.places.len());
            unwell |= counts.iter().zip(whole).any(|(count, whole)| count.well < whole);
            let factor = routes.failover.overprovisioning;
            let parts = loads::priorities(&counts, factor, health.panic_percent);
            let loads = subset.tiers.iter().zip(counts).zip(parts).map(|((tier, own), part)| {
                let Part { percent, panicking } = part;
                let zones = match &routes.zones {
                    Some(aware) if !panicking && own.well >= aware.min_endpoints => {
                        by_zone(aware, tier, count)
                    }
                    _ => Vec::new(),
                };
                Load { percent, panicking, zones }
            });
            loads.collect()
        });
        let tiers = tiers.collect();
        Self { made: now, sick, unwell, tiers }
    }
}

impl Loads {
    /// Whether a part that gets calls panics.
    fn panicking(&self) -> bool {
        self.tiers.iter().flatten().any(|load| load.panicking && load.percent > 0)
    }
}

fn by_zone(aware: &ZoneAware, tier: &Tier, count: impl Fn(&Leaf) -> Count) -> Vec<u32> {
    let local = |zone: &Option<Arc<str>>| *zone.as_ref().unwrap_or(&Arc::default()) == aware.zone;
    if tier.zones.len() < 2 || !tier.zones.iter().any(|(zone, _)| local(zone)) {
        return Vec::new();
    }
    let clients = |zone: &Option<Arc<str>>| {
        if aware.clients.is_empty() {
            return 1;
        }
        let named = aware.clients.iter().filter(|(name, _)| Some(name) == zone.as_ref());
        named.map(|(_, clients)| *clients).sum()
    };
    let zone = |(zone, leaf): &(Option<Arc<str>>, Leaf)| Zone {
        well: count(leaf).well,
        clients: clients(zone),
        local: local(zone),
    };
    loads::zones(&tier.zones.iter().map(zone).collect::<Vec<_>>())
}

/// The places of each subset.
type Places = (Option<Arc<str>>, u32, Vec<u32>);

fn split(routes: &Routes, endpoints: &[Arc<Endpoint>]) -> Vec<Places> {
    let all = 0..endpoints.len() as u32;
    let Some(split) = &routes.split else { return vec![(None, 1, all.collect())] };
    let mut left: Vec<u32> = all.collect();
    let part = |(name, select, weight): &(Arc<str>, crate::Select, u32)| {
        let takes = |at: &mut u32| select.takes(&endpoints[*at as usize]);
        (Some(name.clone()), *weight, left.extract_if(.., takes).collect())
    };
    split.subsets.iter().map(part).collect()
}

type Zoned = BTreeMap<Option<Arc<str>>, Vec<u32>>;

fn zoned(routes: &Routes, places: &[u32], endpoints: &[Arc<Endpoint>]) -> Zoned {
    let mut zones = Zoned::new();
    if routes.zones.is_some() {
        for place in places {
            let zone = endpoints[*place as usize].zone().map(Arc::from);
            zones.entry(zone).or_default().push(*place);
        }
    }
    zones
}

/// One of these places, by weight.
fn draw(weights: impl Iterator<Item = u32> + Clone, rng: &mut Rng) -> Option<usize> {
    let sum: u64 = weights.clone().map(u64::from).sum();
    if sum == 0 {
        return None;
    }
    let mut unit = below(sum as usize, rng) as u64;
    let mut weights = weights.enumerate();
    let found = weights.find(|(_, weight)| {
        let here = unit < u64::from(*weight);
        unit = unit.saturating_sub((*weight).into());
        here
    });
    found.map(|(at, _)| at)
}
