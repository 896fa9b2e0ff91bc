//! In-flight counts return to zero, whatever becomes of a call.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{io, pin::Pin, task::Context};

use common::endpoints;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use seawall_core::{
    Endpoint,
    http::{AtBodyEnd, HttpStatus},
};
use seawall_core::{Guard, Outcome};
use seawall_load_balance::{Balancer, Picked};
use seawall_test_support::{Probe, Reply};
use tower::{Service, ServiceExt};

type Frames =
    futures::stream::Iter<std::vec::IntoIter<Result<http_body::Frame<bytes::Bytes>, io::Error>>>;
type Body = StreamBody<Frames>;

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    NeverPolled,
    DroppedInFlight,
    Error,
    BodyUnread,
    BodyHalfRead,
    BodyRead,
    BodyFails,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::NeverPolled),
        Just(Fate::DroppedInFlight),
        Just(Fate::Error),
        Just(Fate::BodyUnread),
        Just(Fate::BodyHalfRead),
        Just(Fate::BodyRead),
        Just(Fate::BodyFails),
    ]
}

fn reply(fate: Fate) -> Reply<Response<Body>, io::Error> {
    let data = || Ok(http_body::Frame::data(bytes::Bytes::from_static(b"data")));
    let frames = match fate {
        Fate::DroppedInFlight => return Reply::Never,
        Fate::Error => return Reply::error(io::Error::other("reset")),
        Fate::BodyFails => vec![data(), Err(io::Error::other("reset"))],
        _ => vec![data(), data()],
    };
    Reply::ok(Response::new(StreamBody::new(futures::stream::iter(frames))))
}

proptest! {
    #[test]
    fn in_flight_is_the_number_of_calls_that_did_not_end(fates in proptest::collection::vec(fate(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut balancer = Balancer::builder(endpoints(4), |_: &Endpoint| {
                Ok::<_, io::Error>(Probe::new(reply))
            })
            .track(AtBodyEnd(HttpStatus::new()))
            .build()
            .unwrap();
            let in_flight = |balancer: &Balancer<_, _>| -> u64 {
                balancer.snapshot().endpoints.iter().map(|endpoint| endpoint.in_flight).sum()
            };
            let mut open: Vec<Box<dyn std::any::Any>> = Vec::new();
            let mut expected = 0;
            for fate in fates {
                match fate {
                    Fate::NeverPolled => drop(balancer.call(fate)),
                    Fate::DroppedInFlight => {
                        let mut call = Box::pin(balancer.clone().oneshot(fate));
                        let waker = futures::task::noop_waker();
                        let polled = Pin::new(&mut call).poll(&mut Context::from_waker(&waker));
                        assert!(polled.is_pending());
                        open.push(Box::new(call));
                        expected += 1;
                    }
                    Fate::Error => assert!(balancer.ready().await.unwrap().call(fate).await.is_err()),
                    Fate::BodyUnread => {
                        let response = balancer.clone().oneshot(fate).await.unwrap();
                        open.push(Box::new(response));
                        expected += 1;
                    }
                    Fate::BodyHalfRead => {
                        let mut response = balancer.clone().oneshot(fate).await.unwrap();
                        response.body_mut().frame().await.unwrap().unwrap();
                        open.push(Box::new(response));
                        expected += 1;
                    }
                    Fate::BodyRead => {
                        let response = balancer.clone().oneshot(fate).await.unwrap();
                        response.into_body().collect().await.unwrap();
                    }
                    Fate::BodyFails => {
                        let response = balancer.clone().oneshot(fate).await.unwrap();
                        assert!(response.into_body().collect().await.is_err());
                    }
                }
                assert_eq!(in_flight(&balancer), expected);
            }
            drop(open);
            assert_eq!(in_flight(&balancer), 0);
        });
    }
}

#[test]
fn in_flight_is_never_negative_while_four_threads_pick() {
    let balancer = seawall_load_balance::Picker::new(endpoints(2));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut picker = balancer.clone();
                for _ in 0..20_000 {
                    picker.pick().unwrap().finish(Outcome::Success);
                }
            });
        }
        for _ in 0..2000 {
            let snapshot = balancer.snapshot();
            let most = snapshot.endpoints.iter().map(|e| e.in_flight).max().unwrap();
            // A reader may see calls begin while it reads, and a negative number would be huge.
            assert!(most <= 80_000, "{most}");
        }
    });
    let snapshot = balancer.snapshot();
    assert!(snapshot.endpoints.iter().all(|e| e.in_flight == 0));
    assert_eq!(snapshot.endpoints.iter().map(|e| e.successes).sum::<u64>(), 80_000);
}

#[test]
fn a_guard_may_travel() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Picked>();
}
