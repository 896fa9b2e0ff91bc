//! Policies that change while calls are running.

use std::{fs, time::Duration};

use seawall::{grpc::GrpcClient, policy::Policy};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tokio::{sync::mpsc, time::timeout};
use tonic::Code;

fn policy(text: &str) -> Policy {
    Policy::from_yaml(text).expect("the policy reads")
}

fn client(server: &GrpcServer, text: &str) -> (EchoClient<GrpcClient>, GrpcClient) {
    let channel = seawall::grpc("echo")
        .endpoints([server.address().to_string()])
        .policy(policy(text))
        .build()
        .expect("it builds");
    (EchoClient::new(channel.clone()), channel)
}

fn hello() -> EchoRequest {
    EchoRequest { message: "hello".into(), ..Default::default() }
}

#[tokio::test]
async fn a_new_policy_counts_at_once_and_calls_in_flight_keep_theirs() {
    let server = GrpcServer::start().await;
    let (client, channel) = client(&server, "timeout: 10s");
    let slow = EchoRequest { delay_ms: 400, ..hello() };
    let mut before = client.clone();
    let asked = slow.clone();
    let under_way = tokio::spawn(async move { before.unary(asked).await });
    while server.calls() == 0 {
        tokio::task::yield_now().await;
    }
    channel.apply(policy("timeout: 50ms")).unwrap();
    let status = client.clone().unary(slow).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    under_way.await.unwrap().unwrap();
}

#[tokio::test]
async fn counts_and_connections_stay_when_the_policy_changes() {
    let server = GrpcServer::start().await;
    let (mut client, channel) = client(&server, "rate_limit: { limit: 10, period: 1h }");
    for _ in 0..7 {
        client.unary(hello()).await.unwrap();
    }
    channel
        .apply(policy("{ timeout: 9s, rate_limit: { limit: 20, burst: 10, period: 1h } }"))
        .unwrap();
    // Three are left of the burst of ten, as before: a change is no fresh burst.
    for _ in 0..3 {
        client.unary(hello()).await.unwrap();
    }
    assert_eq!(client.unary(hello()).await.unwrap_err().code(), Code::ResourceExhausted);
    let snapshot = channel.snapshot();
    assert_eq!(snapshot.endpoints[0].calls, 10, "{snapshot:?}");
    assert_eq!(snapshot.limiter.unwrap().allowed, 10);
}

#[tokio::test]
async fn a_breaker_that_is_open_stays_open_and_takes_the_new_threshold() {
    let server = GrpcServer::start().await;
    let text = "circuit_breaker: { failure_threshold: 2, open_wait: 1h }";
    let (mut client, channel) = client(&server, text);
    let fails = EchoRequest { code: Code::Unavailable as i32, ..hello() };
    client.unary(fails.clone()).await.unwrap_err();
    // One failure was counted, and is still.
    channel.apply(policy("{ timeout: 5s, circuit_breaker: { failure_threshold: 2 } }")).unwrap();
    client.unary(fails.clone()).await.unwrap_err();
    assert_eq!(channel.snapshot().endpoints[0].state, "open");
    channel.apply(policy("circuit_breaker: { failure_threshold: 9 }")).unwrap();
    assert_eq!(channel.snapshot().endpoints[0].state, "open");
}

#[tokio::test]
async fn a_route_goes_on_with_its_budget_and_what_it_learned_for_hedging() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let text = |timeout: &str| {
        format!(
            "
timeout: {timeout}
idempotent: [/seawall.test.Echo/*]
retries: {{ attempts: 0 }}
hedge: {{ delay: 1h }}
circuit_breaker: {{ failure_threshold: 100000 }}
routes:
  - match: [{{ path: /seawall.test.Echo/Unary }}]
    hedge: {{ percentile: 90, budget: {{ percent: 50, min_per_second: 0 }} }}
    retries:
      attempts: 1
      retry_on: [unavailable]
      backoff: {{ base: 0s, max: 0s }}
      budget: {{ percent: 10, min_per_second: 0 }}
"
        )
    };
    let addresses = [a.address().to_string(), b.address().to_string()];
    let channel = seawall::grpc("echo").endpoints(addresses).policy(policy(&text("8s")));
    let channel = channel.build().unwrap();
    let mut client = EchoClient::new(channel.clone());
    let calls = || a.calls() + b.calls();
    // No latency is known before 128 answers.
    for _ in 0..140 {
        client.unary(hello()).await.unwrap();
    }
    let before = calls();
    channel.apply(policy(&text("9s"))).unwrap();
    client.unary(EchoRequest { delay_ms: 300, ..hello() }).await.unwrap();
    // A cancelled hedge of an earlier call may arrive meanwhile.
    assert!(calls() - before >= 2, "it is hedged, by what was learned under the other policy");
    // A tenth of the 141 calls, of which a few more come meanwhile, may be tried again. Hedges would
    // count as calls, too.
    let unhedged = |timeout| text(timeout).replace("hedge: { percentile: 90", "hedge: { delay: 1h");
    let fails = EchoRequest { code: Code::Unavailable as i32, ..hello() };
    let mut before = calls();
    for round in ["9s", "8s"] {
        channel.apply(policy(&unhedged(round))).unwrap();
        for _ in 0..10 {
            client.unary(fails.clone()).await.unwrap_err();
        }
    }
    let retried = calls() - before - 20;
    assert_eq!(retried, 16, "a tenth of 161");
    // The calls of no route have what the policy says: no retries, and no hedge before an hour.
    before = calls();
    client.server_stream(fails).await.unwrap_err();
    let slow = EchoRequest { delay_ms: 100, messages: 1, ..hello() };
    client.server_stream(slow).await.unwrap();
    assert_eq!(calls() - before, 2);
}

#[tokio::test]
async fn a_policy_that_is_refused_changes_nothing() {
    let server = GrpcServer::start().await;
    let (mut client, channel) = client(&server, "rate_limit: { limit: 1, period: 1h }");
    let before = channel.policy();
    for (text, field) in [
        ("timeout: 0s", "timeout"),
        ("circuit_breaker: { scope: service }", "circuit_breaker.scope"),
        ("{ rate_limit: { limit: 9 }, routes: [{ match: [{ path: / }], service: b }] }", "service"),
    ] {
        let error = channel.apply(policy(text)).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}`")), "{text}: {error}");
        assert_eq!(channel.policy(), before);
    }
    client.unary(hello()).await.unwrap();
    assert_eq!(client.unary(hello()).await.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_file_is_followed_and_a_bad_one_refused() {
    let server = GrpcServer::start().await;
    let (client, channel) = client(&server, "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, "timeout: 1s").unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    channel.follow_file(&file, move |result| {
        let _ = tell.send(result.map_err(|error| error.to_string()));
    });
    let mut next = async || timeout(Duration::from_secs(20), told.recv()).await.unwrap();
    assert_eq!(next().await, Some(Ok(())));
    assert_eq!(channel.policy(), policy("timeout: 1s"));

    fs::write(&file, "retries: { atempts: 1 }").unwrap();
    let error = next().await.unwrap().unwrap_err();
    assert!(error.contains("retries") && error.contains("atempts"), "{error}");
    assert_eq!(channel.policy(), policy("timeout: 1s"));

    // As Kubernetes does: another file in its place.
    let other = folder.path().join("other");
    fs::write(&other, "timeout: 2s").unwrap();
    fs::rename(&other, &file).unwrap();
    assert_eq!(next().await, Some(Ok(())));
    assert_eq!(channel.policy(), policy("timeout: 2s"));

    // The task ends with the last clone, and lets go of what it tells.
    drop((client, channel));
    assert_eq!(next().await, None);
}
