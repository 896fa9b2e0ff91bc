//! What a `VirtualService` says of the calls.

use serde_json::Value;

use super::{error, report::Fields};
use crate::policy::{Backoff, Match, Policy, PolicyError, Retries, RetryOn, Route, Share};

/// `policy` with what the document says; `host` is that of the rule of the endpoints.
pub(super) fn read(
    fields: &mut Fields,
    mut policy: Policy,
    host: Option<&str>,
) -> Result<Policy, PolicyError> {
    let hosts = fields.take("spec.hosts");
    let first = hosts.as_ref().and_then(|hosts| hosts.get(0)).and_then(Value::as_str);
    let own = host.or(first).unwrap_or_default().to_owned();
    let mut routes = Vec::new();
    let mut whole = false;
    for at in 0..fields.len("spec.http") {
        let path = format!("spec.http[{at}]");
        if whole {
            fields.ignore(&path, "a route without a `match` stands before it");
            continue;
        }
        let name = fields.text(&format!("{path}.name"))?;
        let matches = matches(fields, &path)?;
        let all = matches.as_ref().is_none();
        let matches = matches.unwrap_or_default();
        if !all && matches.is_empty() {
            fields.ignore(&path, "nothing is left of its `match`: its calls take a later route");
            continue;
        }
        let calls = calls(fields, &path)?;
        let targets = targets(fields, &path, &own)?;
        if all {
            whole = true;
            (policy.timeout, policy.retries) = (calls.timeout, calls.retries);
            // The client's own service is where calls go by themselves.
            let own_only = matches!(&*targets, [only] if only.service.as_ref() == Some(&own));
            policy.split = if own_only { Vec::new() } else { targets };
        } else {
            let mut route = Route::new(matches).policy(&calls);
            route.name = name;
            route = match <[Share; 1]>::try_from(targets) {
                Ok([Share { service: Some(service), .. }]) if service == own => route,
                Ok([Share { service: Some(service), .. }]) => route.service(service),
                Ok([Share { subset: Some(subset), .. }]) => route.subset(subset),
                Ok([share]) => route.split([share]),
                Err(targets) => route.split(targets),
            };
            routes.push(route);
        }
    }
    Ok(policy.routes(routes))
}

/// The matches that a client can judge; none where every call is meant.
fn matches(fields: &mut Fields, route: &str) -> Result<Option<Vec<Match>>, PolicyError> {
    let list = format!("{route}.match");
    if fields.len(&list) == 0 {
        return Ok(None);
    }
    let mut read = Vec::new();
    for at in 0..fields.len(&list) {
        let path = format!("{list}[{at}]");
        if !fields.look(&path).is_some_and(is_known) {
            let why = "judged by more than an exact path, a prefix or a method: its calls take a \
                       later route";
            fields.ignore(&path, why);
            continue;
        }
        let exact = fields.text(&format!("{path}.uri.exact"))?;
        let prefix = fields.text(&format!("{path}.uri.prefix"))?;
        let uri = exact.or(prefix.map(|prefix| format!("{prefix}*"))).unwrap_or("/*".into());
        let mut one = Match::path(uri);
        one.method = fields.text(&format!("{path}.method.exact"))?;
        fields.take(&format!("{path}.name"));
        read.push(one);
    }
    Ok(Some(read))
}

/// Whether a match is by an exact path, a prefix or a method, and by nothing else.
fn is_known(one: &Value) -> bool {
    let only = |value: &Value, kinds: &[&str]| {
        value.as_object().is_some_and(|map| map.keys().all(|kind| kinds.contains(&kind.as_str())))
    };
    one.as_object().is_some_and(|map| {
        map.iter().all(|(field, value)| match field.as_str() {
            "name" => true,
            "uri" => only(value, &["exact", "prefix"]),
            "method" => only(value, &["exact"]),
            _ => false,
        })
    })
}

/// The time-out and the retries of a route.
fn calls(fields: &mut Fields, route: &str) -> Result<Policy, PolicyError> {
    let mut policy = Policy::new();
    // Istio says 0 for none.
    policy.timeout =
        fields.duration(&format!("{route}.timeout"))?.filter(|timeout| !timeout.is_zero());
    let path = format!("{route}.retries");
    let mut retries = Retries::new();
    if let Some(attempts) = fields.number(&format!("{path}.attempts"))? {
        retries = retries.attempts(attempts);
    }
    if let Some(per_try) = fields.duration(&format!("{path}.perTryTimeout"))? {
        retries = retries.per_try_timeout(per_try);
    }
    if let Some(base) = fields.duration(&format!("{path}.backoff"))? {
        // Envoy's maximum is ten times the base.
        retries = retries.backoff(Backoff::new(base, base.saturating_mul(10)));
    }
    // Retries avoid the endpoints that a call has tried, always.
    fields.take(&format!("{path}.retryIgnorePreviousHosts"));
    if let Some(words) = fields.text(&format!("{path}.retryOn"))? {
        let (mut conditions, mut codes) = (Vec::new(), Vec::new());
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if let Ok(code) = word.parse() {
                codes.push(code);
                continue;
            }
            match serde_json::from_value::<RetryOn>(word.into()) {
                // Istio's has no list beside it but the numbers in the same text.
                Ok(RetryOn::RetriableStatusCodes) => {}
                Ok(condition) => conditions.push(condition),
                Err(_) => fields.note(
                    &format!("{path}.retryOn"),
                    format!("`{word}` is no condition of this client"),
                ),
            }
        }
        retries = retries.retry_on(conditions);
        if !codes.is_empty() {
            retries = retries.retriable_status_codes(codes);
        }
    }
    Ok(policy.retries(retries))
}

/// Where the calls of a route go.
fn targets(fields: &mut Fields, route: &str, own: &str) -> Result<Vec<Share>, PolicyError> {
    let list = format!("{route}.route");
    let count = fields.len(&list);
    let mut targets = Vec::new();
    for at in 0..count {
        let path = format!("{list}[{at}]");
        let host = fields
            .text(&format!("{path}.destination.host"))?
            .ok_or_else(|| error(&path, "a destination without a host"))?;
        let subset = fields.text(&format!("{path}.destination.subset"))?;
        let weight = fields.number(&format!("{path}.weight"))?;
        // A destination alone needs no weight.
        let weight = weight.unwrap_or(u32::from(count == 1));
        targets.push(match subset {
            None => Share::of_service(host, weight),
            Some(subset) if host == own => Share::of_subset(subset, weight),
            Some(_) => {
                let message = "a subset of another host than the client's own";
                return Err(error(&format!("{path}.destination.subset"), message));
            }
        });
    }
    if targets.is_empty() {
        targets.push(Share::of_service(own, 1));
    }
    Ok(targets)
}
