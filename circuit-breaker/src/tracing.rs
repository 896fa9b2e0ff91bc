//! Changes and refusals of breakers and throttles as events of `tracing`.

use ::tracing::{debug, info, warn};

use crate::{Observer, Rejected, State, Transition, throttle};

/// Logs changes of state (opening at `WARN`, others at `INFO`) and refusals (at `DEBUG`), with the
/// target `seawall::circuit_breaker`; that a throttle begins to refuse (at `WARN`) or ceases (at
/// `INFO`), and refusals (at `DEBUG`), with the target `seawall::throttle`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use seawall_circuit_breaker::{CircuitBreaker, Config, TracingObserver};
///
/// let breaker = CircuitBreaker::builder(Config::default())
///     .named("orders")
///     .observer(Arc::new(TracingObserver::default()))
///     .build();
/// # let _ = breaker;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver {}

impl Observer for TracingObserver {
    fn transition(&self, name: Option<&str>, transition: &Transition) {
        let (from, to) = (transition.from.as_str(), transition.to.as_str());
        let (cause, generation) = (transition.cause.as_str(), transition.generation);
        if transition.to == State::Open {
            let (wait, counts) = (transition.wait, transition.counts);
            warn!(
                target: "seawall::circuit_breaker",
                name, from, to, cause, generation, ?wait,
                calls = counts.calls, failures = counts.failures, slow = counts.slow,
                "circuit breaker opened"
            );
        } else {
            info!(
                target: "seawall::circuit_breaker",
                name, from, to, cause, generation, "circuit breaker changed its state"
            );
        }
    }

    fn rejected(&self, name: Option<&str>, rejected: &Rejected, shadow: bool) {
        let (state, retry_after) = (rejected.state().as_str(), rejected.retry_after());
        debug!(target: "seawall::circuit_breaker", name, state, ?retry_after, shadow, "call refused");
    }
}

impl throttle::Observer for TracingObserver {
    fn shedding(&self, name: Option<&str>, change: &throttle::Shedding) {
        let (priority, generation) = (change.priority.as_str(), change.generation);
        let (requests, accepts) = (change.requests, change.accepts);
        if change.on {
            warn!(
                target: "seawall::throttle",
                name, priority, generation, requests, accepts, "throttle refuses calls"
            );
        } else {
            info!(
                target: "seawall::throttle",
                name, priority, generation, requests, accepts, "throttle refuses calls no more"
            );
        }
    }

    fn rejected(&self, name: Option<&str>, rejected: &throttle::Rejected) {
        let (priority, probability) = (rejected.priority().as_str(), rejected.probability());
        debug!(target: "seawall::throttle", name, priority, probability, "call refused");
    }
}
