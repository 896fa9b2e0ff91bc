//! Snapshots in Prometheus' text format, version 0.0.4.

use std::fmt::{self, Write};

use crate::{BudgetSnapshot, FallbackSnapshot, HedgeSnapshot, LimiterSnapshot, Snapshot};

/// One metric of all clients, each sample with its labels.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(Labels, f64)>,
}

type Labels = Vec<(&'static str, String)>;

impl Metric {
    fn new(name: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self { name, kind, help, samples: Vec::new() }
    }
}

pub(super) fn text(clients: &[Snapshot]) -> String {
    let mut text = String::new();
    let metrics = endpoints(clients).into_iter().chain(services(clients)).chain(spending(clients));
    for metric in metrics.filter(|metric| !metric.samples.is_empty()) {
        // Writing to a text cannot fail.
        let _ = write(&mut text, &metric);
    }
    text
}

fn write(to: &mut String, metric: &Metric) -> fmt::Result {
    let Metric { name, kind, help, samples } = metric;
    writeln!(to, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
    for (labels, value) in samples {
        write!(to, "{name}{{")?;
        for (at, (label, text)) in labels.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(to, "{comma}{label}=\"{}\"", escaped(text))?;
        }
        writeln!(to, "}} {value}")?;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn endpoints(clients: &[Snapshot]) -> Vec<Metric> {
    let mut attempts = Metric::new("seawall_attempts_total", "counter", "Attempts that began.");
    let mut failed =
        Metric::new("seawall_attempts_failed_total", "counter", "Attempts that failed.");
    let help = "Attempts that were given up, by a time-out or by the caller.";
    let mut abandoned = Metric::new("seawall_attempts_abandoned_total", "counter", help);
    let mut in_flight = Metric::new("seawall_attempts_in_flight", "gauge", "Attempts under way.");
    let help = "Ejections of the endpoint.";
    let mut ejections = Metric::new("seawall_ejections_total", "counter", help);
    let help = "The part of its weight that the endpoint has, from 0 to 1.";
    let mut share = Metric::new("seawall_endpoint_share", "gauge", help);
    let help = "The recent latency of the endpoint, where it is measured.";
    let mut latency = Metric::new("seawall_endpoint_latency_seconds", "gauge", help);
    let help = "The breaker of the endpoint: 0 closed, 1 half-open, 2 open.";
    let mut breaker = Metric::new("seawall_breaker_state", "gauge", help);
    let help = "The breaker of the method: 0 closed, 1 half-open, 2 open.";
    let mut methods = Metric::new("seawall_method_breaker_state", "gauge", help);
    for client in clients {
        for endpoint in &client.endpoints {
            let labels = || {
                vec![
                    ("client", client.service.clone()),
                    ("service", endpoint.service.clone()),
                    ("endpoint", endpoint.id.to_string()),
                ]
            };
            attempts.samples.push((labels(), endpoint.calls as f64));
            failed.samples.push((labels(), endpoint.errors as f64));
            abandoned.samples.push((labels(), endpoint.abandoned as f64));
            in_flight.samples.push((labels(), endpoint.in_flight as f64));
            ejections.samples.push((labels(), endpoint.ejections as f64));
            share.samples.push((labels(), endpoint.share));
            let measured = endpoint.latency.map(|latency| (labels(), latency.as_secs_f64()));
            latency.samples.extend(measured);
            breaker.samples.push((labels(), state(endpoint.state)));
        }
        for method in &client.methods {
            let labels = vec![
                ("client", client.service.clone()),
                ("service", method.service.clone()),
                ("method", method.method.clone()),
            ];
            methods.samples.push((labels, state(method.state)));
        }
    }
    vec![attempts, failed, abandoned, in_flight, ejections, share, latency, breaker, methods]
}

fn state(state: &str) -> f64 {
    match state {
        "closed" => 0.0,
        "half_open" => 1.0,
        _ => 2.0,
    }
}

fn services(clients: &[Snapshot]) -> Vec<Metric> {
    let help = "1 while so few endpoints are well that all are used.";
    let mut panicking = Metric::new("seawall_panicking", "gauge", help);
    let help = "How many policies were put in force.";
    let mut version = Metric::new("seawall_policy_version", "gauge", help);
    for client in clients {
        for service in &client.services {
            let labels =
                vec![("client", client.service.clone()), ("service", service.name.clone())];
            panicking.samples.push((labels, f64::from(u8::from(service.panicking))));
        }
        version.samples.push((vec![("client", client.service.clone())], client.version as f64));
    }
    let help = "Calls that had failed for good, by what their callers got; `none` is the failure.";
    let mut fallbacks = Metric::new("seawall_fallbacks_total", "counter", help);
    for client in clients {
        let FallbackSnapshot { service, stale, function, value, none } = client.fallbacks;
        for (from, count) in [
            ("service", service),
            ("stale", stale),
            ("function", function),
            ("value", value),
            ("none", none),
        ] {
            let labels = vec![("client", client.service.clone()), ("from", from.to_owned())];
            fallbacks.samples.push((labels, count as f64));
        }
    }
    vec![panicking, version, fallbacks]
}

/// What limits and budgets allowed and refused: of each client, and of routes that have their own.
fn spending(clients: &[Snapshot]) -> Vec<Metric> {
    let mut allowed =
        Metric::new("seawall_limit_allowed_total", "counter", "Calls within the limit.");
    let mut limited =
        Metric::new("seawall_limit_rejected_total", "counter", "Calls beyond the limit.");
    let help = "Calls whose limit was decided without Redis, which did not answer.";
    let mut degraded = Metric::new("seawall_limit_degraded_total", "counter", help);
    let mut retries =
        Metric::new("seawall_retries_total", "counter", "Retries that the budget paid.");
    let help = "Retries that the budget did not pay.";
    let mut refused = Metric::new("seawall_retries_refused_total", "counter", help);
    let mut hedges =
        Metric::new("seawall_hedges_total", "counter", "Second attempts beside slow ones.");
    let help = "Second attempts that the budget did not pay.";
    let mut unpaid = Metric::new("seawall_hedges_refused_total", "counter", help);
    let help = "After how long a second attempt is sent.";
    let mut delay = Metric::new("seawall_hedge_delay_seconds", "gauge", help);
    for client in clients {
        let whole = (String::new(), client.limiter, Some(client.budget), client.hedge);
        let routes = client.routes.iter();
        let routes =
            routes.map(|route| (route.name.clone(), route.limiter, route.budget, route.hedge));
        for (route, limiter, budget, hedge) in routes.chain([whole]) {
            let labels = || vec![("client", client.service.clone()), ("route", route.clone())];
            if let Some(LimiterSnapshot { allowed: yes, rejected, degraded: alone }) = limiter {
                allowed.samples.push((labels(), yes as f64));
                limited.samples.push((labels(), rejected as f64));
                degraded.samples.push((labels(), alone as f64));
            }
            if let Some(BudgetSnapshot { granted, refused: no, .. }) = budget {
                retries.samples.push((labels(), granted as f64));
                refused.samples.push((labels(), no as f64));
            }
            if let Some(HedgeSnapshot { delay: after, budget }) = hedge {
                hedges.samples.push((labels(), budget.granted as f64));
                unpaid.samples.push((labels(), budget.refused as f64));
                delay.samples.extend(after.map(|after| (labels(), after.as_secs_f64())));
            }
        }
    }
    vec![allowed, limited, degraded, retries, refused, hedges, unpaid, delay]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut metric = Metric::new("a", "gauge", "Help.");
        metric.samples.push((vec![("x", "q\"b\\n\nz".into()), ("y", "1".into())], 0.5));
        let mut text = String::new();
        write(&mut text, &metric).unwrap();
        let want = "# HELP a Help.\n# TYPE a gauge\na{x=\"q\\\"b\\\\n\\nz\",y=\"1\"} 0.5\n";
        assert_eq!(text, want);
    }
}
