//! One answer of Consul about 10,000 instances: reading it, and finding what changed.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seawall_core::{Endpoint, diff};
use seawall_discovery::{HealthAnswer, WeightFrom};
use serde_json::{Value, json};

const INSTANCES: usize = 10_000;

/// An instance as Consul 1.8 writes it, with all its fields.
fn instance(number: usize) -> Value {
    let id = format!("orders-{number:05}");
    let address = format!("10.0.{}.{}", number / 250, number % 250 + 1);
    let node = format!("node-{:03}", number % 100);
    json!({
        "Node": {
            "ID": format!("00000000-0000-0000-0000-{number:012}"), "Node": node, "Address": address,
            "Datacenter": "dc1", "TaggedAddresses": {"lan": address, "wan": address},
            "Meta": {"consul-network-segment": ""}, "CreateIndex": 12, "ModifyIndex": 14
        },
        "Service": {
            "ID": id, "Service": "orders", "Tags": ["v1", "grpc"], "Address": address,
            "TaggedAddresses": {"lan_ipv4": {"Address": address, "Port": 50051}},
            "Meta": {"zone": "eu-1"}, "Port": 50051, "Weights": {"Passing": 5, "Warning": 1},
            "EnableTagOverride": false, "Proxy": {"MeshGateway": {}, "Expose": {}}, "Connect": {},
            "CreateIndex": 101, "ModifyIndex": 101
        },
        "Checks": [
            {
                "Node": node, "CheckID": "serfHealth", "Name": "Serf Health Status",
                "Status": "passing", "Notes": "", "Output": "Agent alive and reachable",
                "ServiceID": "", "ServiceName": "", "ServiceTags": [], "Type": "",
                "Definition": {}, "CreateIndex": 12, "ModifyIndex": 12
            },
            {
                "Node": node, "CheckID": format!("service:{id}"), "Name": "Service TTL Check",
                "Status": "passing", "Notes": "", "Output": "", "ServiceID": id,
                "ServiceName": "orders", "ServiceTags": ["v1", "grpc"], "Type": "ttl",
                "Definition": {}, "CreateIndex": 101, "ModifyIndex": 102
            }
        ]
    })
}

fn answer() -> Vec<u8> {
    let instances: Vec<_> = (0..INSTANCES).map(instance).collect();
    serde_json::to_vec(&instances).expect("it is JSON")
}

fn endpoints(body: &[u8]) -> Vec<Endpoint> {
    let answer = HealthAnswer::read(body, &WeightFrom::Weights).expect("a list");
    assert_eq!(answer.skipped().count(), 0);
    answer.endpoints().to_vec()
}

fn health_decode(c: &mut Criterion) {
    let body = answer();
    let mut group = c.benchmark_group("health_decode_10000");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("seawall", |b| {
        b.iter(|| HealthAnswer::read(black_box(&body), &WeightFrom::Weights).expect("a list"));
    });
    group.bench_function("rs_consul", |b| {
        b.iter(|| {
            serde_json::from_slice::<Vec<rs_consul::ServiceNode>>(black_box(&body)).expect("a list")
        });
    });
    group.finish();
}

fn diff_one_changed(c: &mut Criterion) {
    let before = endpoints(&answer());
    let mut after = before.clone();
    after[INSTANCES / 2] = after[INSTANCES / 2].clone().with_weight(7);
    assert_eq!(diff(&before, &after).len(), 1);
    c.benchmark_group("diff_10000_one_changed")
        .bench_function("seawall", |b| b.iter(|| diff(black_box(&before), black_box(&after))));
}

fn diff_none_changed(c: &mut Criterion) {
    let body = answer();
    let known = HealthAnswer::fingerprint(&body);
    c.benchmark_group("diff_10000_none_changed").bench_function("seawall", |b| {
        b.iter(|| assert!(HealthAnswer::fingerprint(black_box(&body)) == known));
    });
}

criterion_group!(benches, health_decode, diff_one_changed, diff_none_changed);
criterion_main!(benches);
