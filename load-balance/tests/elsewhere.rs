//! Calls that go to another endpoint.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeSet,
    io::{Error as IoError, ErrorKind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{Probes, endpoint, of};
use seawall_core::{Admission, Endpoint, EndpointId, Error, Foretell, Reason, Rejection, Retry};
use seawall_load_balance::{
    Attempt, Balancer, CloneRequest, Config, EndpointSet, JudgeUnsent, Observer, Picker, Resend,
    Tried, Unsent,
};
use seawall_test_support::{Probe, Readiness, Reply};
use tower::ServiceExt;

/// As `CloneRequest`, and a refused connection is unsent.
#[derive(Clone)]
struct Reconnect;

impl Resend<u32> for Reconnect {
    type Kept = u32;
    type Sent = u32;
    fn first(&self, request: u32) -> (u32, u32) {
        (request, request)
    }
    fn again(&self, kept: &mut u32) -> Option<u32> {
        Some(*kept)
    }
}

impl Resend<Attempt<u32>> for Reconnect {
    type Kept = u32;
    type Sent = u32;
    fn first(&self, attempt: Attempt<u32>) -> (u32, u32) {
        (attempt.request, attempt.request)
    }
    fn again(&self, kept: &mut u32) -> Option<u32> {
        Some(*kept)
    }
    fn tried(&self, attempt: &Attempt<u32>) -> Option<Tried> {
        Some(attempt.tried.clone())
    }
}

impl JudgeUnsent<IoError> for Reconnect {
    fn unsent(&self, error: &IoError) -> Unsent {
        match error.kind() {
            ErrorKind::ConnectionRefused => Unsent::NoConnection,
            _ => Unsent::No,
        }
    }
}

fn refused() -> Reply<String, IoError> {
    Reply::error(ErrorKind::ConnectionRefused.into())
}

fn rejected(after: u64) -> Reply<String, Error<IoError>> {
    let retry = Retry::After(Duration::from_secs(after));
    Reply::error(Rejection::new(Reason::CircuitOpen).retry(retry).into())
}

/// Ids that the observer was told to be unreachable.
#[derive(Default)]
struct Unreachable(Mutex<Vec<String>>);

impl Observer for Unreachable {
    fn unreachable(&self, name: Option<&str>, endpoint: &EndpointId) {
        assert_eq!(name, Some("orders"));
        self.0.lock().unwrap().push(endpoint.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_without_a_connection_is_told_to_be_unreachable_and_no_other() {
    let told = Arc::new(Unreachable::default());
    for id in ["well", "failing", "refusing", "broken"] {
        let make = |endpoint: &Endpoint| {
            let id = endpoint.id().to_string();
            let broken = id == "broken";
            let probe = Probe::new(move |_: u32| match id.as_str() {
                "well" => Reply::ok(()),
                "failing" => Reply::error(ErrorKind::ConnectionReset.into()),
                _ => Reply::error(ErrorKind::ConnectionRefused.into()),
            });
            Ok::<_, IoError>(probe.readiness(move || {
                if broken { Readiness::Error(ErrorKind::Other.into()) } else { Readiness::Ready }
            }))
        };
        let balancer = Balancer::builder(EndpointSet::from_endpoints([endpoint(id)]), make)
            .config(Config::builder().name("orders").observer(told.clone()))
            .resend(Reconnect)
            .build()
            .unwrap();
        assert_eq!(balancer.oneshot(7).await.is_ok(), id == "well");
    }
    assert_eq!(*told.0.lock().unwrap(), ["refusing", "broken"]);
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_that_a_call_finds_unreachable_is_told_once() {
    let told = Arc::new(Unreachable::default());
    let probes = Probes::new(&["a", "b", "c"], |_| Box::new(|_| refused()));
    let config = Config::builder().name("orders").observer(told.clone());
    let balancer = Balancer::builder(probes.set(), probes.make());
    let balancer = balancer.config(config).resend(Reconnect).build().unwrap();
    balancer.oneshot(7).await.unwrap_err();
    told.0.lock().unwrap().sort();
    assert_eq!(*told.0.lock().unwrap(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_a_layer_of_ours_is_not_unreachable() {
    let told = Arc::new(Unreachable::default());
    let probes = Probes::new(&["open"], |_| Box::new(|_| rejected(1)));
    let config = Config::builder().name("orders").observer(told.clone());
    let balancer = Balancer::builder(probes.set(), probes.make());
    let balancer = balancer.config(config).resend(CloneRequest).build().unwrap();
    balancer.oneshot(7).await.unwrap_err();
    assert!(told.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connect_error_is_the_endpoints_failure_and_nobody_elses() {
    let probes = Probes::new(&["dead", "well"], |id| {
        let id = id.to_owned();
        Box::new(move |_| if id == "dead" { refused() } else { Reply::ok(id.clone()) })
    });
    let config = Config::builder().ejection(None);
    let balancer = Balancer::builder(probes.set(), probes.make())
        .config(config)
        .resend(Reconnect)
        .build()
        .unwrap();
    for _ in 0..40 {
        assert_eq!(balancer.clone().oneshot(7).await.unwrap(), "well");
    }
    let (dead, well) = (of(&balancer, "dead"), of(&balancer, "well"));
    assert!(dead.failures > 5, "{dead:?}");
    assert_eq!(dead.calls, dead.failures);
    assert_eq!((well.calls, well.successes, well.failures), (40, 40, 0));
    probes.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_of_a_dead_set_is_called_once_up_to_the_bound() {
    for (count, max, expected) in [(3, 5, 3), (8, 5, 5), (8, 1, 1), (8, 8, 8)] {
        let ids: Vec<_> = (0..count).map(|n| n.to_string()).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let probes = Probes::new(&ids, |_| Box::new(|_| refused()));
        let balancer = Balancer::builder(probes.set(), probes.make())
            .config(Config::builder().max_picks(max))
            .resend(Reconnect)
            .build()
            .unwrap();
        let error = balancer.clone().oneshot(7).await.unwrap_err();
        let Error::Inner(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let calls: Vec<_> = ids.iter().map(|id| probes.handle(id).calls()).collect();
        assert_eq!(calls.iter().sum::<u64>(), expected, "{calls:?}");
        assert!(calls.iter().all(|calls| *calls <= 1), "{calls:?}");
        assert_eq!(balancer.snapshot().endpoints.iter().map(|e| e.failures).sum::<u64>(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_may_have_been_sent_is_not_sent_again() {
    let reset = || Reply::error(ErrorKind::ConnectionReset.into());
    let probes = Probes::new(&["a", "b"], |_| Box::new(move |_| reset()));
    let balancer =
        Balancer::builder(probes.set(), probes.make()).resend(Reconnect).build().unwrap();
    balancer.oneshot(7).await.unwrap_err();
    assert_eq!(probes.handle("a").calls() + probes.handle("b").calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_the_pick_goes_elsewhere_and_counts_as_nothing() {
    let probes = Probes::new(&["open", "well"], |id| {
        let id = id.to_owned();
        Box::new(move |_| if id == "open" { rejected(1) } else { Reply::ok(id.clone()) })
    });
    let balancer =
        Balancer::builder(probes.set(), probes.make()).resend(CloneRequest).build().unwrap();
    for _ in 0..40 {
        assert_eq!(balancer.clone().oneshot(7).await.unwrap(), "well");
    }
    let open = of(&balancer, "open");
    assert!(probes.handle("open").calls() > 5, "{open:?}");
    assert_eq!((open.calls, open.failures, open.ejections), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn of_many_refusals_the_caller_hears_the_one_that_ends_first() {
    let probes = Probes::new(&["3", "1", "2"], |id| {
        let after = id.parse().unwrap();
        Box::new(move |_| rejected(after))
    });
    let balancer =
        Balancer::builder(probes.set(), probes.make()).resend(CloneRequest).build().unwrap();
    for _ in 0..10 {
        let error = balancer.clone().oneshot(7).await.unwrap_err();
        let rejection = Rejection::find(&error).unwrap();
        assert_eq!(rejection.retry_after(), Some(Duration::from_secs(1)));
    }
    assert!(balancer.snapshot().endpoints.iter().all(|e| e.failures == 0 && e.in_flight == 0));
}

#[test]
fn endpoints_that_would_refuse_are_not_picked_unless_all_would() {
    let open = Arc::new([AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false)]);
    #[derive(Clone)]
    struct Gate(Arc<[AtomicBool; 3]>, usize);
    impl Foretell for Gate {
        fn admission(&self) -> Admission {
            if self.0[self.1].load(SeqCst) { Admission::Refused } else { Admission::Open }
        }
    }
    let gates = open.clone();
    let mut balancer = Balancer::builder(common::endpoints(3), move |endpoint: &Endpoint| {
        let number: usize = endpoint.id().as_str()[1..].parse().unwrap();
        Ok::<_, IoError>(Gate(gates.clone(), number))
    })
    .admits(Foretell::admission)
    .build()
    .unwrap();
    let mut picked = || -> BTreeSet<String> {
        (0..100).map(|_| balancer.pick_service(None).unwrap().0.id().to_string()).collect()
    };
    assert_eq!(picked().len(), 3);
    open[0].store(true, SeqCst);
    assert_eq!(picked(), ["e000001".to_owned(), "e000002".to_owned()].into());
    open[1].store(true, SeqCst);
    assert_eq!(picked(), ["e000002".to_owned()].into());
    open[2].store(true, SeqCst);
    assert_eq!(picked().len(), 3, "all refuse, so that refusing is theirs");
    open[1].store(false, SeqCst);
    assert_eq!(picked(), ["e000001".to_owned()].into());
}

#[test]
fn an_attempt_avoids_endpoints_that_were_tried_until_all_were() {
    let mut picker = Picker::new(common::endpoints(3));
    for _ in 0..20 {
        let tried = Tried::new();
        let mut ids: Vec<_> =
            (0..3).map(|_| picker.pick_other_than(&tried).unwrap().id().clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        assert!(picker.pick_other_than(&tried).is_some(), "all were tried: all may be used");
    }
}

#[tokio::test(start_paused = true)]
async fn tried_endpoints_travel_with_the_request() {
    let probes = Probes::echo(&["a", "b"]);
    let balancer =
        Balancer::builder(probes.set(), probes.make()).resend(Reconnect).build().unwrap();
    for _ in 0..20 {
        let tried = Tried::new();
        let attempt = Attempt { request: 7, tried: tried.clone(), key: None };
        let first = balancer.clone().oneshot(attempt.clone()).await.unwrap();
        let second = balancer.clone().oneshot(attempt).await.unwrap();
        assert_ne!(first, second);
        assert!(tried.contains(&first.into()) && tried.contains(&second.into()));
    }
}
