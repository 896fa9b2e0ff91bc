//! A balancer's events as metrics.

use std::time::Duration;

use seawall_core::{EndpointId, Outcome, Rejection};

use crate::{Ejected, Observer, Panic, Returned};

/// Reports to the recorder of the `metrics` crate.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `seawall.load_balance.ejections` | counter | `name`, `cause` |
/// | `seawall.load_balance.returns` | counter | `name`, `by_hand` |
/// | `seawall.load_balance.panic` | gauge: 1 while it lasts | `name` |
/// | `seawall.load_balance.check_changes` | counter | `name`, `passing` |
/// | `seawall.load_balance.construction_failures` | counter | `name` |
/// | `seawall.load_balance.connection_failures` | counter | `name` |
/// | `seawall.load_balance.rejections` | counter | `name` |
/// | `seawall.load_balance.calls` | counter, with [`calls`](Self::calls) | `name`, `outcome` |
/// | `seawall.load_balance.latency` | histogram of seconds to the answer, with `calls` | `name` |
///
/// Endpoints are no label: they come and go.
///
/// # Cost
///
/// That of the recorder, for each event.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use seawall_load_balance::{Config, EndpointSet, MetricsObserver, Picker};
///
/// let observer = Arc::new(MetricsObserver::default());
/// let config = Config::builder().name("orders").observer(observer).build()?;
/// let picker = Picker::with_config(EndpointSet::new(), config);
/// # let _ = picker;
/// # Ok::<(), seawall_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsObserver {
    calls: bool,
}

impl MetricsObserver {
    /// Counts each call too, and measures how soon it was answered.
    #[must_use]
    pub const fn calls(mut self) -> Self {
        self.calls = true;
        self
    }
}

fn label(name: Option<&str>) -> String {
    name.unwrap_or_default().to_owned()
}

const fn yes(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

impl Observer for MetricsObserver {
    fn watches_calls(&self) -> bool {
        self.calls
    }

    fn answered(&self, name: Option<&str>, _: &EndpointId, latency: Duration) {
        metrics::histogram!("seawall.load_balance.latency", "name" => label(name)).record(latency);
    }

    fn ended(&self, name: Option<&str>, _: &EndpointId, outcome: Option<Outcome>) {
        let outcome = match outcome {
            Some(Outcome::Success) => "success",
            Some(Outcome::Failure) => "failure",
            Some(_) => "ignored",
            None => "abandoned",
        };
        metrics::counter!(
            "seawall.load_balance.calls", "name" => label(name), "outcome" => outcome,
        )
        .increment(1);
    }

    fn ejected(&self, name: Option<&str>, ejected: &Ejected<'_>) {
        metrics::counter!(
            "seawall.load_balance.ejections",
            "name" => label(name),
            "cause" => ejected.cause.as_str(),
        )
        .increment(1);
    }

    fn returned(&self, name: Option<&str>, returned: &Returned<'_>) {
        metrics::counter!(
            "seawall.load_balance.returns",
            "name" => label(name),
            "by_hand" => yes(returned.by_hand),
        )
        .increment(1);
    }

    fn panic(&self, name: Option<&str>, panic: &Panic) {
        metrics::gauge!("seawall.load_balance.panic", "name" => label(name))
            .set(f64::from(u8::from(panic.began)));
    }

    fn checked(&self, name: Option<&str>, _: &EndpointId, passing: bool) {
        metrics::counter!(
            "seawall.load_balance.check_changes",
            "name" => label(name),
            "passing" => yes(passing),
        )
        .increment(1);
    }

    fn not_made(&self, name: Option<&str>, _: &EndpointId, _: &str) {
        metrics::counter!("seawall.load_balance.construction_failures", "name" => label(name))
            .increment(1);
    }

    fn unreachable(&self, name: Option<&str>, _: &EndpointId) {
        metrics::counter!("seawall.load_balance.connection_failures", "name" => label(name))
            .increment(1);
    }

    fn rejected(&self, name: Option<&str>, _: &Rejection) {
        metrics::counter!("seawall.load_balance.rejections", "name" => label(name)).increment(1);
    }
}
