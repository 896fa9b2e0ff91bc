//! The JSON Schema of a policy, which is committed beside the source.

#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg(feature = "schema")]

use std::{fs, path::Path};

use boon::{Compiler, SchemaIndex, Schemas};
use seawall::policy::Policy;
use serde_json::Value;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policy.schema.json");

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("policy.json", Policy::json_schema()).unwrap();
        let index = compiler.compile("policy.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn check(&self, yaml: &str) -> Result<(), String> {
        let value: Value = yaml_serde::from_str(yaml).unwrap();
        self.schemas.validate(&value, self.index).map_err(|error| error.to_string())
    }
}

/// Run with `SEAWALL_WRITE_SCHEMA=1` to write it anew.
#[test]
fn the_committed_schema_is_that_of_the_source() {
    let now = Policy::json_schema();
    if std::env::var_os("SEAWALL_WRITE_SCHEMA").is_some() {
        fs::write(COMMITTED, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    // As values: the order of fields depends on the features that others of the build ask for.
    let committed: Value = serde_json::from_str(&fs::read_to_string(COMMITTED).unwrap()).unwrap();
    let same = committed == now;
    assert!(same, "run this test with SEAWALL_WRITE_SCHEMA=1 and look at the difference");
}

#[test]
fn the_policies_that_are_shown_are_valid() {
    let schema = Schema::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in fs::read_dir(root.join("examples")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            if text.contains("retries:") {
                schema.check(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            }
        }
    }
    let readme = fs::read_to_string(root.join("seawall/README.md")).unwrap();
    let shown = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    schema.check(shown).unwrap();
    Policy::from_yaml(shown).unwrap().check().unwrap();
}

#[test]
fn what_the_client_reads_is_valid_and_what_it_refuses_to_read_is_not() {
    let schema = Schema::new();
    for text in [
        "{}",
        "timeout: 1m 30s",
        "retries: { retry_on: [5xx, retriable-status-codes], retriable_status_codes: [409] }",
        "hedge: {}",
        "fallback: { service: { name: a, timeout: 1s }, stale: { vary: [x] }, value: { body: x } }",
        "rate_limit: { limit: 1, shared: { url: 'redis://a', on_failure: closed } }",
        "circuit_breaker: { failure_rate: 0.5, window: { time: 10s }, open_wait: { initial: 1s } }",
        "load_balance: { policy: { peak_ewma: { decay: 5s } }, slow_start: { window: 30s } }",
        "throttle: { k: { sheddable: 1.1 } }",
        "priority: sheddable_plus",
        "routes: [{ match: [{ path: /a }], timeout: null, retries: { attempts: 0 }, hedge: null }]",
        "routes: [{ match: [{ path: /a }], rate_limit: { burst: 5 }, fallback: { value: null } }]",
        "subsets: [{ name: a, tag: a }, { name: b, labels: { v: '1' } }, { name: c, rest: true }]",
    ] {
        schema.check(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    for text in [
        "timeout: 2",
        "timeout: soon",
        "tmeout: 1s",
        "retries: { atempts: 3 }",
        "retries: { attempts: 101 }",
        "retries: { retry_on: [6xx] }",
        "hedge: { percentile: 100 }",
        "rate_limit: { limit: 0 }",
        "rate_limit: { period: 1s }",
        "rate_limit: { limit: 1, shared: { url: 'redis://a' } }",
        "outlier_detection: { max_ejection_percent: 101 }",
        "connection_pool: { max_connections: 0 }",
        "circuit_breaker: { scope: path }",
        "circuit_breaker: { treshold: 5 }",
        "load_balance: { polcy: p2c }",
        "throttle: { k: { critical: 0.5 } }",
        "priority: high",
        "fallback: { stale: { max_bytes: 1 } }",
        "routes: [{ timeout: 1s }]",
        "routes: [{ match: [{ path: /a }], circuit_breaker: {} }]",
        "routes: [{ match: [{ path: /a }], retries: { atempts: 3 } }]",
    ] {
        assert!(schema.check(text).is_err(), "{text}");
        let read = Policy::from_yaml(text).map_err(|error| error.to_string());
        let checked = read.and_then(|policy| policy.check().map_err(|error| error.to_string()));
        assert!(checked.is_err(), "the client takes {text}");
    }
}

#[test]
fn settings_of_other_crates_are_those_that_they_read() {
    let schema = Policy::json_schema();
    for (setting, definition, elsewhere) in [
        ("circuit_breaker", "CircuitBreaker", &["on_drop"][..]),
        ("load_balance", "LoadBalance", &["name", "ejection", "split"]),
        ("throttle", "Throttle", &[]),
    ] {
        let properties = schema["$defs"][definition]["properties"].as_object().unwrap();
        // serde lists what it knows.
        let text = format!("{setting}: {{ '?': 1 }}");
        let error = Policy::from_yaml(&text).unwrap_err().to_string();
        let (_, list) = error.split_once("expected").unwrap_or_else(|| panic!("{error}"));
        for name in list.split('`').skip(1).step_by(2) {
            let known = properties.contains_key(name) || elsewhere.contains(&name);
            assert!(known, "{setting} has `{name}`, of which the schema knows nothing: {error}");
        }
        for name in properties.keys() {
            let ours =
                ["scope", "failure_threshold", "success_threshold", "timeout", "max_requests"];
            let known = list.contains(&format!("`{name}`")) || ours.contains(&&**name);
            assert!(known, "{setting} has no `{name}`");
        }
    }
}
