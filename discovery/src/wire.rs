//! What Consul's agent API is told and answers, whichever client carries it.

use std::time::Duration;

#[cfg(feature = "consul")]
use seawall_core::ConfigError;
use seawall_core::{Address, Health};

use crate::{Check, RegisterError, Registration};

/// As much of a refusal as is repeated.
const MESSAGE_MAX: usize = 200;

/// The check that the heartbeats of an instance pass.
pub(crate) fn check_id(of: &Registration) -> String {
    format!("service:{}:ttl", of.id)
}

/// What tells `check` from all others on the agent, where ids are one space.
pub(crate) fn own_check_id(of: &Registration, check: &Check) -> String {
    format!("service:{}:{}", of.id, check.id)
}

/// When Consul forgets the instance for the checks that it makes by itself: heartbeats know better
/// whether somebody is there to register it again.
#[cfg(feature = "consul")]
pub(crate) fn forgets_for_checks(of: &Registration) -> Option<Duration> {
    of.forget_after.filter(|_| of.ttl.is_none())
}

/// What Consul's gRPC check is given.
pub(crate) fn grpc_target(address: &Address, service: Option<&str>) -> String {
    match service {
        Some(service) => format!("{address}/{service}"),
        None => address.to_string(),
    }
}

/// In Go's syntax, which Consul reads.
pub(crate) fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Maintenance is a check of its own; the heartbeats go on passing beside it.
pub(crate) fn status(health: Health) -> &'static str {
    match health {
        Health::Passing | Health::Maintenance => "passing",
        Health::Warning => "warning",
        Health::Critical => "critical",
    }
}

/// Without a check of its own, an instance has no health but maintenance.
#[cfg(feature = "consul")]
pub(crate) fn check_allows(of: &Registration, health: Health) -> Result<(), RegisterError> {
    if of.ttl.is_some() || matches!(health, Health::Passing | Health::Maintenance) {
        return Ok(());
    }
    let allowed = "passing or maintenance, for an instance without a TTL has no check";
    Err(ConfigError::new("health", format_args!("{health:?}"), allowed).into())
}

/// What it means that Consul answered with `status` and `said` this.
pub(crate) fn refusal(registry: &str, status: u16, said: &str) -> RegisterError {
    let registry = registry.to_owned();
    let said: String = said.trim().chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect();
    // Before 1.11 an update of a check that is not there is a fault of the server.
    let unknown = status == 404
        || ["does not have associated TTL", "Unknown check", "Unknown service"]
            .iter()
            .any(|text| said.contains(text));
    let message = format!("{status} {said}").trim_end().to_owned();
    match status {
        401 | 403 => RegisterError::Denied { registry, message },
        _ if unknown => RegisterError::Unknown { registry, message },
        429 | 500.. => RegisterError::Unavailable { registry, message },
        _ => RegisterError::Refused { registry, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_what_helps_against_them() {
        let kind = |status, said| match refusal("consul", status, said) {
            RegisterError::Denied { .. } => "denied",
            RegisterError::Unknown { .. } => "unknown",
            RegisterError::Unavailable { .. } => "unavailable",
            RegisterError::Refused { .. } => "refused",
            other => panic!("{other:?}"),
        };
        assert_eq!(kind(403, "ACL not found"), "denied");
        assert_eq!(kind(404, "Unknown check ID \"service:a\""), "unknown");
        assert_eq!(kind(500, "CheckID \"a\" does not have associated TTL"), "unknown");
        assert_eq!(kind(500, "No cluster leader"), "unavailable");
        assert_eq!(kind(429, "Your IP is issuing too many concurrent connections"), "unavailable");
        assert_eq!(kind(400, "Invalid service address"), "refused");
        assert_eq!(kind(301, ""), "refused");
    }

    #[test]
    fn a_message_is_one_short_line() {
        let error = refusal("consul", 500, &format!("a\nb{}", "x".repeat(1_000))).line();
        assert!(error.len() < 300 && !error.contains('\n'), "{error}");
    }
}
