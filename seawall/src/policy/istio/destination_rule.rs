//! What a `DestinationRule` says of the endpoints.

use std::num::NonZeroU32;

use serde_json::Value;

use super::{error, report::Fields};
use crate::policy::{ConnectionPool, LoadBalance, OutlierDetection, Policy, PolicyError, Subset};

const OUTLIERS: &str = "spec.trafficPolicy.outlierDetection";
const BALANCER: &str = "spec.trafficPolicy.loadBalancer";
const POOL: &str = "spec.trafficPolicy.connectionPool";

/// The policy, the host, and the subsets, of which a route may use some.
pub(super) fn read(
    fields: &mut Fields,
) -> Result<(Policy, Option<String>, Vec<Subset>), PolicyError> {
    let host = fields.text("spec.host")?;
    let mut policy = Policy::new();
    let mut balance = LoadBalance::new();
    if fields.look(OUTLIERS).is_some() {
        policy = policy.outlier_detection(outliers(fields)?);
        if let Some(percent) = fields.number(&format!("{OUTLIERS}.minHealthPercent"))? {
            let path = format!("{OUTLIERS}.minHealthPercent");
            let percent = percent.try_into().map_err(|_| error(&path, "above 100"))?;
            balance = balance.panic_threshold(percent);
        }
    }
    let pool = connections(fields)?;
    if pool != ConnectionPool::new() {
        policy = policy.connection_pool(pool);
    }
    let simple = format!("{BALANCER}.simple");
    match fields.look(&simple).and_then(Value::as_str) {
        Some("ROUND_ROBIN") => balance = taken(fields, &simple, balance.policy("round_robin")),
        Some("RANDOM") => balance = taken(fields, &simple, balance.policy("random")),
        // Envoy's least request is the power of two choices, too.
        Some("LEAST_REQUEST" | "LEAST_CONN" | "UNSPECIFIED") => {
            balance = taken(fields, &simple, balance.policy("p2c"));
        }
        Some(other) => {
            let why = format!("`{other}` is no rule of this client");
            fields.ignore(&simple, why);
        }
        None => {}
    }
    for warmup in ["warmupDurationSecs", "warmup.duration"] {
        if let Some(window) = fields.duration(&format!("{BALANCER}.{warmup}"))? {
            balance = balance.slow_start(window);
        }
    }
    let subsets = (0..fields.len("spec.subsets")).map(|at| subset(fields, at));
    let subsets = subsets.collect::<Result<_, _>>()?;
    Ok((policy.load_balance(balance), host, subsets))
}

fn taken<T>(fields: &mut Fields, path: &str, value: T) -> T {
    fields.take(path);
    value
}

fn outliers(fields: &mut Fields) -> Result<OutlierDetection, PolicyError> {
    let mut detection = OutlierDetection::new();
    // The strictest of the rows, because there is one row here.
    let mut least = None;
    for row in ["consecutiveErrors", "consecutive5xxErrors", "consecutiveGatewayErrors"] {
        let path = format!("{OUTLIERS}.{row}");
        // Istio says 0 for off.
        if let Some(errors) = fields.number(&path)?.filter(|errors| *errors > 0) {
            least = Some(least.map_or(errors, |least: u32| least.min(errors)));
        }
    }
    if let Some(errors) = least {
        detection = detection.consecutive_errors(errors);
    }
    if let Some(interval) = fields.duration(&format!("{OUTLIERS}.interval"))? {
        detection = detection.interval(interval);
    }
    if let Some(time) = fields.duration(&format!("{OUTLIERS}.baseEjectionTime"))? {
        detection = detection.base_ejection_time(time);
    }
    let path = format!("{OUTLIERS}.maxEjectionPercent");
    if let Some(percent) = fields.number(&path)? {
        let percent = percent.try_into().map_err(|_| error(&path, "above 100"))?;
        detection = detection.max_ejection_percent(percent);
    }
    Ok(detection)
}

/// Istio says 0 for no limit.
fn connections(fields: &mut Fields) -> Result<ConnectionPool, PolicyError> {
    let mut number = |field: &str| fields.number(&format!("{POOL}.{field}"));
    Ok(ConnectionPool {
        max_connections: number("tcp.maxConnections")?.and_then(NonZeroU32::new),
        max_requests: number("http.http2MaxRequests")?.and_then(NonZeroU32::new),
        max_pending_requests: number("http.http1MaxPendingRequests")?.filter(|n| *n > 0),
        max_requests_per_connection: number("http.maxRequestsPerConnection")?
            .and_then(NonZeroU32::new),
    })
}

fn subset(fields: &mut Fields, at: usize) -> Result<Subset, PolicyError> {
    let path = format!("spec.subsets[{at}]");
    let name = fields
        .text(&format!("{path}.name"))?
        .ok_or_else(|| error(&path, "a subset without a name"))?;
    let labels = match fields.take(&format!("{path}.labels")) {
        Some(Value::Object(labels)) => labels,
        _ => return Err(error(&path, "a subset without labels")),
    };
    let mut labels = labels.iter();
    match (labels.next(), labels.next()) {
        (Some((key, Value::String(value))), None) => Ok(Subset::labelled(name, key, value)),
        _ => {
            Err(error(&format!("{path}.labels"), "one label, whose value is text, is what is read"))
        }
    }
}
