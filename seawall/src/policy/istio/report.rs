//! What of a manifest is honoured, and what is not.

use std::{fmt, time::Duration};

use serde_json::Value;

use super::error;
use crate::policy::{Policy, PolicyError};

/// A policy from manifests, and what became of each of their fields.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FromIstio {
    /// What a client can do of it.
    pub policy: Policy,
    /// The fields that are in the policy.
    pub honoured: Vec<String>,
    /// The fields that are not.
    pub ignored: Vec<Ignored>,
}

/// A field of a manifest that is not in the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// The document and the path in it.
    pub path: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for FromIstio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for path in &self.honoured {
            writeln!(f, "honoured  {path}")?;
        }
        for Ignored { path, why } in &self.ignored {
            writeln!(f, "ignored   {path}: {why}")?;
        }
        Ok(())
    }
}

/// Why fields are not honoured, by their names.
const REASONS: &[(&str, &str)] = &[
    ("maxConcurrentStreams", "another channel is opened when one has 100 calls under way"),
    ("maxRetries", "retries have a budget: say it in `retries.budget`"),
    (
        "connectTimeout",
        "a second: say another one in code, to the builder's `channels` or `clients`",
    ),
    ("tcpKeepalive", "say it in code, to the builder's `channels` or `clients`"),
    ("idleTimeout", "say it in code, to the builder's `channels` or `clients`"),
    ("maxConnectionDuration", "a channel is replaced after a number of calls"),
    ("h2UpgradePolicy", "gRPC is HTTP/2; of HTTP, say it in code, to the builder's `clients`"),
    ("useClientProtocol", "this client is its own"),
    ("tls", "say it in code, to the builder's `channels` or `clients`"),
    ("consistentHash", "the key of a call is found in code"),
    ("localityLbSetting", "say the caller's zone in `load_balance.zone_aware`"),
    ("portLevelSettings", "a resolver's endpoints have one port"),
    ("exportTo", "a client has no namespaces"),
    ("gateways", "this client is no gateway"),
    ("workloadSelector", "the program that builds the client is the workload"),
    ("mirror", "this client sends no copies"),
    ("mirrors", "this client sends no copies"),
    ("mirrorPercentage", "this client sends no copies"),
    ("fault", "test with a fault proxy between the client and a server"),
    ("corsPolicy", "CORS concerns browsers"),
    ("headers", "requests are as the program makes them"),
    ("rewrite", "requests are as the program makes them"),
    ("redirect", "requests are as the program makes them"),
    ("directResponse", "requests are as the program makes them"),
    ("delegate", "one VirtualService says all"),
    ("tcp", "this client speaks HTTP and gRPC"),
    ("port", "the resolver knows the port"),
    ("trafficPolicy", "settings of endpoints are those of the whole service"),
    ("retryRemoteLocalities", "retries go to endpoints that the call has not tried, in any zone"),
    ("splitExternalLocalOriginErrors", "all failures count in one row"),
    ("consecutiveLocalOriginFailures", "all failures count in one row"),
];

/// The fields of one document that nobody has read yet.
pub(super) struct Fields {
    title: String,
    left: Value,
    honoured: Vec<String>,
    ignored: Vec<Ignored>,
}

impl Fields {
    pub(super) fn of(document: Value) -> Self {
        let kind = document["kind"].as_str().unwrap_or_default();
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        let title = format!("{kind}/{name}");
        Self { title, left: document, honoured: Vec::new(), ignored: Vec::new() }
    }

    /// The value at `path`, such as `spec.http[0].timeout`, which counts as honoured.
    pub(super) fn take(&mut self, path: &str) -> Option<Value> {
        let value = self.drop(path)?;
        self.honoured.push(format!("{}: {path}", self.title));
        Some(value)
    }

    fn drop(&mut self, path: &str) -> Option<Value> {
        let value = self.left.pointer_mut(&pointer(path))?.take();
        (!value.is_null()).then_some(value)
    }

    pub(super) fn look(&self, path: &str) -> Option<&Value> {
        self.left.pointer(&pointer(path)).filter(|value| !value.is_null())
    }

    /// How many entries the list at `path` has.
    pub(super) fn len(&self, path: &str) -> usize {
        self.look(path).and_then(Value::as_array).map_or(0, Vec::len)
    }

    pub(super) fn ignore(&mut self, path: &str, why: impl Into<String>) {
        self.drop(path);
        self.note(path, why);
    }

    pub(super) fn note(&mut self, path: &str, why: impl Into<String>) {
        let path = format!("{}: {path}", self.title);
        self.ignored.push(Ignored { path, why: why.into() });
    }

    pub(super) fn text(&mut self, path: &str) -> Result<Option<String>, PolicyError> {
        match self.take(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(error(path, format!("{other} is no text"))),
        }
    }

    pub(super) fn number(&mut self, path: &str) -> Result<Option<u32>, PolicyError> {
        let Some(value) = self.take(path) else { return Ok(None) };
        match value.as_u64().and_then(|number| number.try_into().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(error(path, format!("{value} is no number from 0 up"))),
        }
    }

    pub(super) fn duration(&mut self, path: &str) -> Result<Option<Duration>, PolicyError> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        humantime::parse_duration(&text)
            .map(Some)
            .map_err(|_| error(path, format!("`{text}` is no duration such as `30s`")))
    }

    /// Lists what nobody has read.
    pub(super) fn close(mut self, report: &mut super::FromIstio) {
        for known in ["apiVersion", "kind", "metadata", "status"] {
            self.drop(known);
        }
        let mut left = Vec::new();
        leaves(&self.left, String::new(), &mut left);
        for path in left {
            let name = path.rsplit('.').next().unwrap_or_default();
            let known = REASONS.iter().find(|(field, _)| *field == name);
            self.note(&path, known.map_or("this client has nothing like it", |(_, why)| why));
        }
        report.honoured.append(&mut self.honoured);
        report.ignored.append(&mut self.ignored);
    }
}

/// `spec.http[0].timeout` as a JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace("].", "/").replace(']', "").replace(['.', '['], "/"))
}

/// The paths of what is left: down to fields for which there is a reason, or that have none below.
fn leaves(value: &Value, path: String, to: &mut Vec<String>) {
    // Here fields below are honoured one by one, unlike under a subset.
    let open = path == "spec.trafficPolicy";
    let name = path.rsplit('.').next().unwrap_or_default();
    let reasoned = !open && REASONS.iter().any(|(field, _)| *field == name);
    match value {
        Value::Null => {}
        Value::Object(map) if map.values().all(Value::is_null) => {}
        Value::Array(list) if list.iter().all(Value::is_null) => {}
        Value::Object(map) if !reasoned => {
            for (field, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, format!("{path}{dot}{field}"), to);
            }
        }
        Value::Array(list) if !reasoned => {
            for (at, value) in list.iter().enumerate() {
                leaves(value, format!("{path}[{at}]"), to);
            }
        }
        _ => to.push(path),
    }
}
