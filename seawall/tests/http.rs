//! A reqwest client over `seawall::http`, and real servers that die, hang and fail.

use std::time::Duration;

use seawall::{
    core::{Reason, reqwest::rejection},
    discovery::Memory,
    http::{HttpBuilder, HttpClient},
    policy::{LoadBalance, Policy, RateLimit, Retries, RetryOn},
};
use seawall_test_support::{FaultProxy, Faults, HttpServer};

fn builder(servers: &[&HttpServer]) -> HttpBuilder {
    seawall::http("users").endpoints(servers.iter().map(|server| server.address().to_string()))
}

fn survive() -> Policy {
    Policy::new().retries(
        Retries::new().attempts(3).per_try_timeout(Duration::from_millis(300)).retry_on([
            RetryOn::ConnectFailure,
            RetryOn::RefusedStream,
            RetryOn::ServerError,
        ]),
    )
}

fn client(builder: HttpBuilder, policy: Policy) -> HttpClient {
    builder.policy(policy).build().expect("the policy is valid")
}

async fn get(client: &HttpClient, path: &str) -> Result<String, reqwest_middleware::Error> {
    let response = client.client().get(format!("http://users{path}")).send().await?;
    Ok(response.error_for_status()?.text().await?)
}

#[tokio::test]
async fn calls_are_spread_and_keep_the_name_of_the_service() {
    let (a, b) = (HttpServer::start().await, HttpServer::start().await);
    let client = client(builder(&[&a, &b]), Policy::new());
    for _ in 0..100 {
        let response = client.client().get("http://users/ok").send().await.unwrap();
        assert_eq!(response.url().as_str(), "http://users/ok");
        assert!(response.remote_addr().is_some());
        assert_eq!(response.text().await.unwrap(), "ok");
    }
    assert_eq!(a.calls() + b.calls(), 100);
    assert!(a.calls() > 20 && b.calls() > 20, "{} and {}", a.calls(), b.calls());
    assert!(client.snapshot().endpoints.iter().all(|e| e.in_flight == 0), "{client:?}");
}

#[tokio::test]
async fn no_caller_notices_a_killed_server() {
    let (a, b) = (HttpServer::start().await, HttpServer::start().await);
    let client = client(builder(&[&a, &b]), survive());
    for call in 0..200 {
        if call == 50 {
            a.kill();
        }
        let text = get(&client, "/ok").await.unwrap_or_else(|e| panic!("call {call}: {e:?}"));
        assert_eq!(text, "ok");
    }
    assert!(b.calls() >= 150);
}

#[tokio::test]
async fn no_caller_notices_a_hung_server() {
    let (a, b) = (HttpServer::start().await, HttpServer::start().await);
    let proxy = FaultProxy::start(a.address()).await;
    let addresses = [proxy.address().to_string(), b.address().to_string()];
    let client = client(seawall::http("users").endpoints(addresses), survive());
    for _ in 0..20 {
        get(&client, "/ok").await.unwrap();
    }
    proxy.set_both(Faults::BLACK_HOLE);
    for call in 0..20 {
        get(&client, "/ok").await.unwrap_or_else(|e| panic!("call {call}: {e:?}"));
    }
}

#[tokio::test]
async fn a_failing_status_is_tried_elsewhere_only_where_that_is_safe() {
    let (bad, good) = (HttpServer::start().await, HttpServer::start().await);
    bad.set_path(Some("/status/503"));
    let safe = client(builder(&[&bad, &good]), survive());
    for _ in 0..20 {
        get(&safe, "/ok").await.unwrap();
    }
    assert!(bad.calls() > 0, "some of 20 calls go to each of two servers");

    let unsafe_twice = client(builder(&[&bad, &good]), survive());
    let (before, mut failed) = (bad.calls() + good.calls(), 0);
    for _ in 0..20 {
        let post = unsafe_twice.client().post("http://users/ok").body("once");
        failed += u64::from(post.send().await.unwrap().status() == 503);
    }
    assert_eq!(bad.calls() + good.calls(), before + 20);
    assert!(failed > 0, "some of 20 calls go to each of two servers");
}

#[tokio::test]
async fn a_post_that_says_that_it_is_idempotent_is_tried_elsewhere() {
    let (bad, good) = (HttpServer::start().await, HttpServer::start().await);
    bad.set_path(Some("/status/503"));
    let client = client(builder(&[&bad, &good]), survive());
    for call in 0..20 {
        let post = client.client().post("http://users/echo").body("twice");
        let post = post.header("idempotency-key", call).send().await.unwrap();
        assert_eq!(post.text().await.unwrap(), "twice");
    }
}

#[tokio::test]
async fn an_empty_set_fails_in_bounded_time() {
    let wait = LoadBalance::new().wait_for_endpoints(Duration::from_millis(50));
    let builder = seawall::http("users").resolver(Memory::new());
    let client = client(builder, Policy::new().load_balance(wait));
    let call = tokio::time::timeout(Duration::from_secs(5), get(&client, "/ok"));
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(rejection(&error).map(|r| r.reason()), Some(Reason::NoEndpoint), "{error:?}");
}

#[tokio::test]
async fn a_limit_refuses_and_says_when() {
    let server = HttpServer::start().await;
    let one = 1.try_into().unwrap();
    let client = client(builder(&[&server]), Policy::new().rate_limit(RateLimit::per_second(one)));
    get(&client, "/ok").await.unwrap();
    let error = get(&client, "/ok").await.unwrap_err();
    let refused = rejection(&error).unwrap();
    assert_eq!(refused.reason(), Reason::LimitReached);
    assert!(refused.retry_after().is_some());
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let server = HttpServer::start().await;
    let client = client(builder(&[&server]), Policy::new().timeout(Duration::from_millis(100)));
    let call = tokio::time::timeout(Duration::from_secs(5), get(&client, "/hang"));
    let error = call.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("100ms"), "{error}");
    assert_eq!(client.snapshot().endpoints[0].in_flight, 0);
}

#[tokio::test]
async fn a_body_that_breaks_half_way_is_the_endpoints_failure() {
    let server = HttpServer::start().await;
    let client = client(builder(&[&server]), survive());
    let response = client.client().get("http://users/reset-after/100000").send().await.unwrap();
    response.bytes().await.unwrap_err();
    let endpoint = &client.snapshot().endpoints[0];
    assert_eq!((endpoint.errors, endpoint.in_flight), (1, 0), "{endpoint:?}");
}

#[tokio::test]
async fn it_is_a_tower_service_too() {
    use tower::ServiceExt;
    let server = HttpServer::start().await;
    let client = client(builder(&[&server]), Policy::new());
    let request = reqwest::Request::new(reqwest::Method::GET, "http://users/ok".parse().unwrap());
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "ok");
}
