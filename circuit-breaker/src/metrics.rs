//! Changes and refusals of breakers and throttles as metrics.

use crate::{Observer, Rejected, State, Transition, throttle};

/// Reports to the recorder of the `metrics` crate.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `seawall.circuit_breaker.transitions` | counter | `name`, `from`, `to`, `cause` |
/// | `seawall.circuit_breaker.rejections` | counter | `name`, `shadow` |
/// | `seawall.circuit_breaker.state` | gauge: 0 closed, 1 half-open, 2 open | `name` |
/// | `seawall.throttle.rejections` | counter | `name`, `priority` |
/// | `seawall.throttle.shedding` | gauge: 1 while calls are refused, else 0 | `name`, `priority` |
///
/// # Cost
///
/// That of the recorder, for each change and each refusal.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use seawall_circuit_breaker::{CircuitBreaker, Config, MetricsObserver};
///
/// let breaker = CircuitBreaker::builder(Config::default())
///     .named("orders")
///     .observer(Arc::new(MetricsObserver::default()))
///     .build();
/// # let _ = breaker;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsObserver {}

impl Observer for MetricsObserver {
    fn transition(&self, name: Option<&str>, transition: &Transition) {
        let name = name.unwrap_or_default().to_owned();
        metrics::counter!(
            "seawall.circuit_breaker.transitions",
            "name" => name.clone(),
            "from" => transition.from.as_str(),
            "to" => transition.to.as_str(),
            "cause" => transition.cause.as_str(),
        )
        .increment(1);
        let state = match transition.to {
            State::Closed => 0.0,
            State::HalfOpen => 1.0,
            State::Open => 2.0,
        };
        metrics::gauge!("seawall.circuit_breaker.state", "name" => name).set(state);
    }

    fn rejected(&self, name: Option<&str>, _: &Rejected, shadow: bool) {
        metrics::counter!(
            "seawall.circuit_breaker.rejections",
            "name" => name.unwrap_or_default().to_owned(),
            "shadow" => if shadow { "true" } else { "false" },
        )
        .increment(1);
    }
}

impl throttle::Observer for MetricsObserver {
    fn shedding(&self, name: Option<&str>, change: &throttle::Shedding) {
        metrics::gauge!(
            "seawall.throttle.shedding",
            "name" => name.unwrap_or_default().to_owned(),
            "priority" => change.priority.as_str(),
        )
        .set(if change.on { 1.0 } else { 0.0 });
    }

    fn rejected(&self, name: Option<&str>, rejected: &throttle::Rejected) {
        metrics::counter!(
            "seawall.throttle.rejections",
            "name" => name.unwrap_or_default().to_owned(),
            "priority" => rejected.priority().as_str(),
        )
        .increment(1);
    }
}
