//! A breaker's changes and refusals as events of `tracing`.

use ::tracing::{debug, info, warn};

use crate::{Observer, Rejected, State, Transition};

/// Logs changes of state (opening at `WARN`, others at `INFO`) and refusals (at `DEBUG`), all with
/// the target `seawall::circuit_breaker`.
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
