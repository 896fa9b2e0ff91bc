//! What an HTTP caller gets when its call has failed for good.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use seawall::{
    Answer, Because, Degraded, DegradedFrom, Failed,
    core::{Clock, Endpoint, Reason},
    discovery::Fixed,
    http::{HttpBuilder, HttpClient},
    policy::{CircuitBreaker, Fallback, Policy, Stale, Value},
};
use seawall_test_support::HttpServer;

fn at(address: impl ToString) -> HttpBuilder {
    seawall::http("users").endpoints([address.to_string()])
}

fn client(builder: HttpBuilder, policy: Policy) -> HttpClient {
    builder.policy(policy).build().expect("the policy is valid")
}

fn degraded(response: &reqwest::Response) -> Option<&Degraded> {
    response.extensions().get()
}

async fn get(client: &HttpClient, path: &str) -> reqwest::Response {
    client.client().get(format!("http://users{path}")).send().await.expect("there is a response")
}

fn list() -> Policy {
    let value = Value::body("[]").status(203).header("content-type", "application/json");
    Policy::new().fallback(Fallback::new().value(value))
}

#[tokio::test]
async fn a_value_stands_in_for_a_failed_call_and_is_marked() {
    let server = HttpServer::start().await;
    let client = client(at(server.address()), list());
    assert!(degraded(&get(&client, "/ok").await).is_none());
    let response = get(&client, "/status/503").await;
    let mark = degraded(&response).expect("it is marked");
    assert_eq!(mark.from, DegradedFrom::Value);
    assert!(matches!(mark.because, Because::Answered(503)), "{mark:?}");
    assert_eq!(response.status(), 203);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.url().as_str(), "http://users/status/503");
    assert_eq!(response.text().await.unwrap(), "[]");
    assert_eq!(get(&client, "/status/404").await.status(), 404);
    server.kill();
    assert_eq!(get(&client, "/ok").await.text().await.unwrap(), "[]");
}

#[tokio::test]
async fn it_answers_for_the_limit_and_for_the_deadline() {
    let server = HttpServer::start().await;
    let policy = Policy::from_yaml(
        "{ timeout: 100ms, rate_limit: { limit: 1, period: 1h }, fallback: { value: { body: none } } }",
    );
    let client = client(at(server.address()), policy.unwrap());
    let late = get(&client, "/hang").await;
    assert!(matches!(degraded(&late).unwrap().because, Because::TimedOut(_)), "{late:?}");
    let refused = get(&client, "/ok").await;
    match &degraded(&refused).unwrap().because {
        Because::Rejected(rejection) => assert_eq!(rejection.reason(), Reason::LimitReached),
        other => panic!("{other:?}"),
    }
    assert_eq!(refused.text().await.unwrap(), "none");
}

#[tokio::test]
async fn another_service_answers_with_a_deadline_of_its_own() {
    let (main, other) = (HttpServer::start().await, HttpServer::start().await);
    let endpoint = |server: &HttpServer| {
        let address = server.address();
        Endpoint::new(address.to_string(), address.try_into().unwrap())
    };
    let registry = Fixed::new().with("users", [endpoint(&main)]).unwrap();
    let registry = registry.with("replica", [endpoint(&other)]).unwrap();
    let policy = Policy::from_yaml(
        "{ timeout: 100ms, fallback: { service: { name: replica, timeout: 5s } } }",
    );
    let client = client(seawall::http("users").resolver(registry), policy.unwrap());
    main.set_path(Some("/hang"));
    other.set_path(Some("/echo"));
    let post = client.client().post("http://users/echo").body("an order").send().await.unwrap();
    assert_eq!(degraded(&post).unwrap().from, DegradedFrom::Service("replica".into()));
    assert_eq!(post.text().await.unwrap(), "an order");
    // Where that fails too, the caller sees what became of its own call.
    other.kill();
    let error = client.client().post("http://users/echo").body("x").send().await.unwrap_err();
    assert!(error.to_string().contains("100ms"), "{error}");
}

/// A server of pages, which shows whom it believes to talk to, and fails on demand.
async fn pages() -> (String, Arc<AtomicBool>) {
    async fn page(State(fails): State<Arc<AtomicBool>>, request: Request) -> Response {
        if fails.load(Relaxed) {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        let who = request.headers().get("authorization").map_or("nobody", |v| v.to_str().unwrap());
        let text = format!("{} for {who}", request.uri());
        let mut headers = HeaderMap::new();
        match request.uri().path() {
            "/secret" => {
                drop(headers.insert("cache-control", "private, no-store".parse().unwrap()))
            }
            "/varies" => drop(headers.insert("vary", "Accept, X-Tenant".parse().unwrap())),
            _ => {}
        }
        (headers, text).into_response()
    }
    let fails = Arc::new(AtomicBool::new(false));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(page).with_state(fails.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, fails)
}

async fn asked(client: &HttpClient, path: &str, who: &str) -> (u16, String) {
    let request = client.client().get(format!("http://users{path}"));
    let response = request.header("authorization", who).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn the_last_good_response_is_given_to_who_asked_for_it() {
    let (address, fails) = pages().await;
    let breaker = CircuitBreaker::new().failure_threshold(1000);
    let policy = Policy::new().circuit_breaker(breaker);
    let policy = policy.fallback(Fallback::new().stale(Stale::new()));
    let client = client(at(&address), policy);
    for (path, who) in
        [("/a?x=1", "ann"), ("/a?x=1", "bob"), ("/secret", "ann"), ("/varies", "ann")]
    {
        assert_eq!(asked(&client, path, who).await.0, 200);
    }
    let post = client.client().post("http://users/a?x=1").body("x").send().await.unwrap();
    post.text().await.unwrap();
    fails.store(true, Relaxed);
    for who in ["ann", "bob"] {
        assert_eq!(asked(&client, "/a?x=1", who).await, (200, format!("/a?x=1 for {who}")));
    }
    for (path, who) in
        [("/a?x=2", "ann"), ("/a?x=1", "eve"), ("/secret", "ann"), ("/varies", "ann")]
    {
        assert_eq!(asked(&client, path, who).await.0, 502, "{path} for {who}");
    }
    let post = client.client().post("http://users/a?x=1").body("x").send().await.unwrap();
    assert_eq!(post.status(), 502, "what was posted is not done from memory");
}

#[tokio::test]
async fn a_response_that_is_too_old_is_not_given() {
    let (address, fails) = pages().await;
    let (clock, time) = Clock::manual();
    let stale = Stale::new().max_age(Duration::from_secs(60));
    let policy = Policy::new().fallback(Fallback::new().stale(stale));
    let client = client(at(&address).clock(clock), policy);
    get(&client, "/a").await.text().await.unwrap();
    fails.store(true, Relaxed);
    time.advance(Duration::from_secs(60));
    let response = get(&client, "/a").await;
    let age = DegradedFrom::Stale { age: Duration::from_secs(60) };
    assert_eq!(degraded(&response).unwrap().from, age);
    time.advance(Duration::from_millis(1));
    assert_eq!(get(&client, "/a").await.status(), 502);
}

#[tokio::test]
async fn a_function_sees_the_call_and_may_have_no_answer() {
    let server = HttpServer::start().await;
    let builder = at(server.address()).fallback(async |failed: Failed| {
        assert_eq!(failed.method, "GET");
        failed.path.ends_with("500").then(|| Answer::new("made up"))
    });
    let client = client(builder, Policy::new());
    let response = get(&client, "/status/500").await;
    assert_eq!(degraded(&response).unwrap().from, DegradedFrom::Function);
    assert_eq!(response.text().await.unwrap(), "made up");
    assert_eq!(get(&client, "/status/502").await.status(), 502);
}

#[tokio::test]
async fn each_route_has_its_own() {
    let server = HttpServer::start().await;
    let policy = Policy::from_yaml(
        "
fallback: { value: { body: of all } }
routes:
  - match: [{ path: /status/501 }]
    fallback: { value: { body: of the route } }
  - match: [{ path: /status/502 }]
    fallback: null
",
    );
    let client = client(at(server.address()), policy.unwrap());
    assert_eq!(get(&client, "/status/500").await.text().await.unwrap(), "of all");
    assert_eq!(get(&client, "/status/501").await.text().await.unwrap(), "of the route");
    assert_eq!(get(&client, "/status/502").await.status(), 502);
}

#[tokio::test]
async fn a_value_for_grpc_is_refused() {
    let policy = Policy::from_yaml("fallback: { value: { message: '' } }").unwrap();
    let error = seawall::http("users").endpoints(["a:1"]).policy(policy).build().unwrap_err();
    assert!(error.to_string().contains("`fallback.value.message` is present"), "{error}");
}
