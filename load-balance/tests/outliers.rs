//! Ejection by rates, by origin and at an endpoint's own request; panic and slow start as tables;
//! what observers are told. On a clock that the test moves.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{endpoint, endpoints, of};
use seawall_core::{
    Admission, Change, Clock, Endpoint, EndpointId, Fault, Foretell, Guard, Health, ManualClock,
    Outcome, Rejection,
};
use seawall_load_balance::{
    Balancer, Config, ConfigBuilder, ConsistentHash, Ejected, Ejection, EndpointSet, EndpointState,
    FailurePercentage, HashKey, Maglev, Observer, Panic, PeakEwma, PickContext, Picked, Picker,
    Policy, Returned, Ring, Roster, Rule, SlowStart, SuccessRate, View,
};

const SECOND: Duration = Duration::from_secs(1);

fn picker(set: &EndpointSet, config: ConfigBuilder) -> (Picker, ManualClock) {
    let (clock, hand) = Clock::manual();
    let config = config.clock(clock).seed(7).build().unwrap();
    (Picker::with_config(set.clone(), config), hand)
}

fn ejecting(set: &EndpointSet, ejection: Ejection) -> (Picker, ManualClock) {
    picker(set, Config::builder().ejection(ejection))
}

/// All of them; the last one is a user's.
fn policies() -> Vec<Policy> {
    let hashed = [
        ConsistentHash::ring(Ring::new().with_points(200)),
        ConsistentHash::ring(Ring::ketama()),
        ConsistentHash::maglev(Maglev::new()),
        ConsistentHash::rendezvous(),
        ConsistentHash::rendezvous().with_bounded_load(200),
    ];
    let mut all = vec![
        Policy::PowerOfTwo,
        Policy::PeakEwma(PeakEwma::new()),
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastInFlight,
    ];
    all.extend(hashed.map(Policy::ConsistentHash));
    all.push(Policy::custom(Drawn));
    all
}

/// Whoever is drawn first and may be picked.
#[derive(Debug)]
struct Drawn;

impl Rule for Drawn {
    type Table = ();

    fn prepare(&self, _: &Roster<'_>) {}

    fn pick(&self, (): &(), view: &mut View<'_>) -> Option<usize> {
        (0..100).find_map(|_| {
            let at = view.draw();
            view.share(at).map(|_| at)
        })
    }
}

/// A pick for the next of many keys.
fn next(picker: &mut Picker) -> Picked {
    let key = HashKey::of(fastrand::u64(..).to_le_bytes());
    picker.pick_for(PickContext::new().with_key(key)).unwrap()
}

fn pick(picker: &mut Picker, id: &str) -> Picked {
    for _ in 0..10_000 {
        let picked = next(picker);
        if picked.id().as_str() == id {
            return picked;
        }
    }
    panic!("{id} is not picked: {:?}", of(picker, id));
}

fn fail(picker: &mut Picker, id: &str, fault: Fault) {
    let mut picked = pick(picker, id);
    if fault != Fault::Local {
        picked.answered();
    }
    picked.fault(fault);
    picked.finish(Outcome::Failure);
}

fn is_picked(picker: &mut Picker, id: &str) -> bool {
    (0..300).any(|_| next(picker).id().as_str() == id)
}

/// Calls until each has had `calls`; those of `id` fail so often.
fn interval(picker: &mut Picker, id: &str, calls: u64, failures: u64) {
    let before: Vec<_> = picker.snapshot().endpoints.iter().map(|e| e.calls).collect();
    let mut failed = 0;
    loop {
        let snapshot = picker.snapshot();
        if snapshot.endpoints.iter().zip(&before).all(|(now, was)| now.calls - was >= calls) {
            return;
        }
        let picked = picker.pick().unwrap();
        let now = snapshot.endpoints.iter().position(|e| e.id == *picked.id()).unwrap();
        if snapshot.endpoints[now].calls - before[now] >= calls {
            // Dropped, which is no call of the interval.
            continue;
        }
        if picked.id().as_str() == id && failed < failures {
            failed += 1;
            picked.finish(Outcome::Failure);
        } else {
            picked.finish(Outcome::Success);
        }
    }
}

#[test]
fn a_sweep_ejects_whoever_does_far_worse_than_the_others() {
    let rules = || Ejection::new().without_consecutive_failures();
    for (failures, ejections) in [(0, 0), (60, 1)] {
        let set = endpoints(6);
        let (mut picker, _) = ejecting(&set, rules().with_success_rate(SuccessRate::new()));
        interval(&mut picker, "e000003", 100, failures);
        assert_eq!(of(&picker, "e000003").ejections, 0, "before the sweep");
        picker.sweep();
        assert_eq!(of(&picker, "e000003").ejections, ejections, "{failures} failures");
        assert!((0..6).all(|n| n == 3 || of(&picker, &format!("e00000{n}")).ejections == 0));
    }
}

#[test]
fn a_sweep_looks_at_its_own_interval_alone() {
    let set = endpoints(6);
    let rules = FailurePercentage::new().with_threshold(50);
    let ejection = Ejection::new().without_consecutive_failures().with_failure_percentage(rules);
    let (mut picker, _) = ejecting(&set, ejection);
    interval(&mut picker, "e000001", 60, 29);
    picker.sweep();
    assert_eq!(of(&picker, "e000001").ejections, 0, "29 of 60");
    interval(&mut picker, "e000001", 60, 0);
    picker.sweep();
    interval(&mut picker, "e000001", 60, 30);
    picker.sweep();
    assert_eq!(of(&picker, "e000001").ejections, 1, "30 of 60, whatever was before");
}

#[test]
fn findings_that_are_not_enforced_eject_nobody() {
    let set = endpoints(6);
    let rate = SuccessRate::new().with_enforcement_percent(0);
    let ejection = Ejection::new().with_enforcement_percent(0).with_success_rate(rate);
    let (mut picker, _) = ejecting(&set, ejection);
    interval(&mut picker, "e000001", 100, 100);
    picker.sweep();
    assert!(picker.snapshot().endpoints.iter().all(|e| e.ejections == 0));
}

#[test]
fn half_of_the_rows_eject_where_half_are_enforced() {
    let set = endpoints(3);
    let ejection = Ejection::new().with_consecutive_failures(1).with_enforcement_percent(50);
    let (mut picker, _) = ejecting(&set, ejection);
    let mut rows = 0;
    while of(&picker, "e000000").ejections < 100 {
        fail(&mut picker, "e000000", Fault::Answer);
        picker.uneject(&"e000000".into());
        rows += 1;
    }
    assert!((140..=270).contains(&rows), "{rows} rows for 100 ejections");
}

#[test]
fn origins_are_told_by_whether_there_was_an_answer_unless_a_tracker_says_more() {
    let set = endpoints(3);
    let ejection = Ejection::new()
        .without_consecutive_failures()
        .with_consecutive_gateway_failures(2)
        .with_consecutive_local_failures(3);
    let (mut picker, _) = ejecting(&set, ejection);
    for _ in 0..2 {
        pick(&mut picker, "e000000").finish(Outcome::Failure);
    }
    assert_eq!(of(&picker, "e000000").ejections, 0);
    pick(&mut picker, "e000000").finish(Outcome::Failure);
    assert_eq!(of(&picker, "e000000").ejections, 1, "three local ones");
    picker.uneject(&"e000000".into());
    for _ in 0..10 {
        fail(&mut picker, "e000000", Fault::Answer);
    }
    assert_eq!(of(&picker, "e000000").ejections, 1, "answers of 500 are not asked for");
    fail(&mut picker, "e000000", Fault::Gateway);
    fail(&mut picker, "e000000", Fault::Gateway);
    assert_eq!(of(&picker, "e000000").ejections, 2);
}

#[test]
fn the_last_endpoint_goes_where_that_is_told() {
    let set = endpoints(1);
    let ejection = Ejection::new().with_last(true).with_consecutive_failures(1);
    let (mut picker, _) = ejecting(&set, ejection);
    picker.pick().unwrap().finish(Outcome::Failure);
    assert_eq!(of(&picker, "e000000").state, EndpointState::Ejected);
    assert!(picker.snapshot().panicking);
    assert!(picker.pick().is_some(), "panic uses it all the same");
}

#[tokio::test(start_paused = true)]
async fn a_task_sweeps_in_each_interval_and_ends_with_the_last_clone() {
    let set = endpoints(6);
    let ejection = Ejection::new().with_success_rate(SuccessRate::new()).with_interval(SECOND);
    let config = Config::builder().ejection(ejection.without_consecutive_failures());
    let config = config.clock(Clock::tokio()).build().unwrap();
    let mut picker = Picker::with_config(set, config);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    interval(&mut picker, "e000003", 100, 90);
    tokio::time::sleep(SECOND * 3 / 2).await;
    assert_eq!(of(&picker, "e000003").ejections, 1);
    let clone = picker.clone();
    drop(picker);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 1, "a clone is left");
    drop(clone);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0);
}

#[test]
fn an_endpoint_that_asks_to_be_left_alone_is_for_as_long_up_to_the_bound() {
    for policy in policies() {
        let set = endpoints(4);
        let name = format!("{policy:?}");
        let (mut picker, hand) =
            picker(&set, Config::builder().policy(policy).retry_after(10 * SECOND));
        for (asked, heeded) in [(3, 3), (86_400, 10)] {
            let mut picked = pick(&mut picker, "e000002");
            picked.answered();
            picked.retry_after(asked * SECOND);
            picked.finish(Outcome::Ignored);
            let now = of(&picker, "e000002");
            assert_eq!((now.state, now.ejections), (EndpointState::Resting, 0));
            hand.advance(heeded * SECOND - Duration::from_nanos(1));
            assert!(!is_picked(&mut picker, "e000002"), "{name}: {heeded} s are not over");
            hand.advance(Duration::from_nanos(1));
            assert!(is_picked(&mut picker, "e000002"), "{name}: after {heeded} s");
        }
    }
}

#[test]
fn when_all_ask_to_be_left_alone_all_are_used() {
    let set = endpoints(4);
    let (mut picker, _) = picker(&set, Config::builder());
    for id in ["e000000", "e000001", "e000002", "e000003"] {
        pick(&mut picker, id).retry_after(5 * SECOND);
    }
    assert!(picker.snapshot().panicking);
    assert!(is_picked(&mut picker, "e000000"));
    // Out for its failures as well: the later of both ends counts.
    let (mut one, hand) = ejecting(&endpoints(4), Ejection::new().with_consecutive_failures(1));
    let mut picked = pick(&mut one, "e000000");
    picked.retry_after(29 * SECOND);
    picked.finish(Outcome::Failure);
    assert_eq!(of(&one, "e000000").ejected_for, Some(30 * SECOND));
    hand.advance(30 * SECOND);
    assert!(is_picked(&mut one, "e000000"));
    assert!(!one.snapshot().panicking);
}

#[test]
fn panic_follows_envoys_rule_for_one_priority() {
    // Below the threshold, not at it; 0 turns it off.
    for (endpoints, unwell, threshold, panics) in [
        (100, 49, 50, false),
        (100, 50, 50, false),
        (100, 51, 50, true),
        (3, 1, 50, false),
        (3, 2, 50, true),
        (1, 1, 50, true),
        (4, 4, 0, false),
        (4, 1, 100, true),
    ] {
        let set: EndpointSet = (0..endpoints)
            .map(|n| {
                let health = if n < unwell { Health::Critical } else { Health::Passing };
                endpoint(&format!("{n:03}")).with_health(health)
            })
            .collect();
        let (picker, _) = picker(&set, Config::builder().panic_threshold(threshold));
        let panicking = picker.snapshot().panicking;
        assert_eq!(panicking, panics, "{unwell} of {endpoints}, {threshold} percent");
    }
}

#[test]
fn an_endpoint_that_is_unwell_for_two_reasons_counts_once() {
    let set = endpoints(4);
    let (mut picker, _) = ejecting(&set, Ejection::new().with_consecutive_failures(1));
    fail(&mut picker, "e000000", Fault::Answer);
    set.apply([Change::Update(endpoint("e000000").with_health(Health::Critical))]);
    set.apply([Change::Update(endpoint("e000001").with_health(Health::Critical))]);
    assert!(!picker.snapshot().panicking, "two of four");
    set.apply([Change::Update(endpoint("e000002").with_health(Health::Critical))]);
    assert!(picker.snapshot().panicking, "three of four");
    set.apply(["e000000", "e000001"].map(|id| Change::Remove(id.into())));
    assert!(!picker.snapshot().panicking, "one of two");
}

#[test]
fn slow_start_follows_envoys_formula_in_every_policy() {
    for policy in policies() {
        for (aggression, seconds, share) in
            [(1.0, 0, 0.1), (1.0, 15, 0.25), (1.0, 60, 1.0), (2.0, 15, 0.5), (0.5, 30, 0.25)]
        {
            let set = endpoints(4);
            let rules = SlowStart::new(60 * SECOND).with_aggression(aggression);
            let config = Config::builder().policy(policy.clone()).slow_start(rules);
            let (mut picker, hand) = picker(&set, config);
            set.apply([Change::Insert(endpoint("new").with_weight(1))]);
            hand.advance(seconds * SECOND);
            let now = of(&picker, "new");
            assert!((now.effective_weight - share).abs() < 1e-9, "{now:?}");
            let news = (0..10_000).filter(|_| {
                let picked = next(&mut picker);
                let new = picked.id().as_str() == "new";
                picked.finish(Outcome::Success);
                new
            });
            let real = news.count() as f64 / 1e4;
            // A key that it does not take in its slow start stays with another; and a fifth of the
            // points is no fifth of the ring.
            let (fair, off) = match policy {
                Policy::ConsistentHash(_) => (share / 5.0, 0.02 + 0.05 * share),
                _ => (share / (4.0 + share), 0.03),
            };
            assert!((real - fair).abs() < off, "{policy:?} {seconds} s: {real}, not {fair}");
        }
    }
}

#[test]
fn slow_start_goes_with_the_weight_and_the_size_of_the_set() {
    // Nine of weight 1 and a new one of weight 9; two hundred, of which least in flight looks at a
    // few, and a new one that weighs as much as all of them.
    for (others, weight) in [(9, 9), (200, 200)] {
        for policy in policies() {
            if matches!(policy, Policy::ConsistentHash(_)) {
                // Its new endpoint takes keys by chance of their own: the test above has that.
                continue;
            }
            let set = endpoints(others);
            let config = Config::builder().policy(policy.clone());
            let (mut picker, hand) = picker(&set, config.slow_start(SlowStart::new(60 * SECOND)));
            set.apply([Change::Insert(endpoint("new").with_weight(weight))]);
            hand.advance(15 * SECOND);
            let news = (0..20_000).filter(|_| next(&mut picker).id().as_str() == "new");
            // A quarter of a half goes to it where the others take what it leaves, and a fifth,
            // 0.25 of 1.25, where it takes part in that again.
            let real = news.count() as f64 / 2e4;
            assert!((0.11..0.22).contains(&real), "{policy:?} of {others}: {real}");
        }
    }
}

#[test]
fn in_a_slow_start_least_in_flight_holds_a_part_of_what_the_others_hold() {
    let set = endpoints(4);
    let config = Config::builder().policy(Policy::LeastInFlight);
    let (mut picker, hand) = picker(&set, config.slow_start(SlowStart::new(100 * SECOND)));
    set.apply([Change::Insert(endpoint("new"))]);
    hand.advance(20 * SECOND);
    let held: Vec<_> = (0..420).map(|_| picker.pick().unwrap()).collect();
    let in_flight: Vec<_> = picker.snapshot().endpoints.iter().map(|e| e.in_flight).collect();
    assert_eq!(in_flight, [100, 100, 100, 100, 20]);
    drop(held);
}

#[test]
fn a_panic_of_a_part_is_told_and_one_that_another_part_bears_is_none() {
    let log = Arc::new(Log::default());
    let level = |name: char, priority, well| {
        (0..10).map(move |n| {
            let health = if n < well { Health::Passing } else { Health::Critical };
            endpoint(&format!("{name}{n}")).with_priority(priority).with_health(health)
        })
    };
    let set: EndpointSet = level('a', 0, 10).chain(level('b', 1, 9)).collect();
    let (mut picker, _) = picker(&set, Config::builder().observer(log.clone()));
    let told =
        || -> Vec<_> { log.take().into_iter().filter(|line| line.contains("panic")).collect() };
    set.apply(level('a', 0, 0).map(Change::Update));
    drop(next(&mut picker));
    assert!(!picker.snapshot().panicking && told().is_empty(), "the other part bears it");
    set.apply(level('b', 1, 4).map(Change::Update));
    drop(next(&mut picker));
    assert!(picker.snapshot().panicking);
    assert_eq!(told(), ["- panic true 4 of 20"]);
    set.apply(level('b', 1, 8).map(Change::Update));
    drop(next(&mut picker));
    assert!(!picker.snapshot().panicking);
    assert_eq!(told(), ["- panic false 8 of 20"]);
    // No longer in parts.
    set.replace((0..4).map(|n| {
        let health = if n < 1 { Health::Passing } else { Health::Critical };
        endpoint(&format!("c{n}")).with_health(health)
    }));
    assert!(picker.snapshot().panicking);
    assert_eq!(told(), ["- panic true 1 of 4"]);
}

#[test]
fn an_endpoint_whose_breaker_closes_again_begins_slowly() {
    #[derive(Clone)]
    struct Guarded(Arc<Mutex<Admission>>);
    impl Foretell for Guarded {
        fn admission(&self) -> Admission {
            *self.0.lock().unwrap()
        }
    }
    let (clock, hand) = Clock::manual();
    let breaker = Arc::new(Mutex::new(Admission::Open));
    let of_first = breaker.clone();
    let mut balancer = Balancer::builder(endpoints(3), move |endpoint: &Endpoint| {
        let open = Arc::new(Mutex::new(Admission::Open));
        let first = endpoint.id().as_str() == "e000000";
        Ok::<_, std::io::Error>(Guarded(if first { of_first.clone() } else { open }))
    })
    .config(Config::builder().clock(clock).slow_start(SlowStart::new(100 * SECOND)))
    .admits(Foretell::admission)
    .build()
    .unwrap();
    let calls = |balancer: &mut Balancer<Guarded>| {
        let picks = (0..1000).map(|_| balancer.pick_service(None).unwrap().0.id().clone());
        picks.filter(|id| id.as_str() == "e000000").count()
    };
    assert!(calls(&mut balancer) > 200);
    *breaker.lock().unwrap() = Admission::Refused;
    assert_eq!(calls(&mut balancer), 0);
    assert_eq!(of(&balancer, "e000000").state, EndpointState::Refusing);
    *breaker.lock().unwrap() = Admission::Trial;
    assert!(calls(&mut balancer) > 200, "the breaker bounds its probes itself");
    assert_eq!(of(&balancer, "e000000").state, EndpointState::Refusing);
    hand.advance(50 * SECOND);
    *breaker.lock().unwrap() = Admission::Open;
    calls(&mut balancer);
    let closed = of(&balancer, "e000000");
    assert_eq!((closed.state, closed.share), (EndpointState::Warming, 0.1));
    hand.advance(50 * SECOND);
    assert_eq!(of(&balancer, "e000000").share, 0.5);
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn add(&self, name: Option<&str>, line: String) {
        self.0.lock().unwrap().push(format!("{} {line}", name.unwrap_or("-")));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Log {
    fn watches_calls(&self) -> bool {
        true
    }
    fn answered(&self, name: Option<&str>, endpoint: &EndpointId, latency: Duration) {
        self.add(name, format!("{endpoint} answered after {latency:?}"));
    }
    fn ended(&self, name: Option<&str>, endpoint: &EndpointId, outcome: Option<Outcome>) {
        self.add(name, format!("{endpoint} ended {outcome:?}"));
    }
    fn ejected(&self, name: Option<&str>, ejected: &Ejected<'_>) {
        let Ejected { endpoint, cause, time, .. } = ejected;
        self.add(name, format!("{endpoint} out {} {time:?}", cause.as_str()));
    }
    fn returned(&self, name: Option<&str>, returned: &Returned<'_>) {
        self.add(name, format!("{} back {}", returned.endpoint, returned.by_hand));
    }
    fn panic(&self, name: Option<&str>, panic: &Panic) {
        self.add(name, format!("panic {} {} of {}", panic.began, panic.well, panic.endpoints));
    }
    fn rejected(&self, name: Option<&str>, rejection: &Rejection) {
        self.add(name, rejection.to_string());
    }
    fn not_made(&self, name: Option<&str>, endpoint: &EndpointId, error: &str) {
        self.add(name, format!("{endpoint} not made: {error}"));
    }
}

#[test]
fn an_observer_hears_of_everything_once() {
    let log = Arc::new(Log::default());
    let set = endpoints(3);
    let ejection = Ejection::new().with_consecutive_failures(1).with_max_percent(100);
    let config = Config::builder().ejection(ejection).name("orders").observer(log.clone());
    let (mut picker, hand) = picker(&set, config);
    let mut picked = pick(&mut picker, "e000000");
    log.take();
    hand.advance(Duration::from_millis(20));
    picked.answered();
    picked.finish(Outcome::Failure);
    let told = ["e000000 answered after 20ms", "e000000 ended Some(Failure)"];
    let out = "e000000 out consecutive_failures 30s";
    assert_eq!(log.take(), [told[0], told[1], out].map(|line| format!("orders {line}")));
    pick(&mut picker, "e000001").finish(Outcome::Failure);
    let told = log.take();
    let last = &told[told.len() - 2..];
    let out = "orders e000001 out consecutive_failures 30s";
    assert_eq!(last, [out, "orders panic true 1 of 3"]);
    picker.uneject(&"e000001".into());
    assert_eq!(log.take(), ["orders e000001 back true", "orders panic false 2 of 3"]);
    hand.advance(30 * SECOND);
    assert!(is_picked(&mut picker, "e000000"));
    assert!(log.take().contains(&"orders e000000 back false".to_owned()));
    set.apply([Change::Update(endpoint("e000000").with_health(Health::Critical))]);
    set.apply([Change::Update(endpoint("e000001").with_health(Health::Critical))]);
    assert_eq!(log.take(), ["orders panic true 1 of 3"], "the set can begin panic too");
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_of_refusals_and_of_services_that_cannot_be_made() {
    let log = Arc::new(Log::default());
    let set = EndpointSet::new();
    let make = |_: &Endpoint| {
        Err::<tower::util::BoxCloneSyncService<(), (), std::io::Error>, _>(std::io::Error::other(
            "no certificate",
        ))
    };
    let balancer = Balancer::builder(set.clone(), make)
        .config(Config::builder().observer(log.clone()))
        .build()
        .unwrap();
    let call = || tower::ServiceExt::oneshot(balancer.clone(), ());
    call().await.unwrap_err();
    assert_eq!(log.take(), ["- no endpoint to call"]);
    set.apply([Change::Insert(endpoint("a"))]);
    call().await.unwrap_err();
    let refused = "- no endpoint to call, retry after 1s";
    assert_eq!(log.take(), ["- a ended Some(Failure)", "- a not made: no certificate", refused]);
    assert_eq!(of(&balancer, "a").state, EndpointState::Broken);
}

#[test]
fn a_snapshot_says_how_each_stands_and_since_when() {
    let set = endpoints(4);
    let (mut picker, hand) =
        picker(&set, Config::builder().slow_start(SlowStart::new(100 * SECOND)));
    hand.advance(10 * SECOND);
    for _ in 0..5 {
        fail(&mut picker, "e000000", Fault::Answer);
    }
    set.apply([
        Change::Insert(endpoint("new").with_weight(10)),
        Change::Update(endpoint("e000001").with_weight(0)),
        Change::Update(endpoint("e000002").with_health(Health::Critical)),
    ]);
    hand.advance(20 * SECOND);
    let snapshot = picker.snapshot();
    let stand: Vec<_> = snapshot.endpoints.iter().map(|e| (e.state, e.state_for)).collect();
    use EndpointState::{Critical, Drained, Ejected, In, Warming};
    assert_eq!(
        stand,
        [
            (Ejected, 20 * SECOND),
            (Drained, 20 * SECOND),
            (Critical, 20 * SECOND),
            (In, 30 * SECOND),
            (Warming, 20 * SECOND)
        ]
    );
    assert_eq!((snapshot.endpoints[4].weight, snapshot.endpoints[4].effective_weight), (10, 2.0));
    assert_eq!(snapshot.endpoints[0].effective_weight, 0.0);
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_can_be_written_as_json() {
    let (mut picker, _) = picker(&endpoints(1), Config::builder());
    picker.pick().unwrap().finish(Outcome::Success);
    let json = serde_json::to_value(picker.snapshot()).unwrap();
    let one = &json["endpoints"][0];
    assert_eq!(one["id"], "e000000");
    assert_eq!((&one["state"], &one["successes"]), (&"in".into(), &1.into()));
    assert_eq!((&one["state_for"], &json["source"]), (&"0s".into(), &"manual".into()));
}
