//! Models of the shared words, run by loom.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![cfg(seawall_loom)]

use std::time::Duration;

use loom::thread;
use seawall_rate_limit::{Clock, KeyedLimiter, Quota, RateLimiter};

fn bucket(burst: u32) -> RateLimiter {
    let (clock, _hand) = Clock::manual();
    RateLimiter::new(Quota::per_second(1).burst(burst)).unwrap().with_clock(clock)
}

#[test]
fn of_three_who_ask_for_two_cells_two_pass() {
    loom::model(|| {
        let limiter = bucket(2);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let limiter = limiter.clone();
                thread::spawn(move || u32::from(limiter.check().is_ok()))
            })
            .collect();
        let mut passed = u32::from(limiter.check().is_ok());
        for thread in threads {
            passed += thread.join().unwrap();
        }
        assert_eq!(passed, 2);
    });
}

#[test]
fn a_cost_is_taken_whole_or_not_at_all() {
    loom::model(|| {
        let limiter = bucket(3);
        let other = limiter.clone();
        let thread = thread::spawn(move || u32::from(other.check_n(2).is_ok()) * 2);
        let mine = limiter.check_at_most(2);
        let theirs = thread.join().unwrap();
        assert!(mine + theirs <= 3);
        assert_eq!(limiter.snapshot().remaining, 3 - mine - theirs);
    });
}

#[test]
fn reservations_and_cancels_leave_no_cell_behind() {
    loom::model(|| {
        let limiter = bucket(1);
        let other = limiter.clone();
        limiter.check().unwrap();
        let thread = thread::spawn(move || {
            let reservation = other.reserve(1).unwrap();
            let delay = reservation.delay();
            reservation.cancel();
            delay
        });
        let mine = limiter.reserve(1).unwrap();
        let theirs = thread.join().unwrap();
        assert!(mine.delay().as_secs() == 1 || mine.delay().as_secs() == 2);
        assert!(theirs.as_secs() == 1 || theirs.as_secs() == 2);
        // Whoever came second, at most what was cancelled is lost, and nothing is booked twice.
        let next = limiter.reserve(1).unwrap().delay();
        assert!(next > mine.delay() || next == Duration::from_secs(2));
    });
}

fn keyed(keys: usize) -> KeyedLimiter<u64> {
    let (clock, _hand) = Clock::manual();
    KeyedLimiter::new(Quota::per_second(1), keys).unwrap().with_clock(clock)
}

#[test]
fn a_key_that_two_threads_enter_gets_one_bucket() {
    loom::model(|| {
        let limiter = keyed(1);
        let other = limiter.clone();
        let thread = thread::spawn(move || u32::from(other.check(&7).is_ok()));
        let passed = u32::from(limiter.check(&7).is_ok());
        assert_eq!(passed + thread.join().unwrap(), 1);
        assert!(limiter.check(&7).is_err());
    });
}

#[test]
fn a_key_that_two_threads_enter_in_place_of_another_gets_one_bucket() {
    bounded(|| {
        let (clock, hand) = Clock::manual();
        let limiter = KeyedLimiter::new(Quota::per_second(1), 1).unwrap().with_clock(clock);
        // Both of the places are used, and at rest after a second.
        limiter.check(&1).unwrap();
        limiter.check(&2).unwrap();
        hand.advance(Duration::from_secs(1));
        let other = limiter.clone();
        let thread = thread::spawn(move || u32::from(other.check(&7).is_ok()));
        let passed = u32::from(limiter.check(&7).is_ok());
        assert_eq!(passed + thread.join().unwrap(), 1);
    });
}

#[test]
fn keys_that_are_entered_at_once_keep_their_buckets() {
    loom::model(|| {
        let limiter = keyed(1);
        let other = limiter.clone();
        let thread = thread::spawn(move || other.check(&1).is_ok());
        let mine = limiter.check(&2).is_ok();
        let theirs = thread.join().unwrap();
        // Both in one window of two places, or one in each: there is room for both.
        assert!(mine && theirs);
        assert!(limiter.check(&1).is_err() && limiter.check(&2).is_err());
    });
}

/// Changes take many steps: at most two preemptions, which is what races need.
fn bounded(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(run);
}

#[test]
fn a_change_of_quota_neither_gives_nor_loses_a_cell() {
    bounded(|| {
        let limiter = bucket(2);
        let other = limiter.clone();
        let thread =
            thread::spawn(move || u32::from(other.check().is_ok()) + other.check_at_most(1));
        limiter.set_quota(Quota::per_minute(7).burst(2)).unwrap();
        let passed = limiter.check_at_most(1) + thread.join().unwrap();
        assert_eq!((passed, limiter.check_at_most(1)), (2, 0));
    });
}

#[test]
fn a_booking_that_is_given_back_during_a_change_is_given_back_once() {
    bounded(|| {
        let limiter = bucket(1);
        limiter.check().unwrap();
        let booked = limiter.reserve(1).unwrap();
        let other = limiter.clone();
        let thread = thread::spawn(move || {
            other.set_quota(Quota::per_second(2).burst(1)).unwrap();
        });
        booked.cancel();
        thread.join().unwrap();
        assert_eq!(limiter.reserve(1).unwrap().delay().as_millis(), 500);
    });
}

#[test]
fn a_change_moves_each_key_once() {
    bounded(|| {
        let limiter = keyed(1);
        limiter.check(&7).unwrap();
        let other = limiter.clone();
        let thread = thread::spawn(move || other.check(&7).is_ok());
        limiter.set_quota(Quota::per_minute(7).burst(1)).unwrap();
        assert!(!thread.join().unwrap(), "it has passed before");
        assert!(limiter.check(&7).is_err());
    });
}

#[test]
fn a_key_that_is_entered_during_a_change_gets_one_bucket() {
    bounded(|| {
        let limiter = keyed(1);
        let other = limiter.clone();
        let thread = thread::spawn(move || other.check(&1).is_ok());
        limiter.set_quota(Quota::per_minute(7).burst(1)).unwrap();
        assert!(thread.join().unwrap());
        assert!(limiter.check(&1).is_err());
    });
}

mod concurrency {
    use std::{
        task::{Context, Waker},
        time::Duration,
    };

    use loom::{
        future::block_on,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering::SeqCst},
        },
        thread,
    };
    use seawall_rate_limit::concurrency::{ConcurrencyLimit, Config};

    fn one() -> ConcurrencyLimit {
        ConcurrencyLimit::of(Config::builder(1).queue(3, Duration::MAX).build().unwrap())
    }

    /// Enters, checks that it is alone, and leaves.
    fn visit(limit: &ConcurrencyLimit, inside: &AtomicU32) {
        let permit = block_on(limit.acquire()).unwrap();
        assert_eq!(inside.fetch_add(1, SeqCst), 0);
        inside.fetch_sub(1, SeqCst);
        drop(permit);
    }

    #[test]
    fn whoever_waits_is_let_in_and_never_beside_another() {
        loom::model(|| {
            let (limit, inside) = (one(), Arc::new(AtomicU32::new(0)));
            let (other, theirs) = (limit.clone(), inside.clone());
            let thread = thread::spawn(move || visit(&other, &theirs));
            visit(&limit, &inside);
            thread.join().unwrap();
            assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (0, 0));
        });
    }

    #[test]
    fn a_newcomer_does_not_get_in_beside_one_who_was_called() {
        loom::model(|| {
            let (limit, inside) = (one(), Arc::new(AtomicU32::new(0)));
            let held = limit.try_acquire().unwrap();
            let (other, theirs) = (limit.clone(), inside.clone());
            let waits = thread::spawn(move || visit(&other, &theirs));
            drop(held);
            if let Ok(permit) = limit.try_acquire() {
                assert_eq!(inside.fetch_add(1, SeqCst), 0);
                inside.fetch_sub(1, SeqCst);
                drop(permit);
            }
            waits.join().unwrap();
            assert!(limit.would_admit());
        });
    }

    #[test]
    fn a_wait_that_is_dropped_as_it_is_called_hands_its_turn_on() {
        loom::model(|| {
            let limit = one();
            let held = limit.try_acquire().unwrap();
            let (mut gives_up, mut waits) = (Box::pin(limit.acquire()), Box::pin(limit.acquire()));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(gives_up.as_mut().poll(&mut cx).is_pending());
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            let leaves = thread::spawn(move || drop(held));
            drop(gives_up);
            leaves.join().unwrap();
            assert!(waits.as_mut().poll(&mut cx).is_ready());
            assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (0, 0));
        });
    }

    #[test]
    fn a_limit_that_rises_calls_whoever_began_to_wait_meanwhile() {
        loom::model(|| {
            let limit = one();
            let held = limit.try_acquire().unwrap();
            let other = limit.clone();
            let waits = thread::spawn(move || drop(block_on(other.acquire()).unwrap()));
            limit.set_limit(2).unwrap();
            waits.join().unwrap();
            drop(held);
            assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (0, 0));
        });
    }
}
