//! The adaptive throttle: what it refuses, and what it counts.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::SECOND;
use futures::FutureExt;
use proptest::prelude::*;
use seawall_circuit_breaker::{
    Clock, Error, OnDrop,
    throttle::{
        Builder, Class, Config, Observer, Prioritize, Priority, Rejected, Shedding, Throttle,
        ThrottleLayer, ThrottlePermit,
    },
};
use seawall_core::{ManualClock, Reason};
use seawall_test_support::{Probe, Reply};
use tower::{Layer, Service, ServiceExt};

const CRITICAL: Priority = Priority::Critical;

fn throttle(config: Builder) -> (Throttle, ManualClock) {
    let (clock, hand) = Clock::manual();
    let config = config.build().unwrap();
    (Throttle::builder(config).named("orders").clock(clock).seed(7).build(), hand)
}

fn class(throttle: &Throttle) -> Class {
    *throttle.snapshot().class(CRITICAL)
}

/// Refused by the callee until the throttle refuses.
fn shed(throttle: &Throttle) {
    while let Ok(permit) = throttle.admit(CRITICAL) {
        permit.refused();
    }
}

/// A second of 100 calls, of which the callee takes on `capacity`; how many it was sent.
fn second(throttle: &Throttle, hand: &ManualClock, priority: Priority, capacity: u32) -> u32 {
    let mut sent = 0;
    for _ in 0..100 {
        if let Ok(permit) = throttle.admit(priority) {
            sent += 1;
            if sent <= capacity { permit.accepted() } else { permit.refused() }
        }
        hand.advance(SECOND / 100);
    }
    sent
}

#[test]
fn an_overloaded_callee_is_sent_about_k_times_what_it_accepts() {
    let (throttle, hand) = throttle(Config::builder());
    let mut last = Vec::new();
    for time in 0..600 {
        let sent = second(&throttle, &hand, CRITICAL, 10);
        if time >= 300 {
            last.push(sent);
        }
    }
    let mean = last.iter().sum::<u32>() as f64 / last.len() as f64;
    assert!((18.0..22.0).contains(&mean), "{mean} sent a second, 10 accepted, 100 asked for");
}

#[test]
fn a_callee_that_is_well_is_sent_everything_and_so_is_one_that_has_recovered() {
    let (throttle, hand) = throttle(Config::builder().window(16 * SECOND));
    assert_eq!(second(&throttle, &hand, CRITICAL, 100), 100);
    for _ in 0..30 {
        second(&throttle, &hand, CRITICAL, 0);
    }
    assert!(class(&throttle).rejection_probability > 0.9);
    let seconds = (1..).find(|_| second(&throttle, &hand, CRITICAL, 100) == 100).unwrap();
    assert!(seconds < 120, "{seconds} s");
    assert_eq!(second(&throttle, &hand, CRITICAL, 100), 100);
}

#[test]
fn less_critical_calls_are_shed_first() {
    let (throttle, hand) = throttle(Config::builder());
    let mut refused = [0_u32; 4];
    for time in 0..600 {
        // A callee without a notion of priorities, which first serves all of 100 calls a second, and
        // then the first 55.
        let mut capacity = if time < 60 { 100 } else { 55 };
        for n in 0..100 {
            match throttle.admit(Priority::ALL[n % 4]) {
                Ok(permit) if capacity == 0 => permit.refused(),
                Ok(permit) => {
                    capacity -= 1;
                    permit.accepted();
                }
                Err(_) => refused[n % 4] += 1,
            }
            hand.advance(SECOND / 100);
        }
    }
    let [critical_plus, critical, sheddable_plus, sheddable] = refused;
    assert_eq!((critical_plus, critical), (0, 0), "more than half of them pass");
    assert!(sheddable > 3_000 && sheddable > 2 * sheddable_plus, "{refused:?}");
}

#[test]
fn a_priority_is_not_made_to_suffer_by_another() {
    let (throttle, _) = throttle(Config::builder());
    for _ in 0..1_000 {
        if let Ok(permit) = throttle.admit(Priority::Sheddable) {
            permit.refused();
        }
    }
    for priority in [Priority::CriticalPlus, Priority::Critical, Priority::SheddablePlus] {
        assert_eq!(throttle.snapshot().class(priority).rejection_probability, 0.0);
        throttle.admit(priority).unwrap().accepted();
    }
}

#[test]
fn what_it_refuses_itself_counts_as_a_request_and_not_as_an_accept() {
    let (throttle, _) = throttle(Config::builder());
    for _ in 0..5 {
        throttle.admit(CRITICAL).unwrap().accepted();
    }
    shed(&throttle);
    let Class { requests, accepts, .. } = class(&throttle);
    assert!(throttle.admit(CRITICAL).map(ThrottlePermit::ignore).is_ok() || requests > 10);
    assert_eq!(accepts, 5);
    assert!(requests >= 12, "more than twice the accepts, and the one that was refused");
}

#[test]
fn a_burst_of_calls_in_flight_is_not_held_against_the_callee() {
    let (throttle, _) = throttle(Config::builder());
    let burst: Vec<_> = (0..1_000).map(|_| throttle.admit(CRITICAL).unwrap()).collect();
    assert_eq!(class(&throttle).requests, 0);
    burst.into_iter().for_each(ThrottlePermit::accepted);
    assert_eq!((class(&throttle).requests, class(&throttle).accepts), (1_000, 1_000));
}

#[test]
fn refusals_are_forgotten_when_they_leave_the_window_and_not_before() {
    let (throttle, hand) = throttle(Config::builder().window(16 * SECOND));
    throttle.admit(CRITICAL).unwrap().refused();
    hand.advance(16 * SECOND - Duration::from_nanos(1));
    assert_eq!(class(&throttle).requests, 1);
    assert_eq!(class(&throttle).rejection_probability, 0.5);
    hand.advance(Duration::from_nanos(1));
    assert_eq!(class(&throttle).rejection_probability, 0.0);
}

#[test]
fn padding_makes_a_few_refusals_weigh_less() {
    let (throttle, _) = throttle(Config::builder().padding(8));
    throttle.admit(CRITICAL).unwrap().refused();
    assert_eq!(class(&throttle).rejection_probability, 1.0 / 9.0);
}

#[test]
fn a_dropped_call_counts_as_asked_and_one_that_panicked_was_not_accepted() {
    let fails_late = OnDrop::FailureAfter(SECOND);
    for (policy, age, requests) in
        [(OnDrop::Ignore, 60, 0), (OnDrop::Failure, 0, 1), (fails_late, 0, 0), (fails_late, 1, 1)]
    {
        let (throttle, hand) = throttle(Config::builder().on_drop(policy));
        let permit = throttle.admit(CRITICAL).unwrap();
        hand.advance(age * SECOND);
        drop(permit);
        assert_eq!((class(&throttle).requests, class(&throttle).accepts), (requests, 0));
    }
    let (throttle, _) = throttle(Config::builder());
    let panicked = std::panic::catch_unwind(|| {
        let _permit = throttle.admit(CRITICAL).unwrap();
        panic!("in the call");
    });
    assert!(panicked.is_err());
    assert_eq!(class(&throttle).requests, 1);
}

#[test]
fn the_same_seed_refuses_the_same_calls() {
    let decisions = || {
        let (throttle, _) = throttle(Config::builder());
        let call = |_| throttle.admit(CRITICAL).map(ThrottlePermit::refused).is_ok();
        (0..200).map(call).collect::<Vec<_>>()
    };
    assert_eq!(decisions(), decisions());
}

#[test]
fn a_configuration_with_the_same_window_keeps_what_was_counted() {
    let (throttle, hand) = throttle(Config::builder());
    throttle.admit(CRITICAL).unwrap().refused();
    throttle.admit(Priority::Sheddable).unwrap().refused();
    throttle.reconfigure(Config::builder().padding(3).k(CRITICAL, 5.0).build().unwrap());
    assert_eq!((class(&throttle).rejection_probability, class(&throttle).k), (0.25, 5.0));

    let late = throttle.admit(Priority::CriticalPlus).unwrap();
    throttle.reconfigure(Config::builder().window(16 * SECOND).build().unwrap());
    late.refused();
    assert!(throttle.snapshot().classes.iter().all(|class| class.requests == 0));
    throttle.admit(CRITICAL).unwrap().refused();
    hand.advance(16 * SECOND);
    assert_eq!(class(&throttle).requests, 0, "the new window's length");
}

#[derive(Default)]
struct Log(Mutex<Vec<(Priority, bool, u64)>>, Mutex<Vec<Rejected>>);

impl Observer for Log {
    fn shedding(&self, name: Option<&str>, change: &Shedding) {
        assert_eq!(name, Some("orders"));
        self.0.lock().unwrap().push((change.priority, change.on, change.generation));
    }

    fn rejected(&self, _: Option<&str>, rejected: &Rejected) {
        self.1.lock().unwrap().push(*rejected);
    }
}

#[test]
fn an_observer_hears_when_it_begins_and_when_it_ceases_and_of_each_refusal() {
    let (clock, hand) = Clock::manual();
    let log = Arc::new(Log::default());
    let config = Config::builder().window(16 * SECOND).build().unwrap();
    let throttle = Throttle::builder(config)
        .named("orders")
        .clock(clock)
        .observer(log.clone())
        .seed(1)
        .build();
    shed(&throttle);
    assert_eq!(*log.0.lock().unwrap(), [(CRITICAL, true, 1)]);
    shed(&throttle);
    assert!(class(&throttle).shedding);
    assert_eq!(log.1.lock().unwrap().len(), 2);
    let first = log.1.lock().unwrap()[0];
    assert_eq!(first.priority(), CRITICAL);
    assert!((0.5..1.0).contains(&first.probability()));

    hand.advance(60 * SECOND);
    throttle.admit(CRITICAL).unwrap().accepted();
    assert_eq!(*log.0.lock().unwrap(), [(CRITICAL, true, 1), (CRITICAL, false, 2)]);
    assert!(!class(&throttle).shedding);
}

#[test]
fn a_refusal_is_an_overload_that_nobody_knows_the_end_of() {
    let (throttle, _) = throttle(Config::builder());
    throttle.admit(CRITICAL).unwrap().refused();
    let rejected = loop {
        match throttle.admit(CRITICAL) {
            Ok(permit) => permit.ignore(),
            Err(rejected) => break rejected,
        }
    };
    assert_eq!(rejected.to_string(), "throttled, as 50 % of critical calls are");
    let rejection = throttle.rejection(rejected);
    assert_eq!((rejection.reason(), rejection.refused_by()), (Reason::Overloaded, Some("orders")));
    assert_eq!(rejection.retry_after(), None);
}

#[test]
fn totals_of_many_threads_are_exact() {
    let (throttle, _) = throttle(Config::builder().k(CRITICAL, 1_000.0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let throttle = &throttle;
            scope.spawn(move || {
                for n in 0..20_000 {
                    // Its own refusals count too, and a thousandfold K hardly makes any.
                    let Ok(permit) = throttle.admit(CRITICAL) else { continue };
                    if (n + thread) % 2 == 0 { permit.accepted() } else { permit.refused() }
                }
            });
        }
    });
    assert_eq!(class(&throttle).requests, 160_000);
}

#[tokio::test(start_paused = true)]
async fn the_layer_asks_with_the_priority_of_each_request_and_refuses_without_a_call() {
    let config = Config::default();
    let throttle = Throttle::builder(config).named("orders").clock(Clock::tokio()).seed(7).build();
    let probe: Probe<u32, u32, std::io::Error> =
        Probe::new(|_| Reply::error(std::io::Error::other("busy"))).capacity(1);
    let handle = probe.handle();
    let mut other = probe.clone();
    let by_parity = |n: &u32| if n.is_multiple_of(2) { Priority::Sheddable } else { CRITICAL };
    let layer = ThrottleLayer::new(throttle.clone()).prioritize(by_parity);
    let mut service = layer.layer(probe);
    let mut refused = 0;
    for _ in 0..100 {
        match service.ready().await.unwrap().call(2).await {
            Err(Error::Rejected(rejection)) => {
                assert_eq!(rejection.reason(), Reason::Overloaded);
                refused += 1;
                let place = other.ready().now_or_never();
                assert!(place.is_some(), "what the refused call reserved went back");
                other = service.inner().clone();
            }
            answer => assert!(matches!(answer, Err(Error::Inner(_)))),
        }
    }
    assert_eq!(handle.calls(), 100 - refused);
    assert!(refused > 80, "{refused}");
    assert_eq!(throttle.snapshot().class(Priority::Sheddable).requests, 100);
    assert!(matches!(service.ready().await.unwrap().call(1).await, Err(Error::Inner(_))));
    assert_eq!(class(&throttle).requests, 1);
    drop((service, other));
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn layers_of_one_throttle_share_its_state_and_a_refusal_further_in_does_not_count() {
    let inner = Throttle::builder(Config::default()).clock(Clock::tokio()).seed(1).build();
    let outer = Throttle::builder(Config::default()).clock(Clock::tokio()).seed(1).build();
    while inner.admit(CRITICAL).map(ThrottlePermit::refused).is_ok() {}
    let service =
        ThrottleLayer::new(inner.clone()).layer(Probe::<(), (), std::io::Error>::always(()));
    let layer = ThrottleLayer::new(outer.clone());
    let mut answers = (0, 0);
    for _ in 0..100 {
        match layer.layer(service.clone()).oneshot(()).await {
            Ok(()) => answers.0 += 1,
            Err(_) => answers.1 += 1,
        }
    }
    assert!(answers.1 > 0, "the inner one refuses");
    assert_eq!((class(&outer).requests, class(&outer).accepts), (answers.0, answers.0));
}

#[test]
fn a_priority_is_its_own_rule() {
    assert_eq!(Prioritize::<u32>::priority(&Priority::Sheddable, &1), Priority::Sheddable);
}

/// What the model remembers of a call: when it ended, of which priority, whether it was accepted.
type Ended = (u64, Priority, bool);

proptest! {
    /// The model keeps every call, and counts anew for each question.
    #[test]
    fn it_counts_and_refuses_as_the_formula_over_the_window_says(
        bucket_ms in 10..1_000_u64,
        k in 1.001..6.0_f64,
        padding in 1..10_u32,
        steps in proptest::collection::vec((0..4_usize, 0..5_u8, 0..3_000_u64), 1..200),
    ) {
        let bucket = bucket_ms * 1_000_000;
        let mut config = Config::builder().window(Duration::from_nanos(16 * bucket)).padding(padding);
        for priority in Priority::ALL {
            config = config.k(priority, k);
        }
        let k = (k * 1_000.0).round() / 1_000.0;
        let (throttle, hand) = throttle(config);
        let mut ended: Vec<Ended> = Vec::new();
        let mut out: Vec<ThrottlePermit> = Vec::new();
        for (which, how, pass) in steps {
            let now = hand.now().as_nanos();
            let priority = Priority::ALL[which];
            let seen = |wanted: Priority, ended: &[Ended]| {
                let inside = ended.iter().filter(|call| call.0 / bucket + 16 > now / bucket);
                let of: Vec<_> = inside.filter(|call| call.1 == wanted).collect();
                (of.len() as u64, of.iter().filter(|call| call.2).count() as u64)
            };
            for priority in Priority::ALL {
                let (requests, accepts) = seen(priority, &ended);
                let class = *throttle.snapshot().class(priority);
                prop_assert_eq!((class.requests, class.accepts), (requests, accepts));
                let odds = (requests as f64 - k * accepts as f64) / (requests + u64::from(padding)) as f64;
                prop_assert!((class.rejection_probability - odds.max(0.0)).abs() < 1e-6);
            }
            match throttle.admit(priority) {
                Ok(permit) => out.push(permit),
                Err(rejected) => {
                    let (requests, accepts) = seen(priority, &ended);
                    prop_assert!(requests as f64 > k * accepts as f64 - 1e-6);
                    prop_assert!(rejected.probability() > 0.0);
                    ended.push((now, priority, false));
                }
            }
            if how < 4 && !out.is_empty() {
                let permit = out.swap_remove(pass as usize % out.len());
                let priority = permit.priority();
                match how {
                    0 | 1 => { permit.accepted(); ended.push((now, priority, true)) }
                    2 => { permit.refused(); ended.push((now, priority, false)) }
                    _ => drop(permit),
                }
            }
            hand.advance(Duration::from_millis(if how == 4 { pass * 5 } else { pass / 30 }));
        }
    }
}
