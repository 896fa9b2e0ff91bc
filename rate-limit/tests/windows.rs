//! The windows decide as their definitions say.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use proptest::prelude::*;
use seawall_core::Instant;
use seawall_rate_limit::{
    Clock, Quota, RateLimiter, TokenBucket,
    algorithm::{Algorithm, FixedWindow, Several, SlidingCounter, SlidingLog},
};

const SECOND: u64 = 1_000_000_000;

/// Everything that passed, and a definition to judge a call by.
struct History {
    limit: u128,
    period: u128,
    passed: Vec<(u64, u32)>,
}

impl History {
    fn new(quota: Quota) -> Self {
        let period = quota.period().as_nanos();
        Self { limit: quota.limit().into(), period, passed: Vec::new() }
    }

    fn sum(&self, counts: impl Fn(u128) -> bool) -> u128 {
        self.passed.iter().filter(|(at, _)| counts((*at).into())).map(|(_, n)| u128::from(*n)).sum()
    }

    fn log(&self, now: u64, cost: u32) -> bool {
        self.sum(|at| at + self.period > now.into()) + u128::from(cost) <= self.limit
    }

    fn fixed(&self, now: u64, cost: u32) -> bool {
        let window = u128::from(now) / self.period;
        self.sum(|at| at / self.period == window) + u128::from(cost) <= self.limit
    }

    fn counter(&self, now: u64, cost: u32) -> bool {
        let (window, elapsed) = (u128::from(now) / self.period, u128::from(now) % self.period);
        let current = self.sum(|at| at / self.period == window);
        let previous = self.sum(|at| at / self.period + 1 == window);
        // Both sides times the period, so that nothing is divided.
        previous * (self.period - elapsed) + (current + u128::from(cost)) * self.period
            <= self.limit * self.period
    }
}

type Definition = fn(&History, u64, u32) -> bool;

fn follows<A: Algorithm>(
    algorithm: A,
    definition: Definition,
    quota: Quota,
    steps: &[(u64, u32)],
) -> Result<(), TestCaseError> {
    let (clock, hand) = Clock::manual();
    let limiter = RateLimiter::of(algorithm).with_clock(clock);
    let mut history = History::new(quota);
    for &(gap, cost) in steps {
        hand.advance(Duration::from_nanos(gap));
        let now = hand.now().as_nanos();
        let passes = cost == 0 || definition(&history, now, cost);
        let looked = limiter.snapshot();
        let most = (0..=quota.limit()).rev().find(|&n| n == 0 || definition(&history, now, n));
        prop_assert_eq!(looked.remaining, most.unwrap());
        match limiter.check_n(cost) {
            Ok(allowed) => {
                prop_assert!(passes, "{} at {}", cost, now);
                prop_assert_eq!(allowed.remaining(), looked.remaining - cost);
                history.passed.push((now, cost));
            }
            Err(rejected) if rejected.is_never() => prop_assert!(cost > quota.limit()),
            Err(rejected) => {
                prop_assert!(!passes, "{} at {}", cost, now);
                prop_assert_eq!(limiter.snapshot(), looked, "a refusal changes nothing");
                let ready =
                    now + u64::try_from(rejected.retry_after().unwrap().as_nanos()).unwrap();
                prop_assert!(!definition(&history, ready - 1, cost));
                prop_assert!(definition(&history, ready, cost));
                hand.set(Instant::from_nanos(ready - 1));
                prop_assert!(limiter.check_n(cost).is_err());
                hand.set(Instant::from_nanos(ready));
                prop_assert!(limiter.check_n(cost).is_ok());
                history.passed.push((ready, cost));
            }
        }
        let snapshot = limiter.snapshot();
        let rested = hand.now().saturating_add(snapshot.reset_after).as_nanos();
        prop_assert!(definition(&history, rested, quota.limit()), "at rest after {snapshot:?}");
    }
    Ok(())
}

fn quotas() -> impl Strategy<Value = Quota> {
    let periods = prop_oneof![Just(SECOND), Just(60 * SECOND), 40..10_000_u64];
    (1..12_u32, periods).prop_map(|(limit, period)| Quota::new(limit, Duration::from_nanos(period)))
}

/// Gaps are parts of a period.
fn steps() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let gaps = prop_oneof![3 => 0..300_u32, 1 => Just(1_000), 1 => 0..5_000_u32];
    proptest::collection::vec((gaps, 0..14_u32), 1..40)
}

fn gaps(quota: Quota, steps: &[(u32, u32)]) -> Vec<(u64, u32)> {
    let period = u64::try_from(quota.period().as_nanos()).unwrap();
    steps.iter().map(|&(gap, cost)| (period * u64::from(gap) / 1_000, cost)).collect()
}

proptest! {
    #[test]
    fn a_log_counts_what_passed_within_a_period(quota in quotas(), steps in steps()) {
        follows(SlidingLog::new(quota).unwrap(), History::log, quota, &gaps(quota, &steps))?;
    }

    #[test]
    fn a_fixed_window_counts_what_passed_in_it(quota in quotas(), steps in steps()) {
        follows(FixedWindow::new(quota).unwrap(), History::fixed, quota, &gaps(quota, &steps))?;
    }

    #[test]
    fn a_counter_weighs_two_windows(quota in quotas(), steps in steps()) {
        follows(SlidingCounter::new(quota).unwrap(), History::counter, quota, &gaps(quota, &steps))?;
    }

    #[test]
    fn several_let_through_what_each_of_them_does(
        steps in proptest::collection::vec((0..40 * SECOND, 0..6_u32), 1..60),
    ) {
        let minute = Quota::per_minute(5);
        let day = Quota::new(20, Duration::from_secs(600));
        let logs = [SlidingLog::new(minute).unwrap(), SlidingLog::new(day).unwrap()];
        let (clock, hand) = Clock::manual();
        let limiter = RateLimiter::of(Several::new(logs).unwrap()).with_clock(clock);
        let mut histories = [History::new(minute), History::new(day)];
        for (gap, cost) in steps {
            hand.advance(Duration::from_nanos(gap));
            let now = hand.now().as_nanos();
            let passes = histories.iter().all(|history| cost == 0 || history.log(now, cost));
            match limiter.check_n(cost) {
                Ok(_) => {
                    prop_assert!(passes);
                    for history in &mut histories {
                        history.passed.push((now, cost));
                    }
                }
                Err(rejected) => {
                    prop_assert!(!passes);
                    let Some(wait) = rejected.retry_after() else { continue };
                    let ready = now + u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(histories.iter().all(|history| history.log(ready, cost)));
                    prop_assert!(!histories[rejected.index()].log(ready - 1, cost));
                }
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_gives_no_window_twice(
        times in proptest::collection::vec(0..5 * SECOND, 1..60),
    ) {
        let quota = Quota::per_second(3);
        let (clock, hand) = Clock::manual();
        let log = RateLimiter::of(SlidingLog::new(quota).unwrap()).with_clock(clock.clone());
        let fixed = RateLimiter::of(FixedWindow::new(quota).unwrap()).with_clock(clock.clone());
        let counter = RateLimiter::of(SlidingCounter::new(quota).unwrap()).with_clock(clock);
        let mut passed = [0; 3];
        let mut latest = 0;
        for now in times {
            latest = latest.max(now);
            hand.set(Instant::from_nanos(now));
            passed[0] += log.check_at_most(3);
            passed[1] += fixed.check_at_most(3);
            passed[2] += counter.check_at_most(3);
        }
        let windows = u32::try_from(latest / SECOND + 1).unwrap();
        for passed in passed {
            prop_assert!(passed <= windows * 3, "{passed:?} in {windows} windows");
        }
    }
}

#[test]
fn windows_begin_at_multiples_of_the_period() {
    let (clock, hand) = Clock::manual();
    let limiter = FixedWindow::new(Quota::new(1_500, Duration::from_secs(60))).unwrap();
    let limiter = RateLimiter::of(limiter).with_clock(clock);
    hand.set(Instant::from_nanos(59 * SECOND));
    limiter.check_n(1_500).unwrap();
    assert_eq!(limiter.check().unwrap_err().retry_after(), Some(Duration::from_secs(1)));
    hand.advance(Duration::from_secs(1));
    assert_eq!(limiter.check_n(1_500).unwrap().remaining(), 0);
}

#[test]
fn the_end_of_time_is_the_end_of_the_last_window() {
    let quota = Quota::new(3, Duration::from_nanos(1 << 61));
    let (clock, hand) = Clock::manual();
    hand.set(Instant::MAX);
    let log = RateLimiter::of(SlidingLog::new(quota).unwrap()).with_clock(clock.clone());
    let fixed = RateLimiter::of(FixedWindow::new(quota).unwrap()).with_clock(clock.clone());
    let counter = RateLimiter::of(SlidingCounter::new(quota).unwrap()).with_clock(clock);
    for _ in 0..3 {
        assert!(log.check().is_ok() && fixed.check().is_ok() && counter.check().is_ok());
    }
    assert!(fixed.check().is_err() && counter.check().is_err());
}

#[test]
fn of_several_the_last_to_let_through_is_named_and_nobody_pays_for_a_refusal() {
    let (clock, _hand) = Clock::manual();
    let limits = Several::new([
        TokenBucket::new(Quota::per_minute(100)).unwrap(),
        TokenBucket::new(Quota::per_hour(150)).unwrap(),
    ]);
    let limiter = RateLimiter::of(limits.unwrap()).with_clock(clock);
    limiter.check_n(100).unwrap();
    let rejected = limiter.check_n(60).unwrap_err();
    assert_eq!((rejected.index(), rejected.retry_after().unwrap().as_secs()), (1, 240));
    let rejected = limiter.check_n(50).unwrap_err();
    assert_eq!((rejected.index(), rejected.retry_after().unwrap().as_secs()), (0, 30));
    assert_eq!(limiter.snapshot().remaining, 0);
    assert!(limiter.check_n(101).unwrap_err().is_never());
}

#[test]
fn what_a_window_cannot_keep_is_refused() {
    let error = SlidingLog::new(Quota::per_second(2_000_000)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`limit` is 2000000, but must be 1 to 1048576: a log remembers every call"
    );
    let error = FixedWindow::new(Quota::per_second(5).burst(9)).unwrap_err();
    assert_eq!(error.to_string(), "`burst` is 9, but must be the limit, 5: a window has no burst");
    assert!(SlidingCounter::new(Quota::new(1, Duration::ZERO)).is_err());
    let none: [TokenBucket; 0] = [];
    assert!(Several::new(none).is_err());
}
