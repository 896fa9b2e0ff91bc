//! Calls leave evenly spaced, at exactly the rate, and the queue holds as many as it says.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use seawall_core::Instant;
use seawall_rate_limit::{Clock, Pacer, Quota, RateLimitLayer, Rejected, Reservation};
use tower::{Layer, ServiceExt, service_fn};

const SECOND: u64 = 1_000_000_000;

/// The queue in exact fractions: times are nanoseconds times `limit`, so that slots are `period` apart.
struct Exact {
    limit: u128,
    period: u128,
    queue: u128,
    /// The next free slot.
    next: u128,
}

impl Exact {
    fn new(quota: Quota, queue: u32) -> Self {
        let (limit, period) = (quota.limit().into(), quota.period().as_nanos());
        Self { limit, period, queue: queue.into(), next: 0 }
    }

    /// The slot of a call that comes now, or how long until the queue has room for it.
    fn take(&mut self, now: u64) -> Result<u64, u64> {
        let at = u128::from(now) * self.limit;
        let slot = self.next.max(at);
        let room = slot.saturating_sub(self.queue * self.period);
        if room > at {
            return Err(u64::try_from(room.div_ceil(self.limit)).unwrap() - now);
        }
        self.next = slot + self.period;
        Ok(u64::try_from(slot.div_ceil(self.limit)).unwrap() - now)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

fn answer(taken: &Result<Reservation, Rejected>) -> Result<u64, u64> {
    match taken {
        Ok(reservation) => Ok(nanos(reservation.delay())),
        Err(rejected) => Err(nanos(rejected.retry_after().unwrap())),
    }
}

fn gaps() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![4 => Just(0), 3 => 0..SECOND / 4, 2 => 0..20 * SECOND, 1 => 0..3_u64];
    proptest::collection::vec(gap, 1..80)
}

proptest! {
    #[test]
    fn every_slot_and_every_refusal_is_that_of_exact_arithmetic(
        // Rates of which a slot is a whole number of nanoseconds.
        (limit, period) in prop_oneof![
            (prop_oneof![Just(1_u32), Just(8), Just(50), Just(1_000)], Just(SECOND)),
            (Just(1_u32), 1..10 * SECOND),
        ],
        queue in 0..6_u32,
        gaps in gaps(),
    ) {
        let quota = Quota::new(limit, Duration::from_nanos(period));
        let (clock, hand) = Clock::manual();
        let pacer = Pacer::new(quota, queue).unwrap().with_clock(clock);
        let mut exact = Exact::new(quota, queue);
        for gap in gaps {
            hand.advance(Duration::from_nanos(gap));
            let now = hand.now().as_nanos();
            let taken = pacer.reserve();
            prop_assert_eq!(answer(&taken), exact.take(now));
            if let Err(wait) = answer(&taken) {
                // Refused until that instant, and let in at it.
                hand.set(Instant::from_nanos(now + wait - 1));
                prop_assert!(pacer.reserve().is_err());
                hand.set(Instant::from_nanos(now + wait));
                prop_assert!(pacer.reserve().is_ok());
                exact.take(now + wait).unwrap();
            }
        }
    }

    #[test]
    fn at_any_rate_slots_are_off_by_less_than_a_nanosecond_and_never_drift(
        limit in 1..2_000_000_u32,
        period in SECOND..100 * SECOND,
        queue in 1..50_u32,
    ) {
        let quota = Quota::new(limit, Duration::from_nanos(period));
        let (clock, hand) = Clock::manual();
        let pacer = Pacer::new(quota, queue).unwrap().with_clock(clock);
        let mut left = 0_u128;
        for _ in 0..200 {
            // As many as the queue takes, then to the instant at which it has room again.
            loop {
                let taken = pacer.reserve();
                let now = hand.now().as_nanos();
                match answer(&taken) {
                    Ok(delay) => {
                        let slot = (left * u128::from(period)).div_ceil(limit.into());
                        let off = u128::from(now + delay).abs_diff(slot);
                        prop_assert!(off <= 1, "slot {left} is off by {off} ns");
                        left += 1;
                    }
                    Err(wait) => {
                        prop_assert!(wait > 0);
                        hand.set(Instant::from_nanos(now + wait - 1));
                        prop_assert!(pacer.reserve().is_err());
                        hand.set(Instant::from_nanos(now + wait));
                        break;
                    }
                }
            }
        }
        prop_assert!(left >= 200);
    }
}

#[test]
fn a_queue_holds_as_many_as_it_says_also_at_a_rate_that_does_not_divide_a_second() {
    for limit in [1, 3, 7, 999, 999_999_937] {
        for queue in [0, 1, 2, 10] {
            let (clock, _hand) = Clock::manual();
            let pacer = Pacer::new(Quota::per_second(limit), queue).unwrap().with_clock(clock);
            let taken = (0..20).filter(|_| pacer.reserve().is_ok()).count();
            assert_eq!(taken, queue as usize + 1, "{limit} a second, a queue of {queue}");
        }
    }
}

#[test]
fn a_rest_saves_up_nothing() {
    let (clock, hand) = Clock::manual();
    let pacer = Pacer::new(Quota::per_second(10).burst(100), 0).unwrap().with_clock(clock);
    hand.advance(Duration::from_secs(3_600));
    pacer.check().unwrap();
    assert_eq!(pacer.check().unwrap_err().retry_after(), Some(Duration::from_millis(100)));
}

#[test]
fn a_wait_that_is_dropped_gives_its_slot_back_unless_a_later_one_was_taken() {
    let (clock, _hand) = Clock::manual();
    let pacer = Pacer::new(Quota::per_second(10), 5).unwrap().with_clock(clock);
    let delay = || {
        let reservation = pacer.reserve().unwrap();
        (reservation.delay().as_millis(), reservation)
    };
    let ((0, _), (100, first), (200, second)) = (delay(), delay(), delay()) else { panic!() };
    second.cancel();
    let (200, second) = delay() else { panic!("the last slot was given back") };
    first.cancel();
    let (300, third) = delay() else { panic!("two calls in one slot, or one slot too many") };
    third.cancel();
    second.cancel();
    assert_eq!(delay().0, 200);
}

#[tokio::test(start_paused = true)]
async fn waiters_leave_in_turn_and_a_full_queue_says_when_it_has_room() {
    let pacer = Pacer::new(Quota::per_second(10), 2).unwrap().with_clock(Clock::tokio());
    let start = tokio::time::Instant::now();
    let calls = (0..3).map(|_| {
        let pacer = pacer.clone();
        tokio::spawn(async move {
            pacer.until_ready().await.unwrap();
            start.elapsed().as_millis()
        })
    });
    let calls: Vec<_> = calls.collect();
    tokio::task::yield_now().await;
    let refused = pacer.until_ready().now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
    let left: Vec<_> =
        futures::future::join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(left, [0, 100, 200]);

    let mut dropped = Box::pin(pacer.until_ready());
    assert!((&mut dropped).now_or_never().is_none());
    drop(dropped);
    pacer.until_ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(300));
}

#[test]
fn a_queue_beyond_the_end_of_time_is_refused_with_what_is_not() {
    let hour = Quota::per_hour(1);
    let error = Pacer::new(hour, u32::MAX).unwrap_err().to_string();
    assert_eq!(error, "`queue` is 4294967295, but must be 0 to 640511 at 1 per 3600s");
    assert!(Pacer::new(hour, 640_511).is_ok());
    assert!(Pacer::new(Quota::per_second(0), 1).unwrap_err().field() == "limit");
}

#[tokio::test(start_paused = true)]
async fn a_layer_refuses_what_the_queue_has_no_room_for_until_the_very_moment_that_it_has() {
    let pacer = Pacer::new(Quota::per_second(10), 2).unwrap().with_clock(Clock::tokio());
    let echo = service_fn(async |number: u32| Ok::<_, std::io::Error>(number));
    let service = RateLimitLayer::paced(&pacer).layer(echo);
    let call = |number| service.clone().oneshot(number);
    let mut waiting = Vec::new();
    assert_eq!(call(0).await.unwrap(), 0);
    for number in [1, 2] {
        let mut call = Box::pin(call(number));
        assert!((&mut call).now_or_never().is_none(), "it waits for its slot");
        waiting.push(call);
    }
    let refusal = async || call(3).await.unwrap_err().rejection().unwrap().retry_after();
    // The first of the two leaves in 100 ms: then there is room, though the slot is 200 ms later.
    assert_eq!(refusal().await, Some(Duration::from_millis(100)));
    tokio::time::advance(Duration::from_millis(99)).await;
    assert_eq!(refusal().await, Some(Duration::from_millis(1)));
    tokio::time::advance(Duration::from_millis(1)).await;
    let mut last = Box::pin(call(3));
    assert!((&mut last).now_or_never().is_none(), "there is room again");
    for (number, call) in (1..).zip(waiting) {
        assert_eq!(call.await.unwrap(), number);
    }
    assert_eq!(last.await.unwrap(), 3);
}
