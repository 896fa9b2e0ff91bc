//! A balancer's events as events of `tracing`.

use ::tracing::{debug, info, warn};
use seawall_core::{EndpointId, Rejection};

use crate::{Ejected, Observer, Panic, Returned};

/// Logs what changes (ejections, the begin of panic and failing checks at `WARN`, their ends at
/// `INFO`) and, at `DEBUG`, refusals and endpoints without a connection, all with the target
/// `seawall::load_balance`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use seawall_load_balance::{Config, EndpointSet, Picker, TracingObserver};
///
/// let observer = Arc::new(TracingObserver::default());
/// let config = Config::builder().name("orders").observer(observer).build()?;
/// let picker = Picker::with_config(EndpointSet::new(), config);
/// # let _ = picker;
/// # Ok::<(), seawall_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver {}

impl Observer for TracingObserver {
    fn ejected(&self, name: Option<&str>, ejected: &Ejected<'_>) {
        let (endpoint, cause) = (ejected.endpoint.as_str(), ejected.cause.as_str());
        let time = ejected.time;
        warn!(target: "seawall::load_balance", name, endpoint, cause, ?time, "endpoint taken out");
    }

    fn returned(&self, name: Option<&str>, returned: &Returned<'_>) {
        let (endpoint, by_hand) = (returned.endpoint.as_str(), returned.by_hand);
        info!(target: "seawall::load_balance", name, endpoint, by_hand, "endpoint is back");
    }

    fn panic(&self, name: Option<&str>, panic: &Panic) {
        let (well, endpoints) = (panic.well, panic.endpoints);
        if panic.began {
            let what = "too few endpoints are well, all are used";
            warn!(target: "seawall::load_balance", name, well, endpoints, "{what}");
        } else {
            info!(target: "seawall::load_balance", name, well, endpoints, "enough are well again");
        }
    }

    fn checked(&self, name: Option<&str>, endpoint: &EndpointId, passing: bool) {
        let endpoint = endpoint.as_str();
        if passing {
            info!(target: "seawall::load_balance", name, endpoint, "checks pass");
        } else {
            warn!(target: "seawall::load_balance", name, endpoint, "checks fail");
        }
    }

    fn not_made(&self, name: Option<&str>, endpoint: &EndpointId, error: &str) {
        let endpoint = endpoint.as_str();
        let what = "service of endpoint could not be made";
        warn!(target: "seawall::load_balance", name, endpoint, error, "{what}");
    }

    fn unreachable(&self, name: Option<&str>, endpoint: &EndpointId) {
        let endpoint = endpoint.as_str();
        debug!(target: "seawall::load_balance", name, endpoint, "no connection to endpoint");
    }

    fn rejected(&self, name: Option<&str>, rejection: &Rejection) {
        debug!(target: "seawall::load_balance", name, %rejection, "call refused");
    }
}
