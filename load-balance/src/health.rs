//! Which endpoints are fit to be picked: ejection, slow start, construction that failed.
//!
//! # Orderings
//!
//! One word per endpoint holds its whole standing: when its ejection ends, and three flags. It
//! changes by compare-exchange alone, so that whoever takes an ejection out of it, by its end, by
//! hand or by removal of the endpoint, is the one that counts it down in `ejected`. A word of zero,
//! the usual one, is an endpoint in full standing, and costs a pick one load.
//!
//! `warming_since` and `returned_at` are written before the word that announces them (Release) and
//! read after it (Acquire). Counters are Relaxed: nothing else is read on the strength of them.

use std::time::Duration;

use seawall_core::{Clock, Instant};

use crate::{
    PeakEwma,
    eject::Ejection,
    latency::{Above, Latency},
    node::Node,
    slow_start::SlowStart,
    sync::{
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

const WARMING: u64 = 1;
const BROKEN: u64 = 2;
const REMOVED: u64 = 4;
const FLAGS: u32 = 3;
/// The latest end of an ejection that fits: 73 years.
const LATEST: u64 = u64::MAX >> FLAGS;

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
    /// Those of them that their registry calls critical.
    critical: AtomicUsize,
    ejected: AtomicUsize,
    /// Calls to all endpoints, where the policy bounds each one's part of them.
    in_flight: Option<InFlight>,
}

/// Written by all calls, so on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct InFlight(AtomicU64);

/// The standing of one endpoint, as far as each call looks at it.
#[derive(Debug, Default)]
pub(crate) struct State {
    word: AtomicU64,
    consecutive: AtomicU32,
}

/// What led to the standing of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// How many base times the next ejection adds to the first.
    level: AtomicU32,
    warming_since: AtomicU64,
    returned_at: AtomicU64,
    ejections: AtomicU64,
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
    pub(crate) fn new(
        clock: Clock,
        ejection: Option<Ejection>,
        slow_start: Option<SlowStart>,
        panic_percent: u8,
        ewma: Option<PeakEwma>,
        counts_in_flight: bool,
    ) -> Self {
        Self {
            clock,
            ejection,
            slow_start,
            panic_percent,
            ewma,
            usual: Latency::default(),
            endpoints: AtomicUsize::new(0),
            critical: AtomicUsize::new(0),
            ejected: AtomicUsize::new(0),
            in_flight: counts_in_flight.then(InFlight::default),
        }
    }

    pub(crate) fn set_endpoints(&self, endpoints: usize, critical: usize) {
        self.endpoints.store(endpoints, Relaxed);
        self.critical.store(critical, Relaxed);
    }

    /// How many endpoints are ejected now.
    pub(crate) fn ejected(&self) -> usize {
        self.ejected.load(Relaxed)
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
        let unwell = self.ejected() + self.critical.load(Relaxed);
        (endpoints.saturating_sub(unwell).max(1) as u64, endpoints.max(1) as u64)
    }

    /// Whether so few endpoints are well that ejection is ignored.
    #[inline]
    pub(crate) fn panicking(&self) -> bool {
        let endpoints = self.endpoints.load(Relaxed);
        let unwell = self.ejected() + self.critical.load(Relaxed);
        let well = endpoints.saturating_sub(unwell);
        well * 100 < endpoints * usize::from(self.panic_percent)
    }

    /// The time at which a call begins, where something needs to know how long it took.
    #[inline]
    pub(crate) fn start(&self) -> Option<Instant> {
        let asked = self.ewma.is_some()
            || self.ejection.as_ref().is_some_and(|rules| rules.abandoned_after().is_some());
        asked.then(|| self.clock.now())
    }

    /// An endpoint has answered a call that began at `started`.
    #[inline]
    pub(crate) fn answered(&self, node: &Node, started: Option<Instant>) {
        let (Some(ewma), Some(started)) = (&self.ewma, started) else { return };
        let now = self.clock.now();
        let latency = now.saturating_since(started);
        node.latency().add(latency, now, ewma.decay(), Above::Peak);
        // One in eight suffices for an average, and all threads write it.
        if node.finished().is_multiple_of(8) {
            self.usual.add(latency, now, ewma.decay(), Above::Mean);
        }
    }

    #[inline]
    pub(crate) fn success(&self, node: &Node) {
        let consecutive = &node.state().consecutive;
        // Looked at first, so that endpoints that are well are not written to.
        if consecutive.load(Relaxed) != 0 {
            consecutive.store(0, Relaxed);
        }
    }

    /// A call has failed, unanswered when `started` is there.
    pub(crate) fn failure(&self, node: &Node, started: Option<Instant>) {
        if let Some(ewma) = &self.ewma {
            let now = self.clock.now();
            let waited = started.map_or(Duration::ZERO, |started| now.saturating_since(started));
            let latency = waited.max(ewma.failure_penalty());
            node.latency().add(latency, now, ewma.decay(), Above::Peak);
        }
        let Some(rules) = &self.ejection else { return };
        let consecutive = node.state().consecutive.fetch_add(1, Relaxed).saturating_add(1);
        if consecutive >= rules.consecutive_failures() {
            self.eject(node, rules, self.clock.now());
        }
    }

    /// A call was dropped, unanswered when `started` is there.
    pub(crate) fn abandoned(&self, node: &Node, started: Option<Instant>) {
        let Some(started) = started else { return };
        let now = self.clock.now();
        let waited = now.saturating_since(started);
        let after = self.ejection.as_ref().and_then(Ejection::abandoned_after);
        if after.is_some_and(|after| waited >= after) {
            self.failure(node, Some(started));
        } else if let Some(ewma) = &self.ewma
            && node.latency().last().is_none_or(|latency| waited.as_nanos() as f32 > latency)
        {
            // Short of an answer, all that is known is that it would have taken longer.
            node.latency().add(waited, now, ewma.decay(), Above::Peak);
        }
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
            match self.bring_back(node, word, now) {
                Some(back) => word = back,
                // Another pick was first, or it was ejected again: the next pick will know.
                None => return Standing::Ejected,
            }
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
        if word & BROKEN != 0 || word >> FLAGS > now.as_nanos() {
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

    /// Ends the ejection in `word`, if nobody else has.
    fn bring_back(&self, node: &Node, word: u64, now: Instant) -> Option<u64> {
        // Before the word, which announces them.
        node.state().consecutive.store(0, Relaxed);
        node.record().returned_at.store(now.as_nanos(), Relaxed);
        let mut back = word & ((1 << FLAGS) - 1);
        if self.slow_start.is_some() {
            node.record().warming_since.store(now.as_nanos(), Relaxed);
            back |= WARMING;
        }
        // Release: pairs with the Acquire in `standing`.
        node.state().word.compare_exchange(word, back, AcqRel, Relaxed).ok()?;
        self.ejected.fetch_sub(1, Relaxed);
        Some(back)
    }

    /// Takes an endpoint out, unless too many are out already.
    fn eject(&self, node: &Node, rules: &Ejection, now: Instant) {
        let mut word = node.state().word.load(Acquire);
        if word >> FLAGS != 0 || word & REMOVED != 0 || !self.reserve(rules) {
            return;
        }
        let returned = Instant::from_nanos(node.record().returned_at.load(Relaxed));
        let level = rules.level(node.record().level.load(Relaxed), now.saturating_since(returned));
        let until = now.saturating_add(rules.time(level)).as_nanos().clamp(1, LATEST);
        loop {
            let out = word & !WARMING | until << FLAGS;
            match node.state().word.compare_exchange_weak(word, out, AcqRel, Acquire) {
                Ok(_) => break,
                Err(other) if other >> FLAGS != 0 || other & REMOVED != 0 => {
                    self.ejected.fetch_sub(1, Relaxed);
                    return;
                }
                Err(other) => word = other,
            }
        }
        node.record().level.store(level.saturating_add(1), Relaxed);
        node.record().ejections.fetch_add(1, Relaxed);
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
        node.state().consecutive.store(0, Relaxed);
        node.record().level.store(0, Relaxed);
        self.release(node.state().word.swap(0, AcqRel));
    }

    /// The endpoint is no longer among those that may be picked.
    pub(crate) fn remove(&self, node: &Node) {
        self.release(node.state().word.swap(REMOVED, AcqRel));
    }

    fn release(&self, word: u64) {
        if word >> FLAGS != 0 {
            self.ejected.fetch_sub(1, Relaxed);
        }
    }

    /// Ends an ejection by hand; `false` when there was none.
    pub(crate) fn uneject(&self, node: &Node) -> bool {
        let word = node.state().word.load(Acquire);
        word >> FLAGS != 0 && self.bring_back(node, word, self.clock.now()).is_some()
    }
}

impl State {
    /// Whether the endpoint is in full standing.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        // Relaxed: 0 announces nothing that would have to be read after it.
        self.word.load(Relaxed) == 0
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
        let until = Instant::from_nanos(self.word.load(Acquire) >> FLAGS);
        (until > now).then(|| until.saturating_since(now))
    }
}

impl Record {
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }
}
