//! A quota that changes while the limiter runs: nothing is forgotten, nothing is given away.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use proptest::prelude::*;
use seawall_rate_limit::{
    Clock, KeyedLimiter, Quota, RateLimiter, TokenBucket,
    algorithm::{FixedWindow, FromQuotas, Several, SlidingCounter, SlidingLog},
};

const SECOND: Duration = Duration::from_secs(1);

/// The limiter of golang's x/time/rate, in whole parts: a cell is `WHOLE` of them, which all of the
/// periods divide in all of the rates below.
struct Golang {
    quota: Quota,
    /// Negative while reservations are ahead.
    parts: i128,
    last: u64,
}

const WHOLE: i128 = 60 * 1_000_000_000;

impl Golang {
    fn new(quota: Quota) -> Self {
        Self { quota, parts: i128::from(quota.capacity()) * WHOLE, last: 0 }
    }

    fn advance(&mut self, now: u64) {
        let passed = i128::from(now - self.last) * i128::from(self.quota.limit());
        let more = passed * WHOLE / self.quota.period().as_nanos() as i128;
        self.parts = (self.parts + more).min(i128::from(self.quota.capacity()) * WHOLE);
        self.last = now;
    }

    fn set(&mut self, now: u64, quota: Quota) {
        self.advance(now);
        self.quota = quota;
        self.advance(now);
    }

    /// What is full is as if it had never been used.
    fn set_keyed(&mut self, now: u64, quota: Quota) {
        self.advance(now);
        if self.parts == i128::from(self.quota.capacity()) * WHOLE {
            *self = Self { last: now, ..Self::new(quota) };
        }
        self.set(now, quota);
    }

    fn take(&mut self, now: u64, cost: u32, patient: bool) -> Result<u64, Option<u64>> {
        self.advance(now);
        if cost > self.quota.capacity() {
            return Err(None);
        }
        let after = self.parts - i128::from(cost) * WHOLE;
        let lack = (-after).max(0) * self.quota.period().as_nanos() as i128;
        let wait = lack / (WHOLE * i128::from(self.quota.limit()));
        let wait = u64::try_from(wait).unwrap();
        if wait > 0 && !patient {
            return Err(Some(wait));
        }
        self.parts = after;
        Ok(wait)
    }
}

fn quota() -> impl Strategy<Value = Quota> {
    let limit = prop::sample::select(vec![1_u32, 2, 5, 10, 20, 50]);
    let period = prop::sample::select(vec![1_u64, 10, 60]);
    (limit, period, 1..30_u32).prop_map(|(limit, seconds, burst)| {
        Quota::new(limit, Duration::from_secs(seconds)).burst(burst)
    })
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Check(u32),
    Reserve(u32),
    Set(Quota),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        // Whole milliseconds times 12, of which every rate above makes whole parts.
        3 => (0..700_u64).prop_map(|n| Step::Pass(n * 12_000_000)),
        3 => (1..20_u32).prop_map(Step::Check),
        2 => (1..20_u32).prop_map(Step::Reserve),
        2 => quota().prop_map(Step::Set),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn a_bucket_changes_as_that_of_golang_does_also_with_reservations_out(
        first in quota(),
        steps in steps(),
    ) {
        let (clock, hand) = Clock::manual();
        let limiter = RateLimiter::new(first).unwrap().with_clock(clock.clone());
        let keyed = KeyedLimiter::<u8>::new(first, 10).unwrap().with_clock(clock);
        let (mut golang, mut keyed_golang) = (Golang::new(first), Golang::new(first));
        let nanos = |wait: Duration| u64::try_from(wait.as_nanos()).unwrap();
        for step in steps {
            let now = hand.now().as_nanos();
            match step {
                Step::Pass(nanos) => hand.advance(Duration::from_nanos(nanos)),
                Step::Set(quota) => {
                    limiter.set_quota(quota).unwrap();
                    keyed.set_quota(quota).unwrap();
                    golang.set(now, quota);
                    keyed_golang.set_keyed(now, quota);
                }
                Step::Check(cost) => {
                    let ours = limiter.check_n(cost).map(|_| 0);
                    let ours = ours.map_err(|rejected| rejected.retry_after().map(nanos));
                    close(ours, golang.take(now, cost, false))?;
                    let ours = keyed.check_n(&7, cost).map(|_| 0);
                    let ours = ours.map_err(|rejected| rejected.retry_after().map(nanos));
                    close(ours, keyed_golang.take(now, cost, false))?;
                }
                Step::Reserve(cost) => {
                    let ours = limiter.reserve(cost).map(|reserved| nanos(reserved.delay()));
                    let ours = ours.map_err(|rejected| rejected.retry_after().map(nanos));
                    close(ours, golang.take(now, cost, true))?;
                }
            }
        }
    }
}

/// Equal, but for the nanosecond that each change may round against the caller.
fn close(
    ours: Result<u64, Option<u64>>,
    golang: Result<u64, Option<u64>>,
) -> Result<(), TestCaseError> {
    const ROUNDED: u64 = 60;
    let wait = |answer| match answer {
        Ok(wait) | Err(Some(wait)) => Some(wait),
        Err(None) => None,
    };
    match (wait(ours), wait(golang)) {
        (Some(ours_wait), Some(wait)) if ours_wait.abs_diff(wait) <= ROUNDED => Ok(()),
        (None, None) => Ok(()),
        _ => Err(TestCaseError::fail(format!("{ours:?}, but golang's says {golang:?}"))),
    }
}

#[test]
fn a_change_while_reservations_are_out_gives_back_what_others_have_not_built_on() {
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_second(10).burst(5)).unwrap().with_clock(clock);
    limiter.check_n(5).unwrap();
    let first = limiter.reserve(4).unwrap();
    assert_eq!(first.delay(), SECOND * 4 / 10);
    limiter.set_quota(Quota::per_second(1).burst(5)).unwrap();
    assert_eq!(first.delay(), SECOND * 4 / 10, "its time is its own");
    let second = limiter.reserve(1).unwrap();
    assert_eq!(second.delay(), SECOND * 5, "what is owed is owed at the new rate");
    limiter.set_quota(Quota::per_second(3).burst(5)).unwrap();
    // One of its four cells is built on.
    first.cancel();
    let third = limiter.reserve(1).unwrap().delay();
    assert!(third.abs_diff(SECOND) <= Duration::from_nanos(3), "{third:?}");
}

#[test]
fn windows_keep_what_has_passed() {
    fn check<A: FromQuotas>() {
        let (clock, hand) = Clock::manual();
        let limiter = RateLimiter::of(A::from_quotas(&[Quota::per_minute(10)]).unwrap());
        let limiter = limiter.with_clock(clock);
        hand.advance(SECOND * 60);
        limiter.check_n(8).unwrap();
        limiter.set_quota(Quota::per_minute(12)).unwrap();
        assert_eq!(limiter.snapshot().remaining, 4);
        limiter.set_quota(Quota::per_minute(5)).unwrap();
        assert_eq!(limiter.snapshot().remaining, 0);
        assert!(limiter.check().is_err());
        assert!(limiter.check_n(6).unwrap_err().is_never());
        // Another length: what counts now counts on.
        limiter.set_quota(Quota::per_hour(20)).unwrap();
        assert_eq!(limiter.check_n(12).unwrap().remaining(), 0);
        hand.advance(SECOND * 7_200);
        assert_eq!(limiter.snapshot().remaining, 20);
    }
    check::<FixedWindow>();
    check::<SlidingLog>();
    check::<SlidingCounter>();
    check::<Several<FixedWindow>>();
    check::<Several<SlidingLog>>();
}

#[test]
fn who_waits_for_a_window_keeps_the_instant_when_the_quota_changes() {
    let (clock, hand) = Clock::manual();
    let log = SlidingLog::new(Quota::per_second(2)).unwrap();
    let limiter = RateLimiter::of(log).with_clock(clock);
    limiter.check_n(2).unwrap();
    let waits = limiter.reserve(2).unwrap();
    limiter.set_quota(Quota::per_second(1)).unwrap();
    assert_eq!(waits.delay(), SECOND);
    assert_eq!(limiter.check().unwrap_err().retry_after(), Some(SECOND * 2), "after it");
    hand.advance(SECOND * 2);
    assert!(limiter.check().is_ok());
}

#[test]
fn limits_that_are_added_begin_at_rest_and_the_others_go_on() {
    let (clock, _hand) = Clock::manual();
    let several = |quotas: &[Quota]| Several::<TokenBucket>::from_quotas(quotas).unwrap();
    let limiter = RateLimiter::of(several(&[Quota::per_minute(10)])).with_clock(clock);
    limiter.check_n(7).unwrap();
    limiter.reconfigure(several(&[Quota::per_minute(20), Quota::per_hour(2)]));
    assert_eq!(limiter.check_n(3).unwrap_err().index(), 1);
    assert_eq!(limiter.check_n(2).unwrap().remaining(), 0);
    limiter.reconfigure(several(&[Quota::per_minute(20)]));
    assert_eq!(limiter.snapshot().remaining, 1);
}

#[test]
fn a_quota_that_cannot_be_kept_changes_nothing() {
    let limiter = RateLimiter::new(Quota::per_second(5)).unwrap();
    assert!(limiter.set_quota(Quota::per_second(0)).is_err());
    assert_eq!(limiter.quota(), Quota::per_second(5));
    let keyed = KeyedLimiter::<str>::new(Quota::per_second(5), 10).unwrap();
    assert!(keyed.set_quota(Quota::per_second(0)).is_err());
    let error = keyed.set_plan(1, Quota::per_second(1)).unwrap_err();
    assert_eq!(error.to_string(), "`plan` is 1, but must be 0 to 0");
    assert_eq!(keyed.quota(), Quota::per_second(5));
}

#[test]
fn keys_have_plans_keep_them_through_changes_and_move_between_them() {
    static PAID: AtomicBool = AtomicBool::new(false);
    let (clock, hand) = Clock::manual();
    let plans = [Quota::per_minute(2), Quota::per_minute(10)];
    let limiter = KeyedLimiter::<str>::with_plans(&plans, 100).unwrap().with_clock(clock);
    let limiter = limiter.plan_by(|key| match key {
        "free" => 0,
        "switch" => usize::from(PAID.load(Relaxed)),
        _ => 99,
    });
    let left = |key| limiter.check(key).map_or(0, |allowed| allowed.remaining() + 1);
    assert_eq!((left("free"), left("paid"), left("switch")), (2, 10, 2));
    PAID.store(true, Relaxed);
    assert_eq!(left("switch"), 1, "no fresh burst");
    limiter.set_plan(1, Quota::per_minute(6)).unwrap();
    assert_eq!((left("free"), left("paid"), left("switch")), (1, 6, 0));
    for _ in 0..300 {
        limiter.set_plan(1, Quota::per_minute(7)).unwrap();
        limiter.set_plan(0, Quota::per_minute(3)).unwrap();
    }
    assert_eq!((left("free"), left("paid"), left("switch")), (0, 5, 0));
    // The first of the changes rounded, by less than a nanosecond.
    hand.advance(SECOND * 60 + Duration::from_nanos(1));
    assert_eq!((left("free"), left("paid"), left("switch")), (3, 7, 7));
    assert!(KeyedLimiter::<str>::with_plans(&[], 10).is_err());
    assert!(KeyedLimiter::<str>::with_plans(&[Quota::per_second(1); 128], 10).is_err());
}

#[test]
fn threads_never_exceed_the_quota_by_one_while_it_changes() {
    // Both quotas hold ten an hour: however often one replaces the other, ten pass.
    let quotas = [Quota::per_hour(10), Quota::new(20, SECOND * 7_200).burst(10)];
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(quotas[0]).unwrap().with_clock(clock.clone());
    let keyed = KeyedLimiter::<u64>::new(quotas[0], 1_000).unwrap().with_clock(clock);
    let (passed, keyed_passed) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 0..16 {
            let (limiter, keyed, passed, keyed_passed) = (&limiter, &keyed, &passed, &keyed_passed);
            scope.spawn(move || {
                for round in 0..2_000_u64 {
                    passed.fetch_add(limiter.check().is_ok().into(), Relaxed);
                    let key = (round + number) % 100;
                    keyed_passed.fetch_add(keyed.check(&key).is_ok().into(), Relaxed);
                    if round % 100 == 0 {
                        let quota = quotas[usize::from(number % 2 == 0)];
                        limiter.set_quota(quota).unwrap();
                        keyed.set_quota(quota).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 10);
    assert_eq!(keyed_passed.into_inner(), 1_000);
    assert_eq!(keyed.times_full(), 0);
}
