//! Limits that adapt find what a callee can do: a simulated one with a queue of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use seawall_core::{Guard, Instant, ManualClock, Outcome};
use seawall_rate_limit::{
    Clock,
    concurrency::{Aimd, ConcurrencyLimit, Gradient, Limit, Permit},
};
use seawall_test_support::Rng;

const MS: u64 = 1_000_000;

/// A callee that works on so many calls at once and lets the others queue. There is always another
/// call to make: whatever the limit lets through, it gets.
struct Callee {
    limit: ConcurrencyLimit,
    hand: ManualClock,
    workers: usize,
    service_nanos: u64,
    /// Whether times vary as those of a memoryless service do, or not at all.
    varies: bool,
    busy: BinaryHeap<Reverse<(u64, u64)>>,
    queue: VecDeque<u64>,
    calls: Vec<Option<(u64, Permit)>>,
    rng: Rng,
}

/// What a stretch of time looked like.
#[derive(Debug)]
struct Seen {
    /// The mean limit, and the largest.
    limit: f64,
    most: u32,
    /// The mean time to an answer, in units of the service time.
    latency: f64,
    /// Answers, as a share of what the callee can give.
    throughput: f64,
}

impl Callee {
    fn new(limit: impl Into<Limit>, workers: usize, service_nanos: u64, varies: bool) -> Self {
        let (clock, hand) = Clock::manual();
        let limit = ConcurrencyLimit::new(limit).unwrap().with_clock(clock);
        let (busy, queue, calls) = (BinaryHeap::new(), VecDeque::new(), Vec::new());
        let rng = Rng::with_seed(7);
        Self { limit, hand, workers, service_nanos, varies, busy, queue, calls, rng }
    }

    fn run(&mut self, time: Duration) -> Seen {
        let start = self.hand.now();
        let end = start.saturating_add(time);
        let (mut answers, mut waited, mut weighted, mut most) = (0_u64, 0_u64, 0_u128, 0);
        loop {
            let now = self.hand.now().as_nanos();
            self.fill(now);
            let Some(&Reverse((next, _))) = self.busy.peek() else {
                panic!("nothing is in flight")
            };
            if next > end.as_nanos() {
                break;
            }
            let limit = self.limit.snapshot().limit;
            (weighted, most) =
                (weighted + u128::from(limit) * u128::from(next - now), most.max(limit));
            self.hand.set(Instant::from_nanos(next));
            let Some(Reverse((_, call))) = self.busy.pop() else { continue };
            let (began, mut permit) = self.calls[call as usize].take().unwrap();
            waited += next - began;
            answers += 1;
            permit.answered();
            permit.finish(Outcome::Success);
            self.work(next);
        }
        let span = self.hand.now().saturating_since(start).as_nanos() as f64;
        let could = span / self.service_nanos as f64 * self.workers as f64;
        let latency = waited as f64 / answers as f64 / self.service_nanos as f64;
        Seen { limit: weighted as f64 / span, most, latency, throughput: answers as f64 / could }
    }

    /// Makes as many calls as the limit allows.
    fn fill(&mut self, now: u64) {
        while let Ok(permit) = self.limit.try_acquire() {
            self.calls.push(Some((now, permit)));
            self.queue.push_back(self.calls.len() as u64 - 1);
            self.work(now);
        }
    }

    fn work(&mut self, now: u64) {
        while self.busy.len() < self.workers
            && let Some(call) = self.queue.pop_front()
        {
            let varied = -(1.0 - self.rng.f64()).ln() * self.service_nanos as f64;
            let time = if self.varies { varied as u64 } else { self.service_nanos };
            self.busy.push(Reverse((now + time, call)));
        }
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_gradient_settles_where_calls_take_about_as_long_as_without_a_queue() {
    for (workers, varies) in [(5, true), (20, false), (20, true), (60, true)] {
        let mut callee = Callee::new(Gradient::new(), workers, 10 * MS, varies);
        callee.run(seconds(25));
        let seen = callee.run(seconds(20));
        let near = 0.9 * workers as f64..1.7 * workers as f64;
        assert!(near.contains(&seen.limit), "{workers} workers: {seen:?}");
        assert!(seen.latency < 1.7, "{workers} workers: {seen:?}");
        assert!(seen.throughput > 0.9, "{workers} workers: {seen:?}");
    }
}

#[test]
fn a_gradient_follows_a_callee_that_shrinks_and_grows() {
    let mut callee = Callee::new(Gradient::new(), 40, 10 * MS, true);
    callee.run(seconds(20));
    for (workers, within) in [(10, 15), (40, 25)] {
        callee.workers = workers;
        callee.run(seconds(within));
        let seen = callee.run(seconds(15));
        let near = 0.9 * workers as f64..1.7 * workers as f64;
        assert!(near.contains(&seen.limit), "{workers} workers: {seen:?}");
        assert!(seen.latency < 1.7, "{workers} workers: {seen:?}");
        assert!(seen.throughput > 0.9, "{workers} workers: {seen:?}");
    }
}

#[test]
fn a_gradient_tells_a_callee_that_became_slower_from_a_queue() {
    let mut callee = Callee::new(Gradient::new(), 20, 5 * MS, true);
    callee.run(seconds(10));
    callee.service_nanos = 20 * MS;
    callee.run(seconds(40));
    let seen = callee.run(seconds(15));
    assert!(seen.throughput > 0.9 && seen.latency < 1.7, "{seen:?}");
}

#[test]
fn aimd_settles_where_calls_are_in_time_and_follows_a_callee_that_shrinks_and_grows() {
    // In time is twice as long as without a queue: that is twice as many calls as workers.
    let aimd = Aimd::new(Duration::from_nanos(20 * MS));
    let mut callee = Callee::new(aimd, 20, 10 * MS, false);
    for workers in [20, 5, 40, 20] {
        callee.workers = workers;
        callee.run(seconds(15));
        let seen = callee.run(seconds(15));
        assert!(seen.limit > 1.3 * workers as f64, "{workers} workers: {seen:?}");
        assert!(f64::from(seen.most) <= 2.2 * workers as f64 + 2.0, "{workers} workers: {seen:?}");
        assert!(seen.latency < 2.2, "{workers} workers: {seen:?}");
        assert!(seen.throughput > 0.95, "{workers} workers: {seen:?}");
    }
}
