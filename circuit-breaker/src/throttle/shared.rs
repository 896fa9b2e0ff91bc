//! What the handles of a throttle share: a window for each priority, and the settings.
//!
//! # Orderings
//!
//! `shape` holds the length of a bucket and the tag of the generation in one word. It is written
//! under the lock of `config`, with Release, after the windows have been reset to that tag, and loaded
//! with Acquire by each call, which carries it to its end: a late call counts in windows of its own
//! generation, or not at all (see [`window`](crate::window)). Everything else is a knob or a gauge,
//! and relaxed; a change of `shedding` is one compare-exchange, so that it is told once.

use std::sync::{
    Arc, PoisonError,
    atomic::Ordering::{Acquire, Relaxed, Release},
};

use fastrand::Rng;
use seawall_core::{Clock, Instant, Outcome};

use super::{
    Class, Config, Observer, Priority, Rejected, Shedding, Snapshot,
    odds::{Multiplier, Odds},
};
use crate::{
    OnDrop,
    sync::{Apart, AtomicU32, AtomicU64, Mutex},
    trip::saturating_nanos,
    window::{BUCKETS, Counts, Sample, Tag, TimeWindow},
};

pub(crate) struct Shared {
    shape: AtomicU64,
    padding: AtomicU32,
    /// The age from which a dropped call was not accepted; `u64::MAX` for never.
    drop_age_nanos: AtomicU64,
    lanes: [Apart<Lane>; 4],
    /// Moved on by each draw.
    seed: Apart<AtomicU64>,
    config: Mutex<Config>,
    clock: Clock,
    pub(super) name: Option<Arc<str>>,
    observer: Option<Arc<dyn Observer>>,
}

/// The calls of one priority. A call that was not accepted is a failure of the window.
struct Lane {
    k: AtomicU32,
    window: TimeWindow,
    /// How often it began or ceased to refuse: odd while it does.
    shedding: AtomicU64,
    /// The bucket of the last refusal.
    last_refusal: AtomicU64,
}

/// The right to one call, as the throttle knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    shape: Shape,
    start: Instant,
    pub(super) priority: Priority,
}

/// The length of a bucket above the tag of the generation.
#[derive(Clone, Copy, Debug)]
struct Shape(u64);

/// 2⁶⁴ divided by the golden ratio: seeds that are this far apart never repeat, and look nothing alike
/// (Guy L. Steele Jr. and others, *Fast Splittable Pseudorandom Number Generators*, 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Shape {
    fn new(tag: Tag, config: &Config) -> Self {
        // A day's sixteenth has 43 bits.
        Self((saturating_nanos(config.window) / BUCKETS) << 16 | u64::from(tag.0))
    }

    const fn tag(self) -> Tag {
        Tag(self.0 as u16)
    }

    const fn bucket_nanos(self) -> u64 {
        self.0 >> 16
    }
}

impl Shared {
    pub(super) fn new(
        config: Config,
        clock: Clock,
        name: Option<Arc<str>>,
        observer: Option<Arc<dyn Observer>>,
        seed: u64,
    ) -> Self {
        let shared = Self {
            shape: AtomicU64::new(0),
            padding: AtomicU32::new(0),
            drop_age_nanos: AtomicU64::new(0),
            lanes: std::array::from_fn(|_| Apart(Lane::new())),
            seed: Apart(AtomicU64::new(seed)),
            config: Mutex::new(config.clone()),
            clock,
            name,
            observer,
        };
        shared.set(&config);
        shared.restart(Shape::new(Tag(0), &config));
        shared
    }

    #[inline]
    pub(super) fn admit(&self, priority: Priority) -> Result<Ticket, Rejected> {
        let (shape, now) = (self.shape(), self.clock.now());
        let lane = &self.lanes[priority as usize];
        // While nothing was refused within the window, nothing is now.
        if lane.window.has_bad(now, shape.bucket_nanos()) || lane.is_shedding() {
            self.weigh(priority, shape, now)?;
        }
        Ok(Ticket { shape, start: now, priority })
    }

    #[cold]
    fn weigh(&self, priority: Priority, shape: Shape, now: Instant) -> Result<(), Rejected> {
        let lane = &self.lanes[priority as usize];
        let counts = lane.window.counts(now, shape.bucket_nanos());
        let odds = self.odds(lane, counts);
        let refused = odds.refuse(|| Rng::with_seed(self.seed.fetch_add(GOLDEN, Relaxed)));
        if let Some(generation) = lane.turn(refused, now.as_nanos() / shape.bucket_nanos()) {
            let (requests, accepts) = (counts.calls, accepts(counts));
            let change = Shedding { priority, on: refused, generation, at: now, requests, accepts };
            self.tell(|observer, name| observer.shedding(name, &change));
        }
        if !refused {
            return Ok(());
        }
        lane.window.add(shape.tag(), Sample::FAILED, now, shape.bucket_nanos());
        let rejected = Rejected::new(priority, odds.probability());
        self.tell(|observer, name| observer.rejected(name, &rejected));
        Err(rejected)
    }

    /// A call that was admitted has ended.
    pub(super) fn finish(&self, ticket: Ticket, outcome: Outcome) {
        let sample = match outcome {
            Outcome::Success => Sample::GOOD,
            Outcome::Failure => Sample::FAILED,
            _ => return,
        };
        let window = &self.lanes[ticket.priority as usize].window;
        window.add(ticket.shape.tag(), sample, self.clock.now(), ticket.shape.bucket_nanos());
    }

    /// What a call counts as that its caller dropped.
    pub(super) fn dropped(&self, ticket: Ticket) -> Outcome {
        let age = || self.clock.now().saturating_since(ticket.start).as_nanos();
        match self.drop_age_nanos.load(Relaxed) {
            u64::MAX => Outcome::Ignored,
            limit if limit == 0 || age() >= limit.into() => Outcome::Failure,
            _ => Outcome::Ignored,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (shape, now) = (self.shape(), self.clock.now());
        let classes = Priority::ALL.map(|priority| {
            let lane = &self.lanes[priority as usize];
            let counts = lane.window.counts(now, shape.bucket_nanos());
            Class {
                priority,
                requests: counts.calls,
                accepts: accepts(counts),
                k: f64::from(lane.k.load(Relaxed)) / 1_000.0,
                rejection_probability: self.odds(lane, counts).probability(),
                shedding: lane.is_shedding(),
            }
        });
        Snapshot { classes }
    }

    pub(super) fn reconfigure(&self, config: Config) {
        let mut held = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        self.set(&config);
        if held.window != config.window {
            let tag = Tag(self.shape().tag().0.wrapping_add(1));
            self.restart(Shape::new(tag, &config));
        }
        *held = config;
    }

    fn set(&self, config: &Config) {
        for (lane, k) in self.lanes.iter().zip(config.k) {
            lane.k.store(k.0, Relaxed);
        }
        self.padding.store(config.padding, Relaxed);
        let age = match config.on_drop {
            OnDrop::Ignore => u64::MAX,
            OnDrop::Failure => 0,
            OnDrop::FailureAfter(age) => saturating_nanos(age),
        };
        self.drop_age_nanos.store(age, Relaxed);
    }

    fn restart(&self, shape: Shape) {
        for lane in &self.lanes {
            lane.window.reset(shape.tag(), self.clock.now(), shape.bucket_nanos());
        }
        // Release: pairs with the Acquire in `shape`.
        self.shape.store(shape.0, Release);
    }

    #[inline]
    fn shape(&self) -> Shape {
        // Acquire: pairs with the Release in `restart`.
        Shape(self.shape.load(Acquire))
    }

    fn odds(&self, lane: &Lane, counts: Counts) -> Odds {
        let k = Multiplier(lane.k.load(Relaxed));
        Odds::new(counts.calls, accepts(counts), k, self.padding.load(Relaxed))
    }

    fn tell(&self, what: impl FnOnce(&dyn Observer, Option<&str>)) {
        if let Some(observer) = &self.observer {
            what(&**observer, self.name.as_deref());
        }
    }
}

/// A bucket that turns while it is read may show a failure without its call.
fn accepts(counts: Counts) -> u64 {
    counts.calls.saturating_sub(counts.failures)
}

impl Lane {
    fn new() -> Self {
        Self {
            k: AtomicU32::new(0),
            window: TimeWindow::new(),
            shedding: AtomicU64::new(0),
            last_refusal: AtomicU64::new(0),
        }
    }

    #[inline]
    fn is_shedding(&self) -> bool {
        self.shedding.load(Relaxed) % 2 == 1
    }

    /// Notes what became of a call in `bucket`; gives the number of the change that this is, if it is
    /// one.
    fn turn(&self, refused: bool, bucket: u64) -> Option<u64> {
        let generation = self.shedding.load(Relaxed);
        let sheds = generation % 2 == 1;
        if refused {
            self.last_refusal.store(bucket, Relaxed);
        }
        let ceased = || bucket > self.last_refusal.load(Relaxed).saturating_add(1);
        let changes = if sheds { !refused && ceased() } else { refused };
        let next = generation + 1;
        let turned =
            changes && self.shedding.compare_exchange(generation, next, Relaxed, Relaxed).is_ok();
        turned.then_some(next)
    }
}
