//! One bucket for each key, in a fixed amount of memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::HashMap,
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use proptest::prelude::*;
use seawall_rate_limit::{Clock, Full, KeyedLimiter, Quota, RateLimiter};

const SECOND: Duration = Duration::from_secs(1);

proptest! {
    #[test]
    fn each_key_has_a_limiter_of_its_own(
        steps in proptest::collection::vec((0..20_u32, 0..4_u32, 0..2_000_u64), 1..200),
    ) {
        let (clock, hand) = Clock::manual();
        let quota = Quota::per_second(3).burst(5);
        let keyed = KeyedLimiter::<u32>::new(quota, 100).unwrap().with_clock(clock.clone());
        let mut single = HashMap::new();
        for (key, cost, millis) in steps {
            hand.advance(Duration::from_millis(millis));
            let single = single.entry(key).or_insert_with(|| {
                RateLimiter::new(quota).unwrap().with_clock(clock.clone())
            });
            prop_assert_eq!(keyed.peek(&key).is_ok(), single.peek().is_ok());
            match (keyed.check_n(&key, cost), single.check_n(cost)) {
                (Ok(ours), Ok(model)) => prop_assert_eq!(ours.remaining(), model.remaining()),
                (Err(ours), Err(model)) => {
                    prop_assert_eq!(ours.retry_after(), model.retry_after());
                }
                (ours, model) => prop_assert!(false, "{ours:?}, but {model:?}"),
            }
        }
    }

    #[test]
    fn no_key_gets_more_than_its_quota_however_many_there_are(
        steps in proptest::collection::vec((0..300_u32, 0..50_u64), 1..2_000),
    ) {
        let (clock, hand) = Clock::manual();
        let quota = Quota::per_second(1).burst(2);
        // Room for two, in 66 places.
        let keyed = KeyedLimiter::<u32>::new(quota, 2).unwrap().with_clock(clock.clone());
        let mut single = HashMap::new();
        for (key, millis) in steps {
            hand.advance(Duration::from_millis(millis));
            let single = single.entry(key).or_insert_with(|| {
                RateLimiter::new(quota).unwrap().with_clock(clock.clone())
            });
            let full = keyed.times_full();
            match keyed.check(&key) {
                Ok(_) => prop_assert!(single.check().is_ok(), "key {key} passed once too often"),
                // Refused for want of a place: nothing was taken.
                Err(_) if keyed.times_full() > full => {}
                Err(_) => prop_assert!(single.check().is_err(), "key {key} was refused too early"),
            }
        }
    }
}

#[test]
fn a_flood_of_keys_frees_nobody_who_is_limited() {
    let (clock, hand) = Clock::manual();
    let keyed = KeyedLimiter::<u64>::new(Quota::per_minute(1), 1_000).unwrap().with_clock(clock);
    keyed.check(&u64::MAX).unwrap();
    let mut passed = 0;
    for key in 0..100_000 {
        passed += u32::from(keyed.check(&key).is_ok());
    }
    assert!(keyed.check(&u64::MAX).is_err(), "still limited");
    assert!((1_000..=1_563).contains(&passed), "{passed} had a place");
    assert_eq!(keyed.times_full(), 100_000 - u64::from(passed));

    // A refusal for want of a place says when there is one.
    let wait = keyed.check(&999_999).unwrap_err().retry_after().unwrap();
    hand.advance(wait);
    assert!(keyed.check(&999_999).is_ok());
}

#[test]
fn five_million_keys_come_and_go_and_the_one_that_is_limited_stays_so() {
    let (clock, hand) = Clock::manual();
    let quota = Quota::new(1, Duration::from_secs(1_000_000));
    // New keys rest after a while; the one that matters does not.
    let keyed = KeyedLimiter::<u64>::new(quota.burst(100), 10_000).unwrap().with_clock(clock);
    keyed.check_n(&u64::MAX, 100).unwrap();
    for key in 0..5_000_000 {
        if key % 1_000 == 0 {
            hand.advance(Duration::from_secs(10_000));
        }
        if key % 10_000 == 0 {
            let full = keyed.times_full();
            let _ = keyed.check_n(&u64::MAX, 100);
            assert_eq!(keyed.times_full(), full, "its place is its own");
        }
        let _ = keyed.check_n(&key, 0);
        if key % 100 == 0 {
            let _ = keyed.check(&key);
        }
    }
    assert_eq!(keyed.times_full(), 0);
}

#[test]
fn keys_without_a_place_share_a_bucket_by_choice() {
    let (clock, _hand) = Clock::manual();
    let keyed = KeyedLimiter::<u64>::new(Quota::per_minute(5), 1).unwrap();
    let keyed = keyed.when_full(Full::Share).with_clock(clock);
    let passed = (0..1_000).filter(|key| keyed.check(key).is_ok()).count();
    let placed = 1_000 - usize::try_from(keyed.times_full()).unwrap();
    assert_eq!(passed, placed + 5);
}

#[test]
fn a_new_key_that_all_threads_enter_at_once_gets_one_bucket() {
    let (clock, _hand) = Clock::manual();
    let keyed = KeyedLimiter::<u64>::new(Quota::per_hour(10), 10_000).unwrap().with_clock(clock);
    let passed: Vec<_> = (0..2_000).map(|_| AtomicU32::new(0)).collect();
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (keyed, passed, barrier) = (keyed.clone(), &passed, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..4 * passed.len() {
                    // Half of the threads walk the other way, so that they meet.
                    let place = if thread % 2 == 0 { round } else { 4 * passed.len() - round };
                    let key = place % passed.len();
                    if keyed.check(&(key as u64)).is_ok() {
                        passed[key].fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    for (key, passed) in passed.iter().enumerate() {
        assert_eq!(passed.load(Relaxed), 10, "key {key}");
    }
    assert_eq!(keyed.times_full(), 0);
}

#[test]
fn what_there_is_no_room_for_is_refused() {
    let error = KeyedLimiter::<str>::new(Quota::per_second(1), 0).unwrap_err();
    assert_eq!(error.to_string(), "`keys` is 0, but must be 1 to 2147483648");
    assert!(KeyedLimiter::<str>::new(Quota::per_second(0), 10).is_err());
}

#[test]
fn looking_at_a_key_takes_no_place() {
    let (clock, _hand) = Clock::manual();
    let keyed = KeyedLimiter::<u64>::new(Quota::per_second(1), 1).unwrap().with_clock(clock);
    for key in 0..10_000 {
        assert!(keyed.peek(&key).is_ok());
    }
    assert!(keyed.check(&3).is_ok());
    assert_eq!(keyed.peek(&3).unwrap_err().retry_after(), Some(SECOND));
}
