//! Which endpoints are fit to be picked: ejection, slow start, construction that failed.
//!
//! # Orderings
//!
//! One word per endpoint holds its whole standing: when its ejection ends, and flags. It
//! changes by compare-exchange alone, so that whoever takes an ejection out of it, by its end, by
//! hand or by removal of the endpoint, is the one that counts it down in `ejected`. A word of zero,
//! the usual one, is an endpoint in full standing, and costs a pick one load.
//!
//! `warming_since` and `returned_at` are written before the word that announces them (Release) and
//! read after it (Acquire). Counters are Relaxed: nothing else is read on the strength of them.

mod inherit;

use std::time::Duration;

use fastrand::Rng;
use seawall_core::{Admission, Clock, Fault, Instant, Outcome};

use crate::{
    ActiveChecks, Config, EjectCause, Ejected, EndpointState, Panic, PeakEwma, Returned,
    eject::{Ejection, Outlier, Rows, Tally},
    events::Watch,
    latency::{Above, Latency},
    node::Node,
    slow_start::SlowStart,
    sync::{
        AtomicU32, AtomicU64, AtomicUsize, Mutex,
        Ordering::{AcqRel, Acquire, Relaxed},
        lock,
    },
};

const WARMING: u64 = 1;
const BROKEN: u64 = 2;
const REMOVED: u64 = 4;
/// Out at its own request: no ejection that counts.
const RESTING: u64 = 8;
/// Its active checks fail, or have not passed yet.
const FAILING: u64 = 16;
const CRITICAL: u64 = 32;
/// Its service refuses, or only tries whether it is back.
const REFUSING: u64 = 64;
/// The connection to it is being made.
const COLD: u64 = 128;
const FLAGS: u32 = 8;
/// The latest end of an ejection that fits: two years and a quarter.
const LATEST: u64 = u64::MAX >> FLAGS;

/// What the parts of a set say of panic.
const WHOLE: u32 = 0;
const CALM: u32 = 1;
const PANICKING: u32 = 2;

/// The rules of one balancer, and how many of its endpoints they took out.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) clock: Clock,
    pub(crate) ejection: Option<Ejection>,
    pub(crate) slow_start: Option<SlowStart>,
    pub(crate) panic_percent: u8,
    /// Where the policy goes by latency.
    ewma: Option<PeakEwma>,
    /// The latency of all endpoints together.
    usual: Latency,
    /// Endpoints that may be picked by their weight.
    endpoints: AtomicUsize,
    ejected: AtomicUsize,
    /// Calls to all endpoints, where the policy bounds each one's part of them.
    in_flight: Option<InFlight>,
    /// Those that are out for any reason that panic overrides.
    unwell: AtomicUsize,
    /// What the parts of the set say of panic, where it is in parts.
    parts: AtomicU32,
    /// What the observer was told last.
    panicked: Mutex<bool>,
    retry_after_max: Duration,
    /// New endpoints wait for their first check to pass.
    gate: bool,
    /// How long a new endpoint may wait for its connection.
    warm_up: Option<Duration>,
    /// Endpoints that wait for it: no part of the numbers that rule panic.
    cold: AtomicUsize,
    watch: Watch,
    watches_calls: bool,
    chance: Mutex<Rng>,
}

/// Written by all calls, so on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct InFlight(AtomicU64);

/// The standing of one endpoint, as far as each call looks at it.
#[derive(Debug, Default)]
pub(crate) struct State {
    word: AtomicU64,
    /// Failures in a row, see [`Rows`].
    rows: AtomicU64,
}

/// What led to the standing of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// How many base times the next ejection adds to the first.
    level: AtomicU32,
    warming_since: AtomicU64,
    cold_since: AtomicU64,
    returned_at: AtomicU64,
    ejections: AtomicU64,
    /// When the standing last changed.
    since: AtomicU64,
    /// Calls that were given up and count as failures.
    given_up: AtomicU64,
    /// What the last sweep saw.
    swept_successes: AtomicU64,
    swept_failures: AtomicU64,
}

/// Whether an endpoint is fit to be picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    /// With this share of its weight, from 0 to 1.
    In(f64),
    Ejected,
    /// Its service could not be made.
    Broken,
}

/// The expected latency of endpoints at one moment.
pub(crate) struct Costs<'a> {
    ewma: &'a PeakEwma,
    usual: f32,
    now: Instant,
}

impl Costs<'_> {
    /// In nanoseconds, or 1 for all while nothing is known.
    #[inline]
    pub(crate) fn of(&self, node: &Node) -> f32 {
        node.latency().at(self.now, self.ewma.decay(), self.usual)
    }
}

impl Health {
    pub(crate) fn new(config: &Config, warms_up: bool, seed: u64) -> Self {
        let watch = config.watch.clone();
        Self {
            clock: config.clock.clone(),
            ejection: config.ejection.clone(),
            slow_start: config.slow_start.clone(),
            panic_percent: config.panic_percent,
            ewma: config.policy.peak_ewma().cloned(),
            usual: Latency::default(),
            endpoints: AtomicUsize::new(0),
            ejected: AtomicUsize::new(0),
            in_flight: config.policy.counts_in_flight().then(InFlight::default),
            unwell: AtomicUsize::new(0),
            parts: AtomicU32::new(WHOLE),
            panicked: Mutex::new(false),
            retry_after_max: config.retry_after,
            gate: config.checks.as_ref().is_some_and(ActiveChecks::gate),
            warm_up: config.warm_up.filter(|_| warms_up),
            cold: AtomicUsize::new(0),
            watches_calls: watch.observer.as_ref().is_some_and(|o| o.watches_calls()),
            watch,
            chance: Mutex::new(Rng::with_seed(seed)),
        }
    }

    pub(crate) fn set_endpoints(&self, endpoints: usize) {
        self.endpoints.store(endpoints, Relaxed);
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// How many endpoints are ejected now.
    pub(crate) fn ejected(&self) -> usize {
        self.ejected.load(Relaxed)
    }

    /// How many endpoints are not well or not connected yet, of those that would get calls.
    pub(crate) fn out(&self) -> usize {
        self.unwell.load(Relaxed) + self.cold.load(Relaxed)
    }

    /// A call has begun at one of the endpoints.
    #[inline]
    pub(crate) fn begun(&self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.0.fetch_add(1, Relaxed);
        }
    }

    /// A call has ended that had begun.
    #[inline]
    pub(crate) fn ended(&self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.0.fetch_sub(1, Relaxed);
        }
    }

    /// The calls in flight to all endpoints, where they are counted.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.as_ref().map_or(0, |in_flight| in_flight.0.load(Relaxed))
    }

    /// How many endpoints are well, and how many there are; at least one each.
    pub(crate) fn well(&self) -> (u64, u64) {
        let endpoints = self.endpoints.load(Relaxed);
        (endpoints.saturating_sub(self.out()).max(1) as u64, endpoints.max(1) as u64)
    }

    /// Whether so few endpoints are well that ejection is ignored.
    #[inline]
    pub(crate) fn panicking(&self) -> bool {
        self.panic().began
    }

    #[inline]
    fn panic(&self) -> Panic {
        let cold = self.cold.load(Relaxed);
        let endpoints = self.endpoints.load(Relaxed).saturating_sub(cold);
        let well = endpoints.saturating_sub(self.unwell.load(Relaxed));
        let began = match self.parts.load(Relaxed) {
            CALM => false,
            PANICKING => true,
            _ => well * 100 < endpoints * usize::from(self.panic_percent),
        };
        Panic { began, well, endpoints }
    }

    /// Whether a part of the set panics, which is what panic is then; `None` when it is whole.
    pub(crate) fn set_parts(&self, panicking: Option<bool>) {
        let parts = panicking.map_or(WHOLE, |panicking| if panicking { PANICKING } else { CALM });
        self.parts.store(parts, Relaxed);
    }

    /// Tells the observer when panic has begun or ended. Never called under a lock of the set.
    pub(crate) fn tell_panic(&self) {
        if self.watch.observer.is_none() {
            return;
        }
        let panic = self.panic();
        // Released before the observer is told, which may look at the balancer.
        let changed = std::mem::replace(&mut *lock(&self.panicked), panic.began) != panic.began;
        if changed {
            self.watch.tell(|observer, name| observer.panic(name, &panic));
        }
    }

    /// The time at which a call begins, where something needs to know how long it took.
    #[inline]
    pub(crate) fn start(&self) -> Option<Instant> {
        let asked = self.ewma.is_some()
            || self.watches_calls
            || self.ejection.as_ref().is_some_and(|rules| rules.abandoned_after().is_some());
        asked.then(|| self.clock.now())
    }

    /// An endpoint has answered a call that began at `started`.
    #[inline]
    pub(crate) fn answered(&self, node: &Node, started: Option<Instant>) {
        let Some(started) = started else { return };
        if self.ewma.is_none() && !self.watches_calls {
            return;
        }
        let now = self.clock.now();
        let latency = now.saturating_since(started);
        if let Some(ewma) = &self.ewma {
            node.latency().add(latency, now, ewma.decay(), Above::Peak);
            // One in eight suffices for an average, and all threads write it.
            if node.finished().is_multiple_of(8) {
                self.usual.add(latency, now, ewma.decay(), Above::Mean);
            }
        }
        if self.watches_calls {
            self.watch.tell(|observer, name| observer.answered(name, node.id(), latency));
        }
    }

    /// A call has ended, for whoever watches calls.
    #[inline]
    pub(crate) fn told(&self, node: &Node, outcome: Option<Outcome>) {
        if self.watches_calls {
            self.watch.tell(|observer, name| observer.ended(name, node.id(), outcome));
        }
    }

    #[inline]
    pub(crate) fn success(&self, node: &Node) {
        let rows = &node.state().rows;
        // Looked at first, so that endpoints that are well are not written to.
        if rows.load(Relaxed) != 0 {
            rows.store(0, Relaxed);
        }
    }

    /// A call has failed, unanswered when `started` is there.
    pub(crate) fn failure(&self, node: &Node, fault: Fault, started: Option<Instant>) {
        if let Some(ewma) = &self.ewma {
            let now = self.clock.now();
            let waited = started.map_or(Duration::ZERO, |started| now.saturating_since(started));
            let latency = waited.max(ewma.failure_penalty());
            node.latency().add(latency, now, ewma.decay(), Above::Peak);
        }
        let Some(rules) = &self.ejection else { return };
        let next = |word| Some(rules.fail(Rows::unpack(word), fault).0.pack());
        // `next` always answers, so that the update cannot fail.
        let before = node.state().rows.fetch_update(Relaxed, Relaxed, next).unwrap_or_default();
        if let (_, Some(cause)) = rules.fail(Rows::unpack(before), fault) {
            self.eject(node, rules, cause, rules.enforcement_percent());
        }
    }

    /// A call was dropped, unanswered when `started` is there.
    pub(crate) fn abandoned(&self, node: &Node, started: Option<Instant>) {
        let Some(started) = started else { return };
        let now = self.clock.now();
        let waited = now.saturating_since(started);
        let after = self.ejection.as_ref().and_then(Ejection::abandoned_after);
        if after.is_some_and(|after| waited >= after) {
            node.record().given_up.fetch_add(1, Relaxed);
            self.failure(node, Fault::Local, Some(started));
        } else if let Some(ewma) = &self.ewma
            && node.latency().last().is_none_or(|latency| waited.as_nanos() as f32 > latency)
        {
            // Short of an answer, all that is known is that it would have taken longer.
            node.latency().add(waited, now, ewma.decay(), Above::Peak);
        }
    }

    /// The endpoint asked to be left alone, which is respected up to a bound.
    pub(crate) fn rest(&self, node: &Node, wait: Duration) {
        let time = wait.min(self.retry_after_max);
        if time.is_zero() {
            return;
        }
        let until = self.until(self.clock.now(), time);
        let rested = self.change(node, |word| {
            if word & REMOVED != 0 || word >> FLAGS >= until {
                return None;
            }
            let ejected = word >> FLAGS != 0 && word & RESTING == 0;
            let rest = if ejected { 0 } else { RESTING };
            Some(word & FLAG_BITS & !WARMING | rest | until << FLAGS)
        });
        if rested.is_some() {
            let cause = EjectCause::RetryAfter;
            let ejected = Ejected { endpoint: node.id(), cause, time };
            self.watch.tell(|observer, name| observer.ejected(name, &ejected));
            self.tell_panic();
        }
    }

    /// What the endpoint's service says that it would do with a call.
    #[inline]
    pub(crate) fn note(&self, node: &Node, admission: Admission) {
        let refusing = admission != Admission::Open;
        // Relaxed: a hint to look closer.
        if (node.state().word.load(Relaxed) & REFUSING != 0) != refusing {
            self.note_change(node, refusing);
        }
    }

    #[cold]
    fn note_change(&self, node: &Node, refusing: bool) {
        if refusing {
            self.change(node, |word| (word & REMOVED == 0).then_some(word | REFUSING));
        } else {
            // The breaker has closed again: the endpoint is new to its share.
            self.come_back(node, |word| (word & REFUSING != 0).then_some(word & !REFUSING));
        }
    }

    /// The active checks of an endpoint fail, or pass again.
    pub(crate) fn set_failing(&self, node: &Node, failing: bool) {
        let changed = if failing {
            self.change(node, |word| (word & (REMOVED | FAILING) == 0).then_some(word | FAILING))
        } else {
            self.come_back(node, |word| (word & FAILING != 0).then_some(word & !FAILING))
        };
        if changed.is_some() {
            self.watch.tell(|observer, name| observer.checked(name, node.id(), !failing));
            self.tell_panic();
        }
    }

    /// The registry says that the endpoint does not work, or does again.
    pub(crate) fn set_critical(&self, node: &Node, critical: bool) {
        let flag = if critical { CRITICAL } else { 0 };
        self.change(node, |word| {
            (word & REMOVED == 0 && word & CRITICAL != flag).then_some(word & !CRITICAL | flag)
        });
    }

    /// What calls cost, where the policy goes by it.
    #[inline]
    pub(crate) fn costs(&self) -> Option<Costs<'_>> {
        let ewma = self.ewma.as_ref()?;
        let usual = self.usual.last().unwrap_or(1.0);
        Some(Costs { ewma, usual, now: self.clock.now() })
    }

    /// The standing of an endpoint, which returns from ejection here when its time has come.
    #[inline]
    pub(crate) fn standing(&self, node: &Node) -> Standing {
        // Acquire: pairs with the compare-exchange that wrote the flags, after what they announce.
        match node.state().word.load(Acquire) {
            0 => Standing::In(1.0),
            word => self.standing_of(node, word, self.clock.now()),
        }
    }

    #[cold]
    fn standing_of(&self, node: &Node, word: u64, now: Instant) -> Standing {
        let mut word = word;
        if word >> FLAGS != 0 {
            if word >> FLAGS > now.as_nanos() {
                return Standing::Ejected;
            }
            match self.bring_back(node, word, now, false) {
                Some(back) => word = back,
                // Another pick was first, or it was ejected again: the next pick will know.
                None => return Standing::Ejected,
            }
        }
        if word & FAILING != 0 {
            return Standing::Ejected;
        }
        if word & COLD != 0 {
            if self.waits_for_connection(node, now) {
                return Standing::Ejected;
            }
            self.warmed_up(node);
        }
        if word & BROKEN != 0 {
            return Standing::Broken;
        }
        match (&self.slow_start, word & WARMING) {
            (Some(slow_start), WARMING) => {
                let since = Instant::from_nanos(node.record().warming_since.load(Relaxed));
                let share = slow_start.share(now.saturating_since(since));
                if share >= 1.0 {
                    let warm = word & !WARMING;
                    let _ = node.state().word.compare_exchange(word, warm, AcqRel, Relaxed);
                }
                Standing::In(share)
            }
            _ => Standing::In(1.0),
        }
    }

    /// The share of its weight that an endpoint has, without bringing it back.
    pub(crate) fn share(&self, node: &Node, now: Instant) -> f64 {
        let word = node.state().word.load(Acquire);
        let cold = word & COLD != 0 && self.waits_for_connection(node, now);
        if word & (BROKEN | FAILING) != 0 || cold || word >> FLAGS > now.as_nanos() {
            return 0.0;
        }
        match (&self.slow_start, word & WARMING) {
            (Some(slow_start), WARMING) => {
                let since = Instant::from_nanos(node.record().warming_since.load(Relaxed));
                slow_start.share(now.saturating_since(since))
            }
            _ => 1.0,
        }
    }

    fn waits_for_connection(&self, node: &Node, now: Instant) -> bool {
        let since = Instant::from_nanos(node.record().cold_since.load(Relaxed));
        self.warm_up.is_some_and(|limit| now.saturating_since(since) < limit)
    }

    /// The endpoint is connected, or its time to connect is over.
    pub(crate) fn warmed_up(&self, node: &Node) {
        if !node.state().is_cold() {
            return;
        }
        // Its slow start, if it has one, begins with its calls.
        node.record().warming_since.store(self.clock.now().as_nanos(), Relaxed);
        if self.change(node, |word| (word & COLD != 0).then_some(word & !COLD)).is_some() {
            self.tell_panic();
        }
    }

    /// Ends the ejection in `word`, if nobody else has.
    fn bring_back(&self, node: &Node, word: u64, now: Instant, by_hand: bool) -> Option<u64> {
        // Before the word, which announces them.
        node.state().rows.store(0, Relaxed);
        node.record().returned_at.store(now.as_nanos(), Relaxed);
        let back = self.come_back(node, |current| {
            (current == word).then_some(current & FLAG_BITS & !RESTING)
        })?;
        let returned = Returned { endpoint: node.id(), by_hand };
        self.watch.tell(|observer, name| observer.returned(name, &returned));
        self.tell_panic();
        Some(back)
    }

    /// A change after which the endpoint grows into its share, where that takes time.
    fn come_back(&self, node: &Node, next: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        if self.slow_start.is_some() {
            node.record().warming_since.store(self.clock.now().as_nanos(), Relaxed);
        }
        self.change(node, |word| {
            let back = next(word)?;
            let warm = self.slow_start.is_some() && back & REMOVED == 0;
            Some(if warm { back | WARMING } else { back })
        })
    }

    /// Changes the standing and what counts it; gives the new one, or `None` when `next` did.
    fn change(&self, node: &Node, next: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        // AcqRel: Release pairs with the Acquire in `standing`, Acquire with earlier changes.
        let old = node.state().word.fetch_update(AcqRel, Acquire, &next).ok()?;
        let new = next(old)?;
        self.count(old, new);
        node.record().since.store(self.clock.now().as_nanos(), Relaxed);
        Some(new)
    }

    /// Counts a change; ejections are counted before they happen, in `reserve`.
    fn count(&self, old: u64, new: u64) {
        if is_ejected(old) && !is_ejected(new) {
            self.ejected.fetch_sub(1, Relaxed);
        }
        match (is_unwell(old), is_unwell(new)) {
            (false, true) => drop(self.unwell.fetch_add(1, Relaxed)),
            (true, false) => drop(self.unwell.fetch_sub(1, Relaxed)),
            _ => {}
        }
        match (old & COLD, new & COLD) {
            (0, COLD) => drop(self.cold.fetch_add(1, Relaxed)),
            (COLD, 0) => drop(self.cold.fetch_sub(1, Relaxed)),
            _ => {}
        }
    }

    fn until(&self, now: Instant, time: Duration) -> u64 {
        now.saturating_add(time).as_nanos().clamp(1, LATEST)
    }

    /// Takes an endpoint out, unless too many are out already or chance lets it stay.
    pub(crate) fn eject(&self, node: &Node, rules: &Ejection, cause: EjectCause, enforced: u8) {
        let word = node.state().word.load(Acquire);
        if is_ejected(word) || word & REMOVED != 0 {
            return;
        }
        if enforced < 100 && lock(&self.chance).u8(..100) >= enforced {
            // The row begins anew, so that each has one chance.
            node.state().rows.store(0, Relaxed);
            return;
        }
        if !self.reserve(rules) {
            return;
        }
        let now = self.clock.now();
        let returned = Instant::from_nanos(node.record().returned_at.load(Relaxed));
        let level = rules.level(node.record().level.load(Relaxed), now.saturating_since(returned));
        let time = rules.time(level, lock(&self.chance).f64());
        let until = self.until(now, time);
        let ejected = self.change(node, |word| {
            if is_ejected(word) || word & REMOVED != 0 {
                return None;
            }
            // At its own request it may stay away for longer.
            let until = until.max(word >> FLAGS);
            Some(word & FLAG_BITS & !(WARMING | RESTING) | until << FLAGS)
        });
        if ejected.is_none() {
            self.ejected.fetch_sub(1, Relaxed);
            return;
        }
        node.record().level.store(level.saturating_add(1), Relaxed);
        node.record().ejections.fetch_add(1, Relaxed);
        let ejected = Ejected { endpoint: node.id(), cause, time };
        self.watch.tell(|observer, name| observer.ejected(name, &ejected));
        self.tell_panic();
    }

    /// Takes an endpoint out by hand, whatever the rules allow; `false` when it is out already.
    pub(crate) fn eject_by_hand(&self, node: &Node, time: Duration) -> bool {
        let until = self.until(self.clock.now(), time);
        // Counted before it happens, as every ejection is.
        self.ejected.fetch_add(1, Relaxed);
        let ejected = self.change(node, |word| {
            let may = !is_ejected(word) && word & REMOVED == 0;
            may.then_some(word & FLAG_BITS & !(WARMING | RESTING) | until << FLAGS)
        });
        if ejected.is_none() {
            self.ejected.fetch_sub(1, Relaxed);
            return false;
        }
        node.record().ejections.fetch_add(1, Relaxed);
        let ejected = Ejected { endpoint: node.id(), cause: EjectCause::ByHand, time };
        self.watch.tell(|observer, name| observer.ejected(name, &ejected));
        self.tell_panic();
        true
    }

    /// Ejects those of `nodes` that did worse since the last sweep than the rules allow.
    pub(crate) fn sweep<'a>(&self, nodes: impl Iterator<Item = &'a Node>) {
        let Some(rules) = &self.ejection else { return };
        let nodes: Vec<_> = nodes.collect();
        // All are asked, so that an interval begins anew for those that are out too.
        let tallies: Vec<_> = nodes.iter().map(|node| node.record().tally(node)).collect();
        for Outlier { at, cause, enforcement_percent } in rules.outliers(&tallies) {
            self.eject(nodes[at], rules, cause, enforcement_percent);
        }
    }

    /// Counts one more ejected endpoint, if that many may be.
    fn reserve(&self, rules: &Ejection) -> bool {
        let endpoints = self.endpoints.load(Relaxed);
        let allowed = rules.allowed(endpoints);
        self.ejected.fetch_update(Relaxed, Relaxed, |n| (n < allowed).then_some(n + 1)).is_ok()
    }

    /// A new endpoint begins slowly.
    pub(crate) fn warm(&self, node: &Node) {
        if self.slow_start.is_some() {
            node.record().warming_since.store(self.clock.now().as_nanos(), Relaxed);
            node.state().word.fetch_or(WARMING, AcqRel);
        }
    }

    /// Another process answers under this id, or the registry took it back: a clean slate.
    pub(crate) fn reset(&self, node: &Node) {
        node.state().rows.store(0, Relaxed);
        node.record().level.store(0, Relaxed);
        let gate = if self.gate { FAILING } else { 0 };
        node.record().cold_since.store(self.clock.now().as_nanos(), Relaxed);
        let word = if self.warm_up.is_some() { gate | COLD } else { gate };
        self.change(node, |_| Some(word));
    }

    /// The endpoint is no longer among those that may be picked.
    pub(crate) fn remove(&self, node: &Node) {
        self.change(node, |_| Some(REMOVED));
    }

    /// Ends an ejection by hand; `false` when there was none.
    pub(crate) fn uneject(&self, node: &Node) -> bool {
        let word = node.state().word.load(Acquire);
        word >> FLAGS != 0 && self.bring_back(node, word, self.clock.now(), true).is_some()
    }
}

const FLAG_BITS: u64 = (1 << FLAGS) - 1;

fn is_ejected(word: u64) -> bool {
    word >> FLAGS != 0 && word & RESTING == 0
}

fn is_unwell(word: u64) -> bool {
    word & COLD == 0 && (word >> FLAGS != 0 || word & (FAILING | CRITICAL) != 0)
}

impl State {
    /// What there is to say of the endpoint, the worst first.
    pub(crate) fn describe(&self, now: Instant) -> EndpointState {
        let word = self.word.load(Acquire);
        if word >> FLAGS > now.as_nanos() {
            if word & RESTING != 0 { EndpointState::Resting } else { EndpointState::Ejected }
        } else if word & FAILING != 0 {
            EndpointState::CheckFailing
        } else if word & COLD != 0 {
            EndpointState::Connecting
        } else if word & CRITICAL != 0 {
            EndpointState::Critical
        } else if word & BROKEN != 0 {
            EndpointState::Broken
        } else if word & REFUSING != 0 {
            EndpointState::Refusing
        } else if word & WARMING != 0 {
            EndpointState::Warming
        } else {
            EndpointState::In
        }
    }

    /// Whether the endpoint is in full standing.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        // Relaxed: 0 announces nothing that would have to be read after it.
        self.word.load(Relaxed) == 0
    }

    /// Whether the endpoint waits for its connection.
    pub(crate) fn is_cold(&self) -> bool {
        self.word.load(Relaxed) & COLD != 0
    }

    /// Whether active checks keep the endpoint out.
    pub(crate) fn is_failing(&self) -> bool {
        self.word.load(Relaxed) & FAILING != 0
    }

    /// Whether nothing else is wrong than that the endpoint's service could not be made.
    pub(crate) fn is_broken_alone(&self) -> bool {
        let word = self.word.load(Acquire);
        word & BROKEN != 0 && word >> FLAGS == 0
    }

    /// The endpoint's service could not be made.
    pub(crate) fn set_broken(&self) {
        self.word.fetch_or(BROKEN, AcqRel);
    }

    /// The endpoint's service is there.
    #[inline]
    pub(crate) fn mend(&self) {
        if self.word.load(Relaxed) & BROKEN != 0 {
            self.word.fetch_and(!BROKEN, AcqRel);
        }
    }

    /// How long the ejection still lasts, if there is one.
    pub(crate) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let word = self.word.load(Acquire);
        let until = Instant::from_nanos(word >> FLAGS);
        (is_ejected(word) && until > now).then(|| until.saturating_since(now))
    }
}

impl Record {
    /// What the endpoint did since this was last asked.
    fn tally(&self, node: &Node) -> Tally {
        let totals = node.totals();
        let failures = totals.failures + self.given_up.load(Relaxed);
        let seen = self.swept_successes.swap(totals.successes, Relaxed);
        Tally {
            successes: totals.successes.saturating_sub(seen),
            failures: failures.saturating_sub(self.swept_failures.swap(failures, Relaxed)),
        }
    }

    /// When the standing last changed.
    pub(crate) fn since(&self) -> Instant {
        Instant::from_nanos(self.since.load(Relaxed))
    }

    /// The endpoint came into the set.
    pub(crate) fn begin(&self, now: Instant) {
        self.since.store(now.as_nanos(), Relaxed);
    }

    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }
}
