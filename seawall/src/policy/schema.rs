//! What a policy looks like, for editors and for checks in CI.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{
    CircuitBreaker, Fallback, Hedge, LoadBalance, Match, Policy, RateLimit, Retries, Route, Share,
    Throttle,
};

impl Policy {
    /// The JSON Schema (draft 2020-12) of a policy in a file. Feature `schema`.
    ///
    /// Editors complete and check YAML and JSON by it; `policy.schema.json` beside this crate's source
    /// is this one. What contradicts itself, and numbers and texts of the breakers and the balancer out
    /// of their range, are seen by [`check`](Self::check) alone.
    ///
    /// ```
    /// let schema = seawall::policy::Policy::json_schema();
    /// assert_eq!(schema["properties"]["timeout"]["anyOf"][0]["$ref"], "#/$defs/Duration");
    /// ```
    pub fn json_schema() -> Value {
        let settings = schemars::generate::SchemaSettings::draft2020_12();
        let mut schema = settings.into_generator().into_root_schema_for::<Self>().to_value();
        shorten(&mut schema);
        schema["$id"] =
            "https://github.com/seawall-rs/seawall/blob/main/seawall/policy.schema.json".into();
        schema["title"] = "seawall policy".into();
        schema
    }
}

/// Leaves the first paragraph of each description: the rest is for readers of the documentation.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("description") {
                let first = text.split("\n\n").next().unwrap_or_default();
                *text = first.replace('\n', " ").replace("[`", "`").replace("`]", "`");
            }
            map.values_mut().for_each(shorten);
        }
        Value::Array(list) => list.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// A duration as text.
pub(super) struct Time;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number and its unit, such as `250ms` or `1m 30s`.",
            "type": "string",
            "pattern": "^\\s*([0-9]+\\s*(ns|nsec|us|µs|usec|ms|msec|s|sec|secs|seconds?|m|min|mins|minutes?|h|hr|hrs|hours?|d|days?|w|weeks?)\\s*)+$",
        })
    }
}

/// How critical a call is.
pub(super) struct PriorityName;

impl JsonSchema for PriorityName {
    fn schema_name() -> Cow<'static, str> {
        "Priority".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How critical a call is; those that may be shed go first.",
            "enum": super::Priority::ALL.map(super::Priority::as_str),
        })
    }
}

fn time(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<Time>().to_value()
}

fn object(properties: Value) -> Schema {
    let all = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    Schema::try_from(all).expect("it is an object")
}

impl JsonSchema for CircuitBreaker {
    fn schema_name() -> Cow<'static, str> {
        "CircuitBreaker".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = time(generator);
        let mut count = json!({ "type": "integer", "minimum": 1 });
        let mut said = |text: &str| {
            count["description"] = text.into();
            count.clone()
        };
        let mut schema = object(json!({
            "scope": generator.subschema_for::<super::Scope>(),
            "failure_threshold": said("Opens after so many failures in a row; 5 unless another rule is given."),
            "consecutive_failures": said("The same as `failure_threshold`."),
            "failures": said("Opens after so many failures in the window."),
            "success_threshold": said("Closes after so many successful probes; 1 unless set."),
            "max_requests": said("How many probes may be out at once; 1 unless set."),
            "probes": said("The same as `max_requests`."),
            "minimum_calls": said("Decides by a rate after so many calls in the window."),
            "failure_rate": { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
            "slow_calls": { "type": "object" },
            "window": { "type": "object" },
            "timeout": time,
            "open_wait": { "anyOf": [time, { "type": "object" }] },
            "half_open": { "type": "object" },
            "probe_timeout": time,
            "ramp": { "type": "object" },
            "mode": {
                "enum": ["automatic", "forced_open", "forced_closed", "disabled", "shadow"]
            },
        }));
        schema.insert("description".into(), "When an endpoint is left alone.".into());
        schema
    }
}

impl JsonSchema for LoadBalance {
    fn schema_name() -> Cow<'static, str> {
        "LoadBalance".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = time(generator);
        let mut schema = object(json!({
            "policy": { "anyOf": [{ "type": "string" }, { "type": "object" }] },
            "wait_for_endpoints": time,
            "retry_after": time,
            "subset": { "type": "object" },
            "failover": { "type": "object" },
            "zone_aware": { "type": "object" },
            "slow_start": { "type": "object" },
            "warm_up": time,
            "max_picks": { "type": "integer", "minimum": 1 },
            "panic_threshold": { "type": "integer", "minimum": 0, "maximum": 100 },
            "seed": { "type": "integer", "minimum": 0 },
        }));
        schema.insert("description".into(), "How endpoints are picked.".into());
        schema
    }
}

impl JsonSchema for Throttle {
    fn schema_name() -> Cow<'static, str> {
        "Throttle".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = time(generator);
        let k = json!({ "type": "number", "exclusiveMinimum": 1 });
        let mut schema = object(json!({
            "window": time,
            "padding": { "type": "integer", "minimum": 0 },
            "on_drop": { "anyOf": [{ "type": "string" }, { "type": "object" }] },
            "k": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "critical_plus": k, "critical": k, "sheddable_plus": k, "sheddable": k,
                },
            },
        }));
        let text = "Sends servers that are overloaded less, as far as they refuse.";
        schema.insert("description".into(), text.into());
        schema
    }
}

impl JsonSchema for Route {
    fn schema_name() -> Cow<'static, str> {
        "Route".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = time(generator);
        let text = json!({ "type": ["string", "null"] });
        let mut schema = object(json!({
            "name": { "type": "string", "description": "What it is called in explanations." },
            "match": {
                "type": "array",
                "minItems": 1,
                "items": generator.subschema_for::<Match>(),
            },
            "service": { "type": "string", "description": "The service that its calls go to." },
            "subset": { "type": "string", "description": "The subset that its calls go to." },
            "split": { "type": "array", "items": generator.subschema_for::<Share>() },
            "timeout": { "anyOf": [time, { "type": "null" }] },
            "deadline_header": text,
            "idempotent": { "type": ["array", "null"], "items": { "type": "string" } },
            "priority": generator.subschema_for::<PriorityName>(),
            "retries": part::<Retries>(generator),
            "hedge": part::<Hedge>(generator),
            "fallback": part::<Fallback>(generator),
            "rate_limit": part::<RateLimit>(generator),
            "throttle": part::<Throttle>(generator),
        }));
        schema.insert("required".into(), json!(["match"]));
        let text = "Calls that are treated otherwise: what is not said here is as in the policy, and \
                    null takes a setting away.";
        schema.insert("description".into(), text.into());
        schema
    }
}

/// A setting of which a route says a part, or which it takes away.
fn part<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = T::json_schema(generator).to_value();
    if let Some(map) = schema.as_object_mut() {
        map.remove("required");
        if let Some(Value::Object(properties)) = map.get_mut("properties") {
            properties.values_mut().for_each(or_null);
        }
    }
    or_null(&mut schema);
    schema
}

/// Allows null, and shows no default: that of a route is what the policy says.
fn or_null(schema: &mut Value) {
    let mut own = schema.take();
    if let Some(map) = own.as_object_mut() {
        map.remove("default");
    }
    *schema = Value::Object(Map::from_iter([(
        "anyOf".to_owned(),
        Value::Array(vec![own, json!({ "type": "null" })]),
    )]));
}
