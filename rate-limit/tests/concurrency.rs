//! A limit on calls in flight: never more than it says, in turn, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::FutureExt;
use seawall_core::{Guard, Instant, ManualClock, Outcome, Reason};
use seawall_rate_limit::{
    Clock,
    concurrency::{
        Acquire, Aimd, ConcurrencyLimit, Config, Gradient, Limit, Observer, Permit, Refusal,
    },
};
use seawall_test_support::Rng;

const MS: Duration = Duration::from_millis(1);

fn queueing(limit: impl Into<Limit>, calls: u32, wait: Duration) -> ConcurrencyLimit {
    ConcurrencyLimit::of(Config::builder(limit).queue(calls, wait).build().unwrap())
}

/// A call that begins to wait.
fn waiting(limit: &ConcurrencyLimit) -> Pin<Box<Acquire>> {
    let mut acquire = Box::pin(limit.acquire());
    assert!((&mut acquire).now_or_never().is_none(), "it should wait");
    acquire
}

#[test]
fn a_permit_comes_back_however_the_call_ends() {
    let limit = ConcurrencyLimit::new(1).unwrap().named("orders");
    for end in [Permit::success, Permit::failure, Permit::ignore, drop] {
        let permit = limit.try_acquire().unwrap();
        assert!(!limit.would_admit());
        let rejection = limit.try_acquire().unwrap_err();
        assert_eq!(rejection.reason(), Reason::Overloaded);
        assert_eq!(rejection.refused_by(), Some("orders"));
        assert_eq!((rejection.retry_after(), rejection.is_never()), (None, false));
        end(permit);
        assert!(limit.would_admit());
    }
    let seen = limit.snapshot();
    assert_eq!((seen.limit, seen.in_flight, seen.waiting), (1, 0, 0));
    assert_eq!((seen.allowed, seen.rejected), (4, 4));
    assert_eq!(seen.name.as_deref(), Some("orders"));
}

#[test]
fn the_limit_changes_while_it_is_in_use() {
    let limit = ConcurrencyLimit::new(3).unwrap();
    let mut permits: Vec<_> = (0..3).map(|_| limit.try_acquire().unwrap()).collect();
    limit.set_limit(2).unwrap();
    for _ in 0..2 {
        assert!(limit.try_acquire().is_err(), "{:?}", limit.snapshot());
        permits.pop();
    }
    permits.push(limit.try_acquire().unwrap());
    assert!(limit.try_acquire().is_err());
    limit.set_limit(3).unwrap();
    assert!(limit.try_acquire().is_ok());
    let error = limit.set_limit(0).unwrap_err().to_string();
    assert_eq!(error, "`limit` is 0, but must be 1 to 1000000");
    assert_eq!(limit.snapshot().limit, 3);
    assert_eq!(limit.config().limit(), Limit::Fixed(3));
}

#[test]
fn an_adaptive_limit_is_moved_within_its_bounds_only() {
    let limit = ConcurrencyLimit::new(Gradient::new().min(5).max(50)).unwrap();
    limit.set_limit(50).unwrap();
    assert_eq!(limit.snapshot().limit, 50);
    let error = limit.set_limit(4).unwrap_err().to_string();
    assert_eq!(error, "`limit` is 4, but must be 5 to 50");
    limit.reconfigure(Config::builder(Aimd::new(MS).max(40)).build().unwrap());
    assert_eq!(limit.snapshot().limit, 40, "from the nearest bound");
    limit.reconfigure(Config::builder(7).build().unwrap());
    assert_eq!(limit.snapshot().limit, 7);
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_lets_in_those_who_wait() {
    let limit = queueing(1, 10, Duration::MAX);
    let _permit = limit.try_acquire().unwrap();
    let mut waiting: Vec<_> = (0..4).map(|_| waiting(&limit)).collect();
    limit.set_limit(3).unwrap();
    let permits: Vec<_> = waiting.iter_mut().map(|call| call.now_or_never()).collect();
    let let_in: Vec<_> = permits.iter().map(Option::is_some).collect();
    assert_eq!(let_in, [true, true, false, false], "in turn");
}

#[tokio::test(start_paused = true)]
async fn nobody_who_comes_later_gets_in_front() {
    let limit = queueing(1, 10, Duration::MAX);
    let permit = limit.try_acquire().unwrap();
    let (mut first, mut second) = (waiting(&limit), waiting(&limit));
    drop(permit);
    assert!(!limit.would_admit() && limit.try_acquire().is_err(), "the place is the first one's");
    assert!((&mut second).now_or_never().is_none());
    let permit = (&mut first).now_or_never().unwrap().unwrap();
    assert!((&mut second).now_or_never().is_none());
    drop(permit);
    assert!(second.now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_frees_its_place_and_hands_its_turn_on() {
    let limit = queueing(1, 2, Duration::MAX);
    let permit = limit.try_acquire().unwrap();
    let (first, second) = (waiting(&limit), waiting(&limit));
    assert!(limit.acquire().now_or_never().unwrap().is_err(), "the queue is full");
    drop(first);
    assert_eq!(limit.snapshot().waiting, 1);
    let third = waiting(&limit);
    drop(permit);
    // The second one was called, and goes without having noticed.
    drop(second);
    let permit = third.now_or_never().unwrap().unwrap();
    assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (1, 0));
    drop(permit);
    assert!(limit.would_admit());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_in_time() {
    let limit = queueing(1, 2, 100 * MS);
    let permit = limit.try_acquire().unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(limit.acquire().await.unwrap_err().reason(), Reason::Overloaded);
    assert_eq!(start.elapsed(), 100 * MS);
    assert_eq!((limit.snapshot().waiting, limit.snapshot().rejected), (0, 1));

    // A turn that comes with the end of the wait counts.
    let late = waiting(&limit);
    tokio::time::advance(200 * MS).await;
    drop(permit);
    assert!(late.now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_queue_can_be_closed_while_some_wait_in_it() {
    let limit = queueing(1, 2, 100 * MS);
    let permit = limit.try_acquire().unwrap();
    let waits = waiting(&limit);
    limit.reconfigure(Config::builder(1).build().unwrap());
    assert!(limit.acquire().now_or_never().unwrap().is_err());
    drop(permit);
    assert!(waits.now_or_never().unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_are_never_more_than_the_limit_and_none_is_forgotten() {
    const LIMIT: u32 = 5;
    let limit = queueing(LIMIT, 1_000, Duration::MAX);
    let (inside, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let tasks = (0..64).map(|task| {
        let (limit, inside, most) = (limit.clone(), inside.clone(), most.clone());
        tokio::spawn(async move {
            let mut rng = Rng::with_seed(task);
            for _ in 0..200 {
                if rng.bool() {
                    // Begins to wait, perhaps, and gives up.
                    let mut acquire = Box::pin(limit.acquire());
                    let _ = (&mut acquire).now_or_never();
                    tokio::task::yield_now().await;
                    continue;
                }
                let _permit = limit.acquire().await.unwrap();
                most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, SeqCst);
            }
        })
    });
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(tasks)).await;
    all.expect("somebody was forgotten").into_iter().for_each(Result::unwrap);
    assert!((1..=LIMIT).contains(&most.load(SeqCst)), "{most:?}");
    assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (0, 0));
}

fn aimd() -> (ConcurrencyLimit, ManualClock) {
    let (clock, hand) = Clock::manual();
    let limit = ConcurrencyLimit::new(Aimd::new(100 * MS).initial(10)).unwrap();
    (limit.with_clock(clock), hand)
}

#[test]
fn latency_ends_with_the_answer_and_the_permit_with_the_call() {
    let (limit, hand) = aimd();
    let mut permit = limit.try_acquire().unwrap();
    hand.advance(100 * MS);
    permit.answered();
    hand.advance(1_000 * MS);
    assert_eq!(limit.snapshot().in_flight, 1);
    permit.success();
    assert_eq!((limit.snapshot().limit, limit.snapshot().in_flight), (10, 0));
    // Without an answer, latency ends with the call.
    let permit = limit.try_acquire().unwrap();
    hand.advance(101 * MS);
    permit.success();
    assert_eq!(limit.snapshot().limit, 9);
}

#[test]
fn failures_and_late_drops_lower_the_limit_and_ignored_calls_do_nothing() {
    let (limit, hand) = aimd();
    let call = |time: Duration, end: &dyn Fn(Permit)| {
        hand.advance(MS);
        let permit = limit.try_acquire().unwrap();
        hand.advance(time);
        end(permit);
        limit.snapshot().limit
    };
    assert_eq!(call(1_000 * MS, &|permit| permit.finish(Outcome::Ignored)), 10);
    assert_eq!(call(99 * MS, &drop), 10, "given up early");
    assert_eq!(call(MS, &Permit::failure), 9);
    assert_eq!(call(101 * MS, &drop), 8, "given up late");
    let answered = |mut permit: Permit| {
        permit.answered();
        hand.advance(1_000 * MS);
    };
    assert_eq!(call(MS, &answered), 8, "answered in time and not read to the end");
}

#[test]
fn a_fixed_limit_reads_no_clock_and_learns_nothing() {
    let (clock, hand) = Clock::manual();
    let limit = ConcurrencyLimit::new(2).unwrap().with_clock(clock);
    let permit = limit.try_acquire().unwrap();
    hand.set(Instant::MAX);
    permit.failure();
    assert_eq!((limit.snapshot().limit, limit.snapshot().unloaded_latency), (2, None));
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn limit_changed(&self, name: Option<&str>, from: u32, to: u32) {
        self.0.lock().unwrap().push(format!("{name:?}: {from} to {to}"));
    }
    fn rejected(&self, name: Option<&str>, refusal: Refusal) {
        self.0.lock().unwrap().push(format!("{name:?}: {}", refusal.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_of_moves_and_refusals() {
    let log = Arc::new(Log::default());
    let limit = queueing(1, 1, 10 * MS).named("orders").observed_by(log.clone());
    let permit = limit.try_acquire().unwrap();
    let wait = waiting(&limit);
    limit.try_acquire().unwrap_err();
    limit.acquire().await.unwrap_err();
    wait.await.unwrap_err();
    limit.set_limit(2).unwrap();
    limit.set_limit(2).unwrap();
    drop(permit);
    let heard = log.0.lock().unwrap();
    let expected = ["full", "queue_full", "waited_too_long", "1 to 2"];
    assert_eq!(*heard, expected.map(|event| format!("Some(\"orders\"): {event}")));
}
