//! Models of what threads share: the counters of an endpoint and its standing.
#![cfg(seawall_loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

use loom::{model::Builder, thread};
use seawall_core::{Clock, Endpoint, Guard, Outcome};
use seawall_load_balance::{Config, Ejection, EndpointSet, Picker};

fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

fn set(count: usize) -> EndpointSet {
    let endpoint = |number: usize| Endpoint::new(number.to_string(), "h:1".parse().unwrap());
    (0..count).map(endpoint).collect()
}

fn config(ejection: Ejection, clock: Clock) -> Config {
    Config::builder().ejection(ejection).clock(clock).seed(1).build().unwrap()
}

fn in_flight(picker: &Picker) -> u64 {
    picker.snapshot().endpoints.iter().map(|endpoint| endpoint.in_flight).sum()
}

#[test]
fn in_flight_is_never_negative_and_returns_to_zero() {
    model(|| {
        let (clock, _) = Clock::manual();
        let picker = Picker::with_config(set(1), config(Ejection::new(), clock));
        let calls: Vec<_> = [Some(Outcome::Success), None]
            .map(|outcome| {
                let mut picker = picker.clone();
                thread::spawn(move || {
                    let picked = picker.pick().unwrap();
                    match outcome {
                        Some(outcome) => picked.finish(outcome),
                        None => drop(picked),
                    }
                })
            })
            .into();
        // A difference below zero would show as a huge number, or as zero with a call in flight.
        assert!(in_flight(&picker) <= 2);
        calls.into_iter().for_each(|call| call.join().unwrap());
        assert_eq!(in_flight(&picker), 0);
    });
}

#[test]
fn an_endpoint_that_two_calls_eject_at_once_is_counted_once() {
    model(|| {
        let (clock, _) = Clock::manual();
        let ejection = Ejection::new().with_consecutive_failures(1).with_max_percent(100);
        let mut picker = Picker::with_config(set(3), config(ejection, clock));
        // Of four calls that are in flight to three endpoints, two share one.
        let mut held: Vec<_> = (0..4).map(|_| picker.pick().unwrap()).collect();
        held.sort_by(|one, two| one.id().cmp(two.id()));
        let pair = held.windows(2).position(|pair| pair[0].id() == pair[1].id()).unwrap();
        let (first, second) = (held.remove(pair), held.remove(pair));
        let other = thread::spawn(move || first.finish(Outcome::Failure));
        second.finish(Outcome::Failure);
        other.join().unwrap();
        let ejections: u64 = picker.snapshot().endpoints.iter().map(|e| e.ejections).sum();
        assert_eq!(ejections, 1);
        assert_eq!(format!("{picker:?}"), "Balancer { endpoints: 3, drained: 0, ejected: 1, .. }");
    });
}

#[test]
fn an_ejection_that_two_end_at_once_is_given_back_once() {
    model(|| {
        let (clock, _) = Clock::manual();
        let ejection = Ejection::new().with_consecutive_failures(1);
        let set = set(2);
        let mut picker = Picker::with_config(set.clone(), config(ejection, clock));
        let picked = picker.pick().unwrap();
        let id = picked.id().clone();
        picked.finish(Outcome::Failure);
        let removing = thread::spawn({
            let id = id.clone();
            move || set.apply([seawall_core::Change::Remove(id)])
        });
        picker.uneject(&id);
        removing.join().unwrap();
        // A place given back twice would wrap the count, and the set would seem all ejected.
        assert_eq!(format!("{picker:?}"), "Balancer { endpoints: 1, drained: 0, ejected: 0, .. }");
        drop(picker.pick().unwrap());
    });
}
