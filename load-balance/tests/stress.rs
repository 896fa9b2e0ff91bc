//! Calls go on while the set changes under them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
    thread,
};

use common::endpoint;
use seawall_core::{Change, Endpoint};
use seawall_load_balance::{Balancer, EndpointSet};
use tower::Service;

const CALLS: usize = 1000;
const CHANGES: usize = 1000;

/// A service of one endpoint, which calls keep alive as they do a connection.
#[derive(Clone)]
struct Gated {
    life: Arc<Life>,
    open: Arc<AtomicBool>,
}

/// Counts the services that are alive.
struct Life {
    id: String,
    alive: Arc<AtomicUsize>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
    }
}

/// Answers with the request and the endpoint once the gate is open.
struct Answer {
    service: Gated,
    request: usize,
}

impl Future for Answer {
    type Output = Result<(usize, String), io::Error>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // The test polls by itself, so nobody has to be woken.
        if self.request < CALLS && !self.service.open.load(SeqCst) {
            return Poll::Pending;
        }
        Poll::Ready(Ok((self.request, self.service.life.id.clone())))
    }
}

impl Service<usize> for Gated {
    type Response = (usize, String);
    type Error = io::Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: usize) -> Answer {
        Answer { service: self.clone(), request }
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&futures::task::noop_waker()))
}

/// One change: half of the endpoints are removed and come back, the others are updated and move.
fn change(rng: &mut seawall_test_support::Rng) -> Change {
    let moved = |id: &str, port: u16| {
        Endpoint::new(id, format!("127.0.0.1:{port}").parse().expect("an address"))
    };
    let number = rng.u8(..10);
    let (leaves, stays) = (format!("leaves{number}"), format!("stays{number}"));
    match rng.u8(..4) {
        0 => Change::Remove(leaves.as_str().into()),
        1 => Change::Insert(endpoint(&leaves).with_weight(rng.u16(..4))),
        2 => Change::Update(endpoint(&stays).with_weight(rng.u16(1..5))),
        _ => Change::Update(moved(&stays, rng.u16(1..))),
    }
}

#[test]
fn a_thousand_calls_in_flight_outlive_a_thousand_changes() {
    let ids = |kind: &'static str| (0..10).map(move |number| format!("{kind}{number}"));
    let set: EndpointSet = ids("leaves").chain(ids("stays")).map(|id| endpoint(&id)).collect();
    let (alive, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let make = {
        let (alive, open) = (alive.clone(), open.clone());
        move |endpoint: &Endpoint| {
            alive.fetch_add(1, SeqCst);
            let life = Life { id: endpoint.id().to_string(), alive: alive.clone() };
            Ok::<_, io::Error>(Gated { life: Arc::new(life), open: open.clone() })
        }
    };
    let mut balancer = Balancer::builder(set.clone(), make).build().unwrap();
    // Keeps the first snapshot at hand.
    let idle = balancer.clone();

    let mut calls: Vec<_> = (0..CALLS).map(|request| Box::pin(balancer.call(request))).collect();
    assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
    let in_flight = || -> HashMap<String, u64> {
        let endpoints = balancer.snapshot().endpoints;
        endpoints.into_iter().map(|e| (e.id.to_string(), e.in_flight)).collect()
    };
    let before = in_flight();
    assert_eq!(before.values().sum::<u64>(), CALLS as u64);

    let changed = AtomicBool::new(false);
    let short_calls = thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut balancer = idle.clone();
                    let mut request = CALLS;
                    while !changed.load(Relaxed) {
                        match poll(&mut Box::pin(balancer.call(request))) {
                            Poll::Ready(Ok((answered, _))) => assert_eq!(answered, request),
                            Poll::Ready(Err(error)) => panic!("call {request}: {error}"),
                            Poll::Pending => panic!("call {request} waits"),
                        }
                        request += 1;
                    }
                    request - CALLS
                })
            })
            .collect();
        let mut rng = seawall_test_support::Rng::new();
        for _ in 0..CHANGES {
            set.apply([change(&mut rng)]);
        }
        changed.store(true, Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum::<usize>()
    });
    assert!(short_calls > 0, "nobody called meanwhile");

    let during = in_flight();
    for id in ids("stays") {
        assert_eq!(during[&id], before[&id], "{id} forgot calls, or found some");
    }
    open.store(true, SeqCst);
    let mut answers = HashMap::<String, u64>::new();
    for (request, call) in calls.iter_mut().enumerate() {
        match poll(call) {
            Poll::Ready(Ok((answered, id))) => {
                assert_eq!(answered, request);
                *answers.entry(id).or_default() += 1;
            }
            other => panic!("call {request} is lost: {other:?}"),
        }
    }
    assert_eq!(answers, before, "each was answered where it was sent");
    drop(calls);
    assert!(in_flight().values().all(|calls| *calls == 0), "{:?}", in_flight());

    // Connections of those that were removed or moved are gone; those of the set are all there is.
    assert_eq!(alive.load(SeqCst), balancer.services().len());
    set.replace([]);
    assert_eq!(alive.load(SeqCst), 0, "under an idle clone too");
    drop(idle);
}
