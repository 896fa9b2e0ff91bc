//! What all clones of a balancer share, and how one of its endpoints is picked.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use fastrand::Rng;
use seawall_core::{Admission, Clock, Reason, Rejection, Retry};

use crate::{
    Config, Ejection, EndpointSet, PickContext, Picked, Policy, Subset, View,
    area::Area,
    elsewhere::{Elsewhere, Left},
    health::Health,
    keeper::{Keeper, Kept},
    link::{Make, NoService},
    members::{Entry, Members, Retired},
    node::Node,
    pick::{hashed, least_in_flight, power_of_two, random, round_robin},
    route::Routes,
    set::{Batch, Watcher},
    sync::{
        AtomicU64, Mutex,
        Ordering::{Acquire, Relaxed, Release},
        lock,
    },
    tiers::Tiers,
    view::Field,
    wait::Waiting,
    warm_up::{Cold, Connect, Warmer},
};

/// The golden ratio in 64 bits: the seeds that it steps through do not repeat.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

pub(crate) struct Shared<S> {
    current: Current<S>,
    /// Snapshots that a clone may still hold. The last reference is dropped here, at a change, and
    /// not by the request that happens to look away from it.
    history: Mutex<Vec<Arc<Members<S>>>>,
    pub(crate) health: Arc<Health>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) set: EndpointSet,
    policy: Policy,
    subset: Option<Subset>,
    routes: Arc<Routes>,
    pub(crate) turn: Turn,
    make: Box<Make<S>>,
    keeper: Keeper,
    warmer: Option<Warmer<S>>,
    admits: Option<fn(&S) -> Admission>,
    pub(crate) wait: Duration,
    pub(crate) max_picks: u8,
    seeds: AtomicU64,
}

/// Read by every pick and written by changes alone, so away from what every call writes.
#[repr(align(128))]
struct Current<S> {
    members: ArcSwap<Members<S>>,
    /// Counts the snapshots. `arc_swap::Cache` would do without, but wants a reference count of its
    /// own to the swap, which every clone of a balancer would pay for.
    version: AtomicU64,
}

/// Written by every pick of a policy that takes turns.
#[repr(align(128))]
pub(crate) struct Turn(AtomicU64);

impl Turn {
    pub(crate) fn starting_at(place: u64) -> Self {
        Self(AtomicU64::new(place))
    }

    /// Another that goes on from here.
    pub(crate) fn copy(&self) -> Self {
        Self::starting_at(self.0.load(Relaxed))
    }

    /// The next place in the cycle.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        // Relaxed: places in the cycle only have to differ.
        self.0.fetch_add(1, Relaxed)
    }
}

/// A snapshot that one clone has at hand.
pub(crate) struct Cached<S> {
    members: Arc<Members<S>>,
    version: u64,
}

impl<S> Clone for Cached<S> {
    fn clone(&self) -> Self {
        Self { members: self.members.clone(), version: self.version }
    }
}

impl<S> Deref for Cached<S> {
    type Target = Members<S>;

    fn deref(&self) -> &Members<S> {
        &self.members
    }
}

/// Why nothing was picked.
#[derive(Debug, PartialEq)]
pub(crate) enum Nothing {
    /// There is no endpoint.
    Empty,
    /// None that is left can be called.
    Unfit,
    /// The snapshot is older than the set.
    Stale,
}

impl<S: Clone + Send + Sync + 'static> Shared<S> {
    pub(crate) fn new(
        set: EndpointSet,
        config: Config,
        make: Box<Make<S>>,
        connect: Option<Box<Connect<S>>>,
        admits: Option<fn(&S) -> Admission>,
    ) -> Arc<Self> {
        let seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let start = Rng::with_seed(seed).u16(..);
        let sweeps = config.ejection.as_ref().and_then(Ejection::sweeps);
        let warmer =
            connect.zip(config.warm_up).map(|(connect, limit)| Warmer::new(connect, limit));
        let shared = Arc::new_cyclic(|weak: &Weak<Self>| Self {
            current: Current {
                members: ArcSwap::from_pointee(Members::empty(&config.policy)),
                version: AtomicU64::new(0),
            },
            history: Mutex::default(),
            health: Arc::new(Health::new(&config, warmer.is_some(), seed.rotate_left(32))),
            waiting: Arc::default(),
            set: set.clone(),
            policy: config.policy,
            subset: config.subset,
            routes: Arc::new(config.routes),
            // A random start keeps the clients of a service out of step with each other.
            turn: Turn::starting_at(start.into()),
            make: {
                // A balancer may be made outside of the runtime that its calls run in.
                let weak = weak.clone();
                Box::new(move |endpoint| {
                    if let Some(shared) = weak.upgrade() {
                        shared.keeper.start(&weak);
                    }
                    make(endpoint)
                })
            },
            keeper: Keeper::new(sweeps, config.checks, warmer.is_some()),
            warmer,
            admits,
            wait: config.wait_for_endpoints,
            max_picks: config.max_picks,
            seeds: AtomicU64::new(seed),
        });
        let weak: Weak<Self> = Arc::downgrade(&shared);
        shared.keeper.start(&weak);
        set.watch(weak);
        shared
    }

    pub(crate) fn rng(&self) -> Rng {
        // Relaxed: only has to differ from the other seeds.
        Rng::with_seed(self.seeds.fetch_add(SEED_STEP, Relaxed))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.health.clock
    }

    pub(crate) fn load(&self) -> Cached<S> {
        // Acquire: pairs with the Release in `changed`. The version is read first: the snapshot may
        // then be newer than it says, which the next look corrects, but never older.
        let version = self.current.version.load(Acquire);
        Cached { members: self.current.members.load_full(), version }
    }

    #[inline]
    pub(crate) fn refresh(&self, cached: &mut Cached<S>) {
        // Relaxed: whoever sees another number loads the snapshot with its own ordering.
        if self.current.version.load(Relaxed) != cached.version {
            *cached = self.load();
        }
    }

    pub(crate) fn has_endpoints(&self) -> bool {
        let members = self.current.members.load();
        !members.entries.is_empty() && members.tiers.as_ref().is_none_or(Tiers::has_endpoints)
    }

    /// The refusal of a call for which there is no endpoint.
    pub(crate) fn refusal(&self, retry: Retry) -> Rejection {
        let refusal = Rejection::new(Reason::NoEndpoint).retry(retry);
        let watch = self.health.watch();
        let refusal = match &watch.name {
            Some(name) => refusal.by(name.clone()),
            None => refusal,
        };
        watch.tell(|observer, name| observer.rejected(name, &refusal));
        refusal
    }

    /// Ejects those that did worse since the last sweep than the rules allow.
    pub(crate) fn sweep(&self) {
        self.health.sweep(self.load().entries.iter().map(|entry| &*entry.node));
    }

    /// Picks an endpoint and takes a clone of its service.
    // Always inlined, so that what is picked is written where the call keeps it and not copied.
    #[inline(always)]
    pub(crate) fn pick(
        &self,
        members: &Members<S>,
        rng: &mut Rng,
        elsewhere: &mut Elsewhere<'_>,
    ) -> Result<(Picked, S), Nothing> {
        loop {
            let chosen = self.choose(members, rng, elsewhere)?;
            let entry = chosen.entry;
            let node = &entry.node;
            match entry.link.service(&*self.make, || node.endpoint(), self.clock()) {
                Ok(service) => {
                    node.state().mend();
                    if let Some(tried) = elsewhere.tried {
                        tried.add(node.id());
                    }
                    return Ok((chosen.picked(), service));
                }
                Err(NoService::Retired) => {
                    chosen.give_up();
                    return Err(Nothing::Stale);
                }
                Err(NoService::Failed) => {
                    chosen.give_up();
                    node.failed_to_make();
                    let error = entry.link.error().unwrap_or_default();
                    let watch = self.health.watch();
                    watch.tell(|observer, name| observer.not_made(name, node.id(), &error));
                    if elsewhere.left.is_full() {
                        return Err(Nothing::Unfit);
                    }
                    elsewhere.left.add(node);
                }
            }
        }
    }

    /// Picks from the set as it is now, however often it changes meanwhile.
    #[inline(never)]
    pub(crate) fn pick_from_latest(
        &self,
        rng: &mut Rng,
        elsewhere: &mut Elsewhere<'_>,
    ) -> Result<(Picked, S), Nothing> {
        loop {
            match self.pick(&self.load(), rng, elsewhere) {
                Err(Nothing::Stale) => {}
                picked => return picked,
            }
        }
    }

    /// Picks an endpoint whose service is of no concern.
    #[inline]
    pub(crate) fn pick_alone(
        &self,
        members: &Members<S>,
        rng: &mut Rng,
        context: PickContext<'_>,
    ) -> Result<Picked, Nothing> {
        let PickContext { key, tried, subset } = context;
        let mut elsewhere = Elsewhere { left: &mut Left::default(), tried, key, subset };
        let chosen = self.choose(members, rng, &mut elsewhere)?;
        if let Some(tried) = tried {
            tried.add(chosen.entry.node.id());
        }
        Ok(chosen.picked())
    }

    #[inline(always)]
    fn choose<'a>(
        &self,
        members: &'a Members<S>,
        rng: &mut Rng,
        elsewhere: &mut Elsewhere<'_>,
    ) -> Result<Chosen<'a, S>, Nothing> {
        if members.entries.is_empty() {
            return Err(Nothing::Empty);
        }
        let Some(tiers) = &members.tiers else {
            let whole = members.whole(&self.turn);
            return self.choose_in(members, &whole, rng, elsewhere, true).ok_or(Nothing::Unfit);
        };
        self.choose_among(members, tiers, rng, elsewhere)
    }

    /// Picks in one of the parts that the set is in.
    fn choose_among<'a>(
        &self,
        members: &'a Members<S>,
        tiers: &Tiers,
        rng: &mut Rng,
        elsewhere: &mut Elsewhere<'_>,
    ) -> Result<Chosen<'a, S>, Nothing> {
        let way = tiers.choose(elsewhere.subset, &members.entries, &self.health, rng);
        // What a part refuses another one may take, before the reasons to refuse are given up.
        for anyone in [false, true] {
            for way in std::iter::once(way).chain(tiers.others(way)) {
                let area = tiers.area(way).ok_or(Nothing::Empty)?;
                let chosen = self.choose_in(members, &area, rng, elsewhere, anyone);
                if let Some(chosen) = chosen {
                    return Ok(chosen);
                }
            }
        }
        Err(Nothing::Unfit)
    }

    /// Picks in one part of the set; with `anyone`, somebody who should not be picked if there is
    /// nobody else.
    #[inline]
    fn choose_in<'a>(
        &self,
        members: &'a Members<S>,
        area: &Area<'_>,
        rng: &mut Rng,
        elsewhere: &Elsewhere<'_>,
        anyone: bool,
    ) -> Option<Chosen<'a, S>> {
        let mut view = Field::new(self, members, area, rng, elsewhere);
        loop {
            let picked = match &self.policy {
                Policy::PowerOfTwo | Policy::PeakEwma(_) => power_of_two(&mut view),
                Policy::RoundRobin => round_robin(&mut view),
                Policy::Random => random(&mut view),
                Policy::LeastInFlight => least_in_flight(&mut view),
                Policy::Custom(_) => {
                    area.table.custom.as_ref().and_then(|rule| rule.pick(&mut View::new(&mut view)))
                }
                Policy::ConsistentHash(rule) => {
                    hashed(&mut view, area.placement, rule, elsewhere.key)
                }
            };
            if let Some(at) = picked {
                return Some(Chosen {
                    entry: &members.entries[area.place(at)],
                    begun: view.begun(),
                });
            }
            view.relax(anyone)?;
        }
    }

    /// Whether services are asked if they would take a call.
    #[inline]
    pub(crate) fn asks_services(&self) -> bool {
        self.admits.is_some()
    }

    /// What the service of an endpoint would do with a call, as far as it says.
    pub(crate) fn admission(&self, entry: &Entry<S>) -> Admission {
        self.admits.map_or(Admission::Open, |admits| entry.link.admission(admits))
    }

    /// Goes on from another balancer, before this one is used: with the services and the standing of
    /// the endpoints that both have.
    pub(crate) fn inherit(&self, before: &Self) {
        let (old, new) = (before.load(), self.load());
        self.health.inherit_usual(&before.health);
        let known: HashMap<_, _> = old.all().map(|entry| (entry.node.id(), entry)).collect();
        for (at, entry) in new.all().enumerate() {
            let Some(known) = known.get(entry.node.id()) else { continue };
            if known.node.endpoint().address() != entry.node.endpoint().address() {
                continue;
            }
            entry.node.inherit(&known.node);
            if at < new.entries.len() {
                self.health.inherit(&entry.node, &known.node);
            }
            if let Some(service) = known.link.shared() {
                entry.link.adopt(service);
            }
        }
    }

    /// The service of `node` has failed for good.
    pub(crate) fn discard(&self, node: &Node) {
        let members = self.current.members.load();
        let found = members.entries.iter().find(|entry| std::ptr::eq(&*entry.node, node));
        if let Some(entry) = found {
            entry.link.discard();
        }
    }
}

/// An endpoint that a call goes to.
struct Chosen<'a, S> {
    entry: &'a Entry<S>,
    /// The call is counted there already.
    begun: bool,
}

impl<S> Chosen<'_, S> {
    #[inline]
    fn picked(self) -> Picked {
        if !self.begun {
            self.entry.node.begin();
        }
        Picked::begun(self.entry.node.clone())
    }

    fn give_up(self) {
        if self.begun {
            self.entry.node.end_unsent();
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Kept for Shared<S> {
    fn sweep(&self) {
        self.sweep();
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.load().entries.iter().map(|entry| entry.node.clone()).collect()
    }

    fn cold(&self) -> Vec<Cold> {
        self.warmer.as_ref().map_or_else(Vec::new, |warmer| warmer.work(&self.load().entries))
    }
}

impl<S: Clone + Send + Sync + 'static> Watcher for Shared<S> {
    fn changed(&self, batch: &Batch) -> Retired {
        let old = self.current.members.load_full();
        let (new, mut retired) =
            old.after(batch, &self.policy, self.subset, &self.routes, &self.turn, &self.health);
        self.current.members.store(Arc::new(new));
        // Release: pairs with the Acquire in `load`, which then sees the snapshot stored above.
        self.current.version.fetch_add(1, Release);
        let mut history = lock(&self.history);
        history.push(old);
        // Nobody can take a new reference to a snapshot that is no longer current.
        for old in history.extract_if(.., |old| Arc::strong_count(old) == 1) {
            retired.push(old);
        }
        drop(history);
        self.waiting.wake();
        self.keeper.changed();
        retired
    }
}
