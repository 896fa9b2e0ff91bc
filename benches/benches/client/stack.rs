//! The same four layers around a service that answers at once, ours and the peer's, and all that a
//! client of ours has.

use std::{convert::Infallible, future::ready, time::Duration};

use seawall_benches::Bare;
use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Config as Breaker, Window};
use seawall_core::{AnyError, AtResult, Endpoint, Foretell};
use seawall_load_balance::{Balancer, Config, EndpointSet, PeakEwma, Policy as Pick};
use seawall_rate_limit::{
    Quota, RateLimitLayer, RateLimiter,
    concurrency::{ConcurrencyLayer, ConcurrencyLimit},
};
use tower::{BoxError, Layer as _, Service, ServiceBuilder, retry::Policy, timeout::TimeoutLayer};
use tower_resilience::{
    circuitbreaker::CircuitBreakerLayer as PeerBreakerLayer, ratelimiter::RateLimiterLayer,
    retry::RetryLayer, timelimiter::TimeLimiterLayer,
};

/// Longer than anything takes here.
const TIMEOUT: Duration = Duration::from_secs(5);
const BILLION: u32 = 1_000_000_000;
const ENDPOINTS: usize = 10;

/// Up to three retries of any error, as the peer's layer has.
#[derive(Clone, Debug)]
struct ThreeTimes(u8);

impl<E> Policy<u32, u32, E> for ThreeTimes {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, E>) -> Option<Self::Future> {
        if result.is_ok() || self.0 == 0 {
            return None;
        }
        self.0 -= 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

fn breaker() -> CircuitBreakerLayer {
    let config = Breaker::builder().window(Window::Calls(100)).failure_rate(0.5).minimum_calls(100);
    CircuitBreakerLayer::new(CircuitBreaker::new(config.build().expect("in range")))
}

fn limiter() -> RateLimitLayer {
    let limiter = RateLimiter::new(Quota::per_second(BILLION)).expect("can be kept");
    RateLimitLayer::new(limiter)
}

/// Time-out, retry, limiter and breaker.
pub(crate) fn seawall_same_four()
-> impl Service<u32, Response = u32, Error = BoxError> + Clone + Send {
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(TIMEOUT))
        .retry(ThreeTimes(3))
        .layer(limiter())
        .layer(breaker())
        .service(Bare)
}

/// Besides: a bound on calls in flight, and a balancer over ten endpoints that goes by latency, with
/// a breaker for each of them that it asks beforehand.
pub(crate) fn seawall_full() -> impl Service<u32, Response = u32, Error = BoxError> + Clone + Send {
    let set: EndpointSet = (0..ENDPOINTS)
        .map(|number| Endpoint::new(number.to_string(), "10.0.0.1:80".parse().expect("an address")))
        .collect();
    let balancer = Balancer::builder(set, |_: &Endpoint| Ok::<_, Infallible>(breaker().wrap(Bare)))
        .config(Config::builder().policy(Pick::PeakEwma(PeakEwma::new())))
        .track(AtResult(AnyError))
        .admits(Foretell::admission)
        .build()
        .expect("in range");
    let in_flight = ConcurrencyLimit::new(1_000).expect("in range");
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(TIMEOUT))
        .retry(ThreeTimes(3))
        .layer(limiter())
        .layer(ConcurrencyLayer::new(in_flight))
        .service(balancer)
}

/// The same four in the same order.
pub(crate) fn tower_resilience_four() -> impl Service<u32, Response = u32> + Clone + Send {
    let breaker = PeerBreakerLayer::builder()
        .sliding_window_size(100)
        .minimum_number_of_calls(100)
        .failure_rate_threshold(0.5)
        .build()
        .expect("the settings are in range");
    let limiter = RateLimiterLayer::builder()
        .limit_for_period(BILLION as usize)
        .refresh_period(Duration::from_secs(1))
        .timeout_duration(Duration::ZERO)
        .build()
        .expect("a billion a second can be kept");
    let retry = RetryLayer::<u32, u32, _>::builder().max_attempts(4).build();
    let timeout = TimeLimiterLayer::builder().timeout_duration(TIMEOUT).build();
    timeout.layer(retry.layer(limiter.layer(breaker.layer(Bare))))
}
