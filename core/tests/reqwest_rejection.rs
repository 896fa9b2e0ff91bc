//! A refusal of ours is found in what a `ClientWithMiddleware` answers, through other middlewares.

#![cfg(feature = "reqwest")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use reqwest::{Client, Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use reqwest_retry::{
    RetryTransientMiddleware, Retryable, RetryableStrategy, policies::ExponentialBackoff,
};
use seawall_core::{
    AnyError, Classify, Error, Outcome, Reason, Rejection, Retry,
    reqwest::{ErrorInChain, middleware_error, rejection},
};

/// A layer of ours that is closed.
struct Refuses;

impl Middleware for Refuses {
    fn handle<'a: 'c, 'b: 'c, 'n: 'c, 'c>(
        &'a self,
        _: Request,
        _: &'b mut http::Extensions,
        _: Next<'n>,
    ) -> std::pin::Pin<Box<dyn Future<Output = reqwest_middleware::Result<Response>> + Send + 'c>>
    {
        Box::pin(async { Err(middleware_error(Error::Rejected(refusal()))) })
    }
}

fn refusal() -> Rejection {
    Rejection::new(Reason::CircuitOpen).by("orders").retry(Retry::After(Duration::from_secs(3)))
}

/// Retries whatever fails.
struct Everything;

impl RetryableStrategy for Everything {
    fn handle(&self, _: &reqwest_middleware::Result<Response>) -> Option<Retryable> {
        Some(Retryable::Transient)
    }
}

async fn failure(client: ClientWithMiddleware) -> reqwest_middleware::Error {
    client.get("http://127.0.0.1:1/").send().await.unwrap_err()
}

fn check(error: reqwest_middleware::Error) {
    assert_eq!(rejection(&error), Some(&refusal()), "{error:?}");
    assert_eq!(Rejection::find(&error), Some(&refusal()), "{error:?}");
    let in_chain = ErrorInChain::from(error);
    assert_eq!(Rejection::find(&in_chain), Some(&refusal()));
    assert_eq!(Classify::<(), _>::classify(&AnyError, Err(&in_chain)), Outcome::Ignored);
    assert_eq!(rejection(&in_chain.into_inner()), Some(&refusal()));
}

#[tokio::test]
async fn a_refusal_is_found_in_a_middlewares_error() {
    check(failure(ClientBuilder::new(Client::new()).with(Refuses).build()).await);
}

#[tokio::test]
async fn a_refusal_is_found_behind_a_retry_middleware_that_gave_up_at_once() {
    let policy = ExponentialBackoff::builder().build_with_max_retries(2);
    let retry = RetryTransientMiddleware::new_with_policy(policy);
    check(failure(ClientBuilder::new(Client::new()).with(retry).with(Refuses).build()).await);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_found_behind_a_retry_middleware_that_retried() {
    let policy = ExponentialBackoff::builder().build_with_max_retries(2);
    let retry = RetryTransientMiddleware::new_with_policy_and_strategy(policy, Everything);
    let error = failure(ClientBuilder::new(Client::new()).with(retry).with(Refuses).build()).await;
    assert!(format!("{error:?}").contains("2 retries"), "{error:?}");
    check(error);
}

#[tokio::test]
async fn a_refusal_that_a_middleware_nested_by_hand_is_found() {
    for error in [
        reqwest_middleware::Error::middleware(refusal()),
        reqwest_middleware::Error::middleware(reqwest_middleware::Error::middleware(refusal())),
    ] {
        assert_eq!(rejection(&error), Some(&refusal()), "{error:?}");
    }
}

#[tokio::test]
async fn a_dead_server_is_no_refusal() {
    let error = failure(ClientBuilder::new(Client::new()).build()).await;
    assert_eq!(rejection(&error), None);
    let inner = middleware_error(Error::Inner(error));
    assert!(inner.is_connect(), "an inner error is passed on as it is");
    let in_chain = ErrorInChain::from(inner);
    assert_eq!(Classify::<(), _>::classify(&AnyError, Err(&in_chain)), Outcome::Failure);
}
