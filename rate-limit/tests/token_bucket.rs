//! The token bucket decides as exact arithmetic does.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use proptest::prelude::*;
use seawall_core::Instant;
use seawall_rate_limit::{Clock, Quota, RateLimiter};

const SECOND: u64 = 1_000_000_000;
const TEN_YEARS: u64 = 10 * 366 * 24 * 3_600 * SECOND;

/// The algorithm as its source has it, in exact fractions: times are nanoseconds times `limit`, so
/// that a cell costs `period` of them.
struct Exact {
    limit: u128,
    period: u128,
    burst: u128,
    tat: u128,
}

impl Exact {
    fn new(quota: Quota) -> Self {
        let (limit, burst) = (quota.limit().into(), quota.capacity().into());
        Self { limit, period: quota.period().as_nanos(), burst, tat: 0 }
    }

    fn after(&self, now: u64, cost: u32) -> u128 {
        self.tat.max(u128::from(now) * self.limit) + u128::from(cost) * self.period
    }

    fn passes(&self, now: u64, cost: u32) -> bool {
        self.after(now, cost) <= u128::from(now) * self.limit + self.burst * self.period
    }

    fn take(&mut self, now: u64, cost: u32) {
        self.tat = self.after(now, cost);
    }

    fn remaining(&self, now: u64) -> u32 {
        let full = u128::from(now) * self.limit + self.burst * self.period;
        u32::try_from(full.saturating_sub(self.after(now, 0)) / self.period).unwrap()
    }

    /// The first nanosecond at which the cost passes.
    fn first(&self, cost: u32) -> u64 {
        let earliest = (self.tat + u128::from(cost) * self.period) - self.burst * self.period;
        u64::try_from(earliest.div_ceil(self.limit)).unwrap()
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    let limits = prop_oneof![1..20_u32, Just(1_500), Just(999_999_999), Just(1_000_000_000)];
    let periods = prop_oneof![
        Just(SECOND),
        Just(60 * SECOND),
        Just(3_600 * SECOND),
        1_000_000_000..100_000_000_000_u64,
    ];
    (limits, periods, prop_oneof![1..30_u32, Just(100_000)]).prop_map(|(limit, period, burst)| {
        Quota::new(limit, Duration::from_nanos(period)).burst(burst)
    })
}

fn steps() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let gaps = prop_oneof![
        3 => 0..3_u64,
        3 => 0..SECOND,
        2 => 0..100 * SECOND,
        1 => Just(TEN_YEARS / 40),
    ];
    proptest::collection::vec((gaps, 0..35_u32), 1..40)
}

proptest! {
    #[test]
    fn every_decision_is_that_of_exact_arithmetic(quota in quotas(), steps in steps()) {
        let (clock, hand) = Clock::manual();
        let limiter = RateLimiter::new(quota).unwrap().with_clock(clock);
        let mut exact = Exact::new(quota);
        let divides = exact.period.is_multiple_of(exact.limit);
        for (gap, cost) in steps {
            hand.advance(Duration::from_nanos(gap));
            let now = hand.now().as_nanos();
            match limiter.check_n(cost) {
                Ok(allowed) => {
                    let within = now + u64::from(!divides);
                    prop_assert!(cost == 0 || exact.passes(within, cost), "{cost} at {now}");
                    if cost > 0 {
                        exact.take(now, cost);
                    }
                    if divides {
                        prop_assert_eq!(allowed.remaining(), exact.remaining(now));
                    }
                }
                Err(rejected) if rejected.is_never() => prop_assert!(cost > quota.capacity()),
                Err(rejected) => {
                    let wait = u64::try_from(rejected.retry_after().unwrap().as_nanos()).unwrap();
                    prop_assert!(wait > 0);
                    let off = (now + wait).abs_diff(exact.first(cost));
                    prop_assert!(off <= u64::from(!divides), "off by {off} ns");

                    // To the nanosecond, by the limiter's own word.
                    hand.set(Instant::from_nanos(now + wait - 1));
                    prop_assert!(limiter.check_n(cost).is_err());
                    hand.set(Instant::from_nanos(now + wait));
                    prop_assert!(limiter.check_n(cost).is_ok());
                    exact.take(now + wait, cost);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_back_and_forth_gives_no_cell_too_many(
        quota in quotas(),
        times in proptest::collection::vec(prop_oneof![0..SECOND, 0..TEN_YEARS], 1..40),
    ) {
        let (clock, hand) = Clock::manual();
        let limiter = RateLimiter::new(quota).unwrap().with_clock(clock);
        let mut passed: u128 = 0;
        let mut latest = 0;
        for now in times {
            hand.set(Instant::from_nanos(now));
            latest = latest.max(now);
            while passed < 2_000_000 && limiter.check_n(quota.capacity()).is_ok() {
                passed += u128::from(quota.capacity());
            }
        }
        let quotient = u128::from(latest + 1) * u128::from(quota.limit()) / quota.period().as_nanos();
        let most = u128::from(quota.capacity()) + quotient;
        prop_assert!(passed <= most, "{passed} passed, {most} may");
    }

    #[test]
    fn as_many_pass_as_there_are(
        quota in quotas(),
        gaps in proptest::collection::vec((0..10 * SECOND, 0..40_u32), 1..20),
    ) {
        let (clock, hand) = Clock::manual();
        let limiter = RateLimiter::new(quota).unwrap().with_clock(clock);
        for (gap, asked) in gaps {
            hand.advance(Duration::from_nanos(gap));
            let left = limiter.snapshot().remaining;
            prop_assert_eq!(limiter.check_at_most(asked), asked.min(left));
            prop_assert_eq!(limiter.snapshot().remaining, left - asked.min(left));
        }
    }
}

#[test]
fn a_billion_cells_take_as_long_as_the_rate_says() {
    for (limit, period) in [(3, SECOND), (7, SECOND), (999_999_937, SECOND), (1_500, 61 * SECOND)] {
        let quota = Quota::new(limit, Duration::from_nanos(period)).burst(2_000_000);
        let (clock, hand) = Clock::manual();
        let limiter = RateLimiter::new(quota).unwrap().with_clock(clock);
        // Never full again, because a full bucket loses what it has no room for.
        limiter.check_n(2_000_000).unwrap();
        for _ in 0..1_000 {
            hand.advance(limiter.check_n(1_000_000).unwrap_err().retry_after().unwrap());
            limiter.check_n(1_000_000).unwrap();
        }
        let exact = (1_000_000_000 * u128::from(period)).div_ceil(limit.into());
        let off = u128::from(hand.now().as_nanos()).abs_diff(exact);
        assert!(off <= 1, "{limit} per {period} ns: off by {off} ns after 1e9 cells");
    }
}

#[test]
fn at_a_billion_a_second_each_nanosecond_brings_one_cell() {
    let (clock, hand) = Clock::manual();
    let quota = Quota::per_second(1_000_000_000).burst(1);
    let limiter = RateLimiter::new(quota).unwrap().with_clock(clock);
    for _ in 0..1_000 {
        assert!(limiter.check().is_ok());
        assert!(limiter.check().is_err());
        hand.advance(Duration::from_nanos(1));
    }
}

#[test]
fn a_full_bucket_holds_its_burst_at_any_time() {
    for limit in [3, 7, 999_999_999] {
        let (clock, hand) = Clock::manual();
        let limiter =
            RateLimiter::new(Quota::per_second(limit).burst(5)).unwrap().with_clock(clock);
        for _ in 0..100 {
            hand.advance(Duration::from_nanos(5_000_000_001));
            assert_eq!(limiter.snapshot().remaining, 5, "{limit} a second");
            assert_eq!(limiter.check_n(5).unwrap().remaining(), 0, "{limit} a second");
        }
    }
}

#[test]
fn a_burst_passes_one_by_one_while_the_clock_stands_still() {
    for limit in [3, 7, 10, 999_999_999] {
        let (clock, hand) = Clock::manual();
        let limiter =
            RateLimiter::new(Quota::per_second(limit).burst(50)).unwrap().with_clock(clock);
        hand.advance(Duration::from_nanos(1_234_567_891));
        for left in (0..50).rev() {
            assert_eq!(limiter.check().unwrap().remaining(), left, "{limit} a second");
        }
        assert!(limiter.check().is_err(), "{limit} a second");
    }
}

#[test]
fn a_refusal_changes_nothing() {
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_second(10).burst(5)).unwrap().with_clock(clock);
    limiter.check_n(3).unwrap();
    let before = limiter.snapshot();
    assert!(limiter.check_n(3).is_err());
    assert!(limiter.check_n(6).unwrap_err().is_never());
    assert!(limiter.check_n(u32::MAX).unwrap_err().is_never());
    assert_eq!(limiter.snapshot(), before);
    assert_eq!(limiter.check_n(2).unwrap().remaining(), 0);
}

#[test]
fn looking_takes_nothing() {
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_second(1)).unwrap().with_clock(clock);
    for _ in 0..3 {
        assert_eq!(limiter.peek().unwrap().remaining(), 0, "after the call that it looks at");
        assert_eq!(limiter.check_n(0).unwrap().remaining(), 1);
    }
    limiter.check().unwrap();
    assert_eq!(limiter.peek().unwrap_err().retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(limiter.check_n(0).unwrap().remaining(), 0);
}

#[test]
fn reset_is_when_the_bucket_is_full_again() {
    let (clock, hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_second(3).burst(6)).unwrap().with_clock(clock);
    let reset = limiter.check_n(5).unwrap().reset_after();
    hand.advance(reset - Duration::from_nanos(1));
    assert_eq!(limiter.snapshot().remaining, 5);
    hand.advance(Duration::from_nanos(1));
    assert_eq!(limiter.snapshot().remaining, 6);
    assert_eq!(limiter.snapshot().reset_after, Duration::ZERO);
}

#[test]
fn at_the_end_of_time_nothing_refills_and_nothing_overflows() {
    for limit in [1, 3, 1_000_000_000] {
        let (clock, hand) = Clock::manual();
        let limiter =
            RateLimiter::new(Quota::per_second(limit).burst(2)).unwrap().with_clock(clock);
        hand.set(Instant::MAX);
        assert!(limiter.check_n(2).is_ok());
        assert!(limiter.check().is_err());
        assert!(limiter.check().is_err());
    }
}

#[test]
fn a_slow_bucket_holds_a_burst_of_decades() {
    let (clock, hand) = Clock::manual();
    let quota = Quota::new(1, Duration::from_secs(365 * 24 * 3_600)).burst(70);
    let limiter = RateLimiter::new(quota).unwrap().with_clock(clock);
    limiter.check_n(70).unwrap();
    hand.advance(Duration::from_nanos(TEN_YEARS));
    assert_eq!(limiter.snapshot().remaining, 10);
}

#[test]
fn a_quota_that_cannot_be_kept_is_refused_with_what_can() {
    let error = |quota| RateLimiter::new(quota).unwrap_err().to_string();
    let year = Duration::from_secs(365 * 24 * 3_600);
    for (quota, message) in [
        (
            Quota::per_second(0),
            "`limit` is 0, but must be 1 to 1000000000 per 1s, at most one a nanosecond",
        ),
        (
            Quota::per_second(1_000_000_001),
            "`limit` is 1000000001, but must be 1 to 1000000000 per 1s, at most one a nanosecond",
        ),
        (Quota::new(1, Duration::ZERO), "`period` is 0ns, but must be 1ns to 73 years"),
        (Quota::per_second(5).burst(0), "`burst` is 0, but must be 1 to 4294967295 at 5 per 1s"),
        (Quota::new(1, year).burst(74), "`burst` is 74, but must be 1 to 73 at 1 per 31536000s"),
    ] {
        assert_eq!(error(quota), message);
    }
    assert!(error(Quota::new(1, Duration::MAX)).starts_with("`period` is"));
}
