//! What a client does not send: by its limits, its throttle, and what its callers can do without.

#![allow(clippy::unwrap_used, reason = "a test")]

use seawall::{
    core::{Reason, Rejection},
    grpc::GrpcClient,
    policy::{Policy, Priority},
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tonic::{Code, Request};

fn policy(text: &str) -> Policy {
    Policy::from_yaml(text).unwrap()
}

fn client(server: &GrpcServer, text: &str) -> (EchoClient<GrpcClient>, GrpcClient) {
    let channel = seawall::grpc("echo").endpoints([server.address().to_string()]);
    let channel = channel.policy(policy(text)).build().unwrap();
    (EchoClient::new(channel.clone()), channel)
}

fn of(priority: Priority, code: Code) -> Request<EchoRequest> {
    let request = EchoRequest { code: code as i32, ..EchoRequest::default() };
    let mut request = Request::new(request);
    request.extensions_mut().insert(priority);
    request
}

async fn passed(client: &EchoClient<GrpcClient>, priority: Priority, calls: usize) -> usize {
    let mut passed = 0;
    for _ in 0..calls {
        passed += usize::from(client.clone().unary(of(priority, Code::Ok)).await.is_ok());
    }
    passed
}

#[tokio::test]
async fn calls_that_may_be_shed_leave_a_part_of_the_limit_to_others() {
    let server = GrpcServer::start().await;
    let text = "rate_limit: { limit: 10, period: 1h, reserve: 4, wait: 1h }";
    let (client, channel) = client(&server, text);
    assert_eq!(passed(&client, Priority::Sheddable, 10).await, 6, "and none of them waits");
    assert_eq!(passed(&client, Priority::SheddablePlus, 10).await, 0);
    // Another policy leaves less.
    let less = "rate_limit: { limit: 10, period: 1h, reserve: 2, wait: 10ms }";
    channel.apply(policy(less)).unwrap();
    assert_eq!(passed(&client, Priority::Sheddable, 10).await, 2);
    assert_eq!(passed(&client, Priority::Critical, 10).await, 2);
}

#[tokio::test]
async fn a_route_and_a_client_of_http_say_what_may_be_shed() {
    let server = HttpServer::start().await;
    let text = "
rate_limit: { limit: 10, period: 1h, reserve: 5 }
routes: [{ match: [{ path: /status/* }], priority: sheddable }]
";
    let client = seawall::http("users").endpoints([server.address().to_string()]);
    let client = client.policy(policy(text)).build().unwrap();
    let get = |path: &str| client.client().get(format!("http://users{path}"));
    for _ in 0..5 {
        get("/status/200").send().await.unwrap();
    }
    get("/status/200").send().await.unwrap_err();
    get("/ok").with_extension(Priority::Sheddable).send().await.unwrap_err();
    get("/status/200").with_extension(Priority::Critical).send().await.unwrap();
    let shed = client.with_priority(Priority::Sheddable);
    shed.client().get("http://users/ok").send().await.unwrap_err();
    get("/ok").send().await.unwrap();
}

#[tokio::test]
async fn a_throttle_holds_back_what_may_be_shed_while_servers_refuse() {
    let server = GrpcServer::start().await;
    let text = "{ throttle: { k: { critical: 2, sheddable: 1.1 } }, \
                  circuit_breaker: { failure_threshold: 1000 } }";
    let (client, channel) = client(&server, text);
    for priority in [Priority::Critical, Priority::Sheddable] {
        assert_eq!(passed(&client, priority, 20).await, 20);
    }
    let mut held = [0, 0];
    for call in 0..400 {
        // Of three calls one is refused.
        let code = if call % 3 == 0 { Code::ResourceExhausted } else { Code::Ok };
        for (priority, held) in [Priority::Critical, Priority::Sheddable].into_iter().zip(&mut held)
        {
            if let Err(status) = client.clone().unary(of(priority, code)).await
                && let Some(rejection) = Rejection::find(&status)
            {
                assert_eq!(rejection.reason(), Reason::Overloaded);
                *held += 1;
            }
        }
    }
    assert!(held[0] <= 5 && held[1] >= 40, "{held:?}");
    // What it has counted goes on under other settings.
    channel.apply(policy(&text.replace("sheddable: 1.1", "sheddable: 1.01"))).unwrap();
    let passed = passed(&client, Priority::Sheddable, 20).await;
    assert!(passed < 20, "{passed}");
}

#[tokio::test]
async fn listed_statuses_are_tried_again_where_a_call_may_be_done_twice() {
    let server = HttpServer::start().await;
    let retries = "{ attempts: 2, retry_on: [retriable-status-codes], \
                     retriable_status_codes: [409, 425], backoff: { base: 0s, max: 0s } }";
    let client = seawall::http("users").endpoints([server.address().to_string()]);
    let client = client.policy(policy(&format!("retries: {retries}"))).build().unwrap();
    for (status, attempts) in [(409, 3), (425, 3), (404, 1), (503, 1)] {
        let before = server.calls();
        let url = format!("http://users/status/{status}");
        assert_eq!(client.client().get(&url).send().await.unwrap().status(), status);
        assert_eq!(server.calls() - before, attempts, "{status}");
        client.client().post(&url).body("x").send().await.unwrap();
        assert_eq!(server.calls() - before, attempts + 1, "{status} of a POST");
    }
}

#[cfg(feature = "redis")]
mod redis {
    use seawall_test_support::RedisServer;

    use super::*;

    #[tokio::test]
    async fn two_clients_share_a_limit_and_do_as_they_are_told_without_redis() {
        let redis = RedisServer::start().await;
        let server = GrpcServer::start().await;
        let text = |on_failure: &str| {
            format!(
                "rate_limit: {{ limit: 10, period: 1h, reserve: 4, \
                   shared: {{ url: '{}', on_failure: {on_failure}, timeout: 5s }} }}",
                redis.url()
            )
        };
        let (open, channel) = client(&server, &text("open"));
        let (closed, _) = client(&server, &text("closed"));
        assert_eq!(passed(&open, Priority::Critical, 3).await, 3);
        assert_eq!(passed(&closed, Priority::Sheddable, 5).await, 3, "four are left over");
        assert_eq!(passed(&closed, Priority::Critical, 9).await, 4);
        assert_eq!(passed(&open, Priority::Critical, 1).await, 0);
        // A new quota is no fresh burst.
        let more = text("open").replace("limit: 10", "limit: 11");
        channel.apply(policy(&more)).unwrap();
        assert_eq!(passed(&open, Priority::Critical, 3).await, 0);

        redis.kill();
        // These have not been told until when to come back.
        let (open, channel) = client(&server, &text("open"));
        let (closed, _) = client(&server, &text("closed"));
        let (local, _) = client(&server, &text("{ local: 20 }"));
        assert_eq!(passed(&open, Priority::Critical, 3).await, 3);
        assert_eq!(passed(&closed, Priority::Critical, 3).await, 0);
        assert_eq!(passed(&local, Priority::Critical, 4).await, 2, "20 % of ten");
        assert_eq!(channel.snapshot().limiter.unwrap().degraded, 3);
    }
}
