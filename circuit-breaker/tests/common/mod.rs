//! What the integration tests share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use seawall_circuit_breaker::{
    CircuitBreaker, Clock, Config, Observer, Rejected, Transition, config::Builder,
};
use seawall_core::ManualClock;

pub const SECOND: Duration = Duration::from_secs(1);

/// A breaker and the hand that moves its clock.
pub fn breaker(config: Builder) -> (CircuitBreaker, ManualClock) {
    let (clock, hand) = Clock::manual();
    let config: Config = config.build().unwrap();
    (CircuitBreaker::builder(config).named("orders").clock(clock).build(), hand)
}

/// A breaker that two failures open for five seconds.
pub fn after_two() -> Builder {
    Config::builder().consecutive_failures(2).open_wait(5 * SECOND)
}

pub fn fail(breaker: &CircuitBreaker, times: u32) {
    for _ in 0..times {
        breaker.admit().unwrap().failure();
    }
}

pub fn succeed(breaker: &CircuitBreaker, times: u32) {
    for _ in 0..times {
        breaker.admit().unwrap().success();
    }
}

/// Remembers what it was told.
#[derive(Default)]
pub struct Log {
    pub transitions: Mutex<Vec<Transition>>,
    pub rejections: Mutex<Vec<(Rejected, bool)>>,
}

impl Log {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
}

impl Observer for Log {
    fn transition(&self, _: Option<&str>, transition: &Transition) {
        self.transitions.lock().unwrap().push(*transition);
    }

    fn rejected(&self, _: Option<&str>, rejected: &Rejected, shadow: bool) {
        self.rejections.lock().unwrap().push((*rejected, shadow));
    }
}
