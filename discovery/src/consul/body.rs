//! The bodies of what an agent is told.

use std::collections::BTreeMap;

use seawall_core::Health;
use serde::Serialize;

use crate::{
    Registration,
    registration::{self, Kind, ZONE},
    wire,
};

/// The body of `/v1/agent/service/register`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: &'a str,
    port: u16,
    tags: Vec<&'a str>,
    meta: BTreeMap<&'a str, &'a str>,
    weights: Weights,
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
    warning: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check<'a> {
    #[serde(rename = "CheckID")]
    id: String,
    name: String,
    #[serde(flatten)]
    means: Means<'a>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deregister_critical_service_after: Option<String>,
}

/// By what a check knows.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "PascalCase")]
enum Means<'a> {
    Heartbeats {
        #[serde(rename = "TTL")]
        ttl: String,
    },
    Requests {
        #[serde(flatten)]
        target: Target<'a>,
        interval: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<String>,
        #[serde(rename = "TLSSkipVerify")]
        tls_skip_verify: bool,
    },
}

#[derive(Serialize)]
enum Target<'a> {
    #[serde(rename = "HTTP")]
    Http(&'a str),
    #[serde(rename = "TCP")]
    Tcp(String),
    #[serde(untagged)]
    Grpc {
        #[serde(rename = "GRPC")]
        at: String,
        #[serde(rename = "GRPCUseTLS")]
        tls: bool,
    },
}

impl<'a> Service<'a> {
    pub(super) fn new(of: &'a Registration, health: Health) -> Self {
        let mut meta: BTreeMap<_, _> = of.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
        if let Some(zone) = &of.zone {
            meta.insert(ZONE, zone);
        }
        let heartbeats = of.ttl.map(|ttl| Check {
            id: wire::check_id(of),
            name: format!("heartbeats of {}", of.id),
            means: Means::Heartbeats { ttl: wire::millis(ttl) },
            status: wire::status(health),
            deregister_critical_service_after: of.forget_after.map(wire::millis),
        });
        let own = of.checks.iter().map(|check| Check::new(of, check));
        Self {
            id: &of.id,
            name: &of.service,
            address: of.address.host(),
            port: of.address.port(),
            tags: of.tags.iter().map(|tag| &**tag).collect(),
            meta,
            weights: Weights { passing: of.weight, warning: of.warning_weight },
            checks: heartbeats.into_iter().chain(own).collect(),
        }
    }
}

impl<'a> Check<'a> {
    fn new(of: &Registration, check: &'a registration::Check) -> Self {
        let target = match &check.kind {
            Kind::Http { url } => Target::Http(url),
            Kind::Tcp { address } => Target::Tcp(address.to_string()),
            Kind::Grpc { address, service, tls } => {
                Target::Grpc { at: wire::grpc_target(address, service.as_deref()), tls: *tls }
            }
        };
        Self {
            id: wire::own_check_id(of, check),
            name: format!("{} of {}", check.id, of.id),
            means: Means::Requests {
                target,
                interval: wire::millis(check.interval),
                timeout: check.timeout.map(wire::millis),
                tls_skip_verify: check.trusts_any,
            },
            status: wire::status(check.starts),
            deregister_critical_service_after: wire::forgets_for_checks(of).map(wire::millis),
        }
    }
}

/// The body of `/v1/agent/check/update/…`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Update {
    pub(super) status: &'static str,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::Check;

    #[test]
    fn each_kind_of_check_is_told_as_consul_reads_it() {
        let every = Duration::from_secs(10);
        let at = || "[::1]:7".parse().unwrap();
        let registration = Registration::builder("orders", "10.0.0.7:80".parse().unwrap())
            .id("o1")
            .weight(7)
            .warning_weight(2)
            .ttl(Duration::from_secs(9))
            .check(Check::http("http://h/x", every).timeout(Duration::from_millis(1_500)))
            .check(Check::tcp(at(), every).id("port").starts(Health::Passing))
            .check(Check::grpc_service(at(), "a.B", every).tls().trust_any_certificate());
        let sent = |of: &Registration| {
            let mut body = serde_json::to_value(Service::new(of, Health::Warning)).unwrap();
            body["Checks"].take()
        };
        let of = registration.clone().build().unwrap();
        let expected = json!([
            {"CheckID": "service:o1:ttl", "Name": "heartbeats of o1", "TTL": "9000ms",
             "Status": "warning", "DeregisterCriticalServiceAfter": "300000ms"},
            {"CheckID": "service:o1:http", "Name": "http of o1", "HTTP": "http://h/x",
             "Interval": "10000ms", "Timeout": "1500ms", "TLSSkipVerify": false,
             "Status": "critical"},
            {"CheckID": "service:o1:port", "Name": "port of o1", "TCP": "[::1]:7",
             "Interval": "10000ms", "TLSSkipVerify": false, "Status": "passing"},
            {"CheckID": "service:o1:grpc", "Name": "grpc of o1", "GRPC": "[::1]:7/a.B",
             "GRPCUseTLS": true, "Interval": "10000ms", "TLSSkipVerify": true,
             "Status": "critical"},
        ]);
        assert_eq!(sent(&of), expected);
        let body = serde_json::to_value(Service::new(&of, Health::Passing)).unwrap();
        assert_eq!(body["Weights"], json!({"Passing": 7, "Warning": 2}));

        // Without heartbeats, the other checks are what forgets the instance.
        let of = registration.without_ttl().forget_after(Duration::from_secs(60)).build().unwrap();
        let checks = sent(&of);
        assert_eq!(checks.as_array().unwrap().len(), 3);
        for check in checks.as_array().unwrap() {
            assert_eq!(check["DeregisterCriticalServiceAfter"], "60000ms", "{check}");
        }
    }
}
