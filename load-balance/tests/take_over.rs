//! A balancer that takes the place of another one, with other settings.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use seawall_core::{AnyError, AtResult, Change, Clock, Endpoint, Guard, Outcome};
use seawall_load_balance::{
    Balancer, Config, ConfigBuilder, Ejection, EndpointSet, Picked, Policy, SlowStart, Tried,
};

const SECOND: Duration = Duration::from_secs(1);

type Numbers = Balancer<usize, AtResult<AnyError>>;

fn set(ids: &[&str]) -> EndpointSet {
    EndpointSet::from_endpoints(ids.iter().enumerate().map(|(at, id)| {
        let address = format!("10.0.0.{}:80", at + 1).parse().expect("it is one");
        Endpoint::new(*id, address)
    }))
}

/// A balancer whose services are numbers, each made once.
fn balancer(set: &EndpointSet, made: &Arc<AtomicUsize>, config: ConfigBuilder) -> Numbers {
    let made = made.clone();
    let make = move |_: &Endpoint| Ok::<_, Infallible>(made.fetch_add(1, Relaxed));
    Balancer::builder(set.clone(), make).config(config).build().expect("it is valid")
}

/// A call to the endpoint of this id.
fn pick(balancer: &mut Numbers, id: &str) -> Picked {
    let others = Tried::default();
    loop {
        let picked = balancer.pick_other_than(&others).expect("there is one");
        if picked.id().as_str() == id {
            return picked;
        }
    }
}

fn state(balancer: &Numbers, id: &str) -> (u64, u64, u64, Option<Duration>) {
    let snapshot = balancer.snapshot();
    let found = snapshot.endpoints.iter().find(|endpoint| endpoint.id.as_str() == id);
    let endpoint = found.expect("it is there");
    (endpoint.calls, endpoint.failures, endpoint.ejections, endpoint.ejected_for)
}

fn ejecting() -> Ejection {
    Ejection::new().with_consecutive_failures(1).with_base_time(30 * SECOND)
}

#[test]
fn counts_and_ejections_go_on_and_those_that_left_are_forgotten() {
    let (clock, time) = Clock::manual();
    let (set, made) = (set(&["a", "b", "c"]), Arc::default());
    let config = || Config::builder().clock(clock.clone()).policy(Policy::RoundRobin);
    let mut old = balancer(&set, &made, config().ejection(ejecting()));
    pick(&mut old, "b").finish(Outcome::Success);
    pick(&mut old, "a").finish(Outcome::Failure);
    let under_way = pick(&mut old, "b");
    time.advance(10 * SECOND);
    assert_eq!(state(&old, "a").3, Some(20 * SECOND));
    set.apply([Change::Remove("c".into())]);

    let mut new = balancer(&set, &made, config().ejection(ejecting()).panic_threshold(0));
    new.take_over(&old);
    assert_eq!(state(&new, "a"), state(&old, "a"));
    let (calls, failures, ..) = state(&new, "b");
    assert_eq!((calls, failures), (state(&old, "b").0, 0));
    for _ in 0..20 {
        let picked = new.pick().expect("there is one");
        assert_eq!(picked.id().as_str(), "b", "the other one is out");
        picked.finish(Outcome::Success);
    }
    // What began at the old one ends there.
    under_way.finish(Outcome::Failure);
    assert_eq!(state(&new, "b").1, 0);
    assert_eq!(state(&old, "b").1, 1);
    time.advance(20 * SECOND);
    pick(&mut new, "a").finish(Outcome::Success);
    assert_eq!(state(&new, "a").3, None);
}

#[test]
fn what_the_new_settings_have_not_is_over() {
    let (clock, _time) = Clock::manual();
    let (set, made) = (set(&["a", "b"]), Arc::default());
    let config = || Config::builder().clock(clock.clone()).policy(Policy::RoundRobin);
    let mut old = balancer(&set, &made, config().ejection(ejecting()));
    pick(&mut old, "a").finish(Outcome::Failure);
    assert!(state(&old, "a").3.is_some());
    let new = balancer(&set, &made, config().ejection(None));
    new.take_over(&old);
    assert_eq!(state(&new, "a"), (state(&old, "a").0, 1, 1, None));
}

#[test]
fn a_slow_start_goes_on_from_where_it_was() {
    let (clock, time) = Clock::manual();
    let (set, made) = (set(&["a"]), Arc::default());
    let config = || {
        let slow = SlowStart::new(100 * SECOND);
        Config::builder().clock(clock.clone()).slow_start(slow)
    };
    let old = balancer(&set, &made, config());
    let new = Endpoint::new("b", "10.0.0.2:80".parse().expect("it is one"));
    set.apply([Change::Insert(new)]);
    time.advance(50 * SECOND);
    let share = |balancer: &Numbers| balancer.snapshot().endpoints[1].share;
    let before = share(&old);
    assert!(before < 1.0, "{before}");
    let new = balancer(&set, &made, config());
    new.take_over(&old);
    assert_eq!(share(&new), before);
}

#[tokio::test]
async fn services_and_latencies_are_not_made_anew() {
    use tower::{ServiceExt, service_fn};

    let (clock, time) = Clock::manual();
    let (set, made) = (set(&["a", "b"]), Arc::<AtomicUsize>::default());
    let balancer = |config: ConfigBuilder| {
        let (made, time) = (made.clone(), time.clone());
        let make = move |endpoint: &Endpoint| {
            made.fetch_add(1, Relaxed);
            let slow = endpoint.id().as_str() == "a";
            let time = time.clone();
            Ok::<_, Infallible>(service_fn(move |()| {
                time.advance(if slow { SECOND } else { SECOND / 1000 });
                async { Ok::<_, Infallible>(()) }
            }))
        };
        let config = config.clock(clock.clone());
        Balancer::builder(set.clone(), make).config(config).build().expect("it is valid")
    };
    let old = balancer(Config::builder().policy(Policy::PeakEwma(Default::default())).seed(1));
    for _ in 0..50 {
        old.clone().oneshot(()).await.expect("it answers");
    }
    let new = balancer(Config::builder().policy(Policy::PeakEwma(Default::default())).seed(2));
    new.take_over(&old);
    let latencies = |snapshot: &seawall_load_balance::BalancerSnapshot| {
        snapshot.endpoints.iter().map(|endpoint| endpoint.latency).collect::<Vec<_>>()
    };
    assert_eq!(latencies(&new.snapshot()), latencies(&old.snapshot()));
    new.oneshot(()).await.expect("it answers");
    assert_eq!(made.load(Relaxed), 2);
}
