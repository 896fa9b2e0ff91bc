//! Servers answer for themselves when the limit is reached.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{convert::Infallible, net::IpAddr, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::{HeaderValue, Request, Response, StatusCode, header};
use seawall_rate_limit::{
    Clock, KeyedLimiter, Quota, RateLimiter, TokenBucket,
    algorithm::Several,
    key::{ForwardedFor, GrpcMethod, Header, Path, Peer, WithoutKey},
    server::{Headers, ServerLayer},
};
use seawall_test_support::{Probe, Reply};
use tower::{Layer, Service, ServiceExt, service_fn};

fn limiter() -> RateLimiter {
    let (clock, _hand) = Clock::manual();
    RateLimiter::new(Quota::per_minute(100).burst(2)).unwrap().with_clock(clock)
}

fn hello(layer: ServerLayer) -> Router {
    Router::new().route("/", get(|| async { "hello" })).layer(layer)
}

async fn ask(app: &Router) -> Response<Body> {
    app.clone().oneshot(Request::new(Body::empty())).await.unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_response_tells_the_policy_and_what_is_left_of_it() {
    let app = hello(ServerLayer::new(limiter()));
    let response = ask(&app).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "ratelimit-policy"), Some("\"default\";q=2;w=2"));
    assert_eq!(header(&response, "ratelimit"), Some("\"default\";r=1;t=1"));
    assert_eq!(header(&response, "retry-after"), None);
    ask(&app).await;

    let response = ask(&app).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&response, "ratelimit"), Some("\"default\";r=0;t=2"));
    assert_eq!(header(&response, "retry-after"), Some("1"), "0.6 s, rounded up");
}

#[tokio::test]
async fn of_several_limits_all_are_told_and_the_scarcest_is_the_one_that_is_spoken_of() {
    let limits = |second, hour| {
        Several::new([
            TokenBucket::new(Quota::per_second(second)).unwrap(),
            TokenBucket::new(Quota::per_hour(hour)).unwrap(),
        ])
        .unwrap()
    };
    let limiter = RateLimiter::of(limits(9, 4)).named("api").with_clock(Clock::manual().0);
    let app: Router =
        Router::new().route("/", get(|| async { "" })).layer(ServerLayer::new(limiter.clone()));
    let told = async || {
        let response = ask(&app).await;
        let value = |name| header(&response, name).unwrap().to_owned();
        (value("ratelimit-policy"), value("ratelimit"))
    };
    let policy = "\"api-1\";q=9;w=1, \"api-2\";q=4;w=3600";
    assert_eq!(told().await, (policy.to_owned(), "\"api-2\";r=3;t=900".to_owned()));
    limiter.reconfigure(limits(9, 5));
    let policy = "\"api-1\";q=9;w=1, \"api-2\";q=5;w=3600";
    assert_eq!(told().await, (policy.to_owned(), "\"api-2\";r=2;t=2160".to_owned()));
    told().await;
    told().await;
    assert_eq!(ask(&app).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(told().await, (policy.to_owned(), "\"api-2\";r=0;t=3600".to_owned()));
}

#[tokio::test]
async fn older_headers_by_choice() {
    let app = hello(ServerLayer::new(limiter()).headers(Headers::Legacy));
    let response = ask(&app).await;
    assert_eq!(header(&response, "x-ratelimit-limit"), Some("2"));
    assert_eq!(header(&response, "x-ratelimit-remaining"), Some("1"));
    assert_eq!(header(&response, "x-ratelimit-reset"), Some("1"));
    assert_eq!(header(&response, "ratelimit"), None);

    let app = hello(ServerLayer::new(limiter()).headers(Headers::Separate));
    assert_eq!(header(&ask(&app).await, "ratelimit-remaining"), Some("1"));

    let app = hello(ServerLayer::new(limiter()).headers(Headers::Nothing));
    assert_eq!(
        ask(&app).await.headers().keys().filter(|n| n.as_str().contains("limit")).count(),
        0
    );
    ask(&app).await;
    assert_eq!(header(&ask(&app).await, "retry-after"), Some("1"), "a refusal has it in any case");
}

#[tokio::test]
async fn routes_and_clones_share_the_limit() {
    let layer = ServerLayer::new(limiter().named("api"));
    let app = Router::new()
        .route("/", get(|| async { "one" }))
        .route("/two", get(|| async { "two" }))
        .layer(layer);
    ask(&app).await;
    let two = Request::get("/two").body(Body::empty()).unwrap();
    assert_eq!(app.clone().oneshot(two).await.unwrap().status(), StatusCode::OK);
    let response = ask(&app).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&response, "ratelimit"), Some("\"api\";r=0;t=2"));
}

#[tokio::test]
async fn callers_are_limited_by_their_keys() {
    let limiter = KeyedLimiter::<HeaderValue>::new(Quota::per_hour(1), 100).unwrap();
    let key = |request: &Request<Body>| request.headers().get("x-api-key").cloned();
    let app = |without_key| {
        let by_key = limiter.clone().named("keys").by(key).without_key(without_key);
        Router::new().route("/", get(|| async { "hello" })).layer(ServerLayer::new(by_key))
    };
    let ask = async |app: &Router, key: Option<&str>| {
        let mut request = Request::builder();
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (response.status().as_u16(), response.headers().contains_key("retry-after"))
    };

    let shared = app(WithoutKey::Share);
    for key in [Some("alice"), Some("bob"), None] {
        assert_eq!(ask(&shared, key).await, (200, false), "{key:?}");
        assert_eq!(ask(&shared, key).await, (429, true), "{key:?}");
    }
    let passed = app(WithoutKey::Pass);
    for _ in 0..3 {
        assert_eq!(ask(&passed, None).await, (200, false));
    }
    assert_eq!(ask(&passed, Some("alice")).await, (200, false), "a limiter of its own");
    assert_eq!(ask(&passed, Some("alice")).await, (429, true));
    let refused = app(WithoutKey::Refuse);
    assert_eq!(ask(&refused, None).await, (429, false), "there is nothing to come back for");
    assert_eq!(ask(&refused, Some("carol")).await, (200, false));
}

#[tokio::test]
async fn a_grpc_call_is_refused_in_its_own_terms() {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::from("from the service")))
    });
    let mut service = ServerLayer::new(limiter()).layer(inner);
    let request = |content_type: &str| {
        Request::builder().header(header::CONTENT_TYPE, content_type).body(()).unwrap()
    };
    for _ in 0..2 {
        let response = service.ready().await.unwrap().call(request("application/grpc"));
        assert_eq!(response.await.unwrap().body(), "from the service");
    }
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc-web"] {
        let response = service.ready().await.unwrap().call(request(content_type)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(response.headers()["grpc-status"], "8");
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "600");
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(response.body().is_empty());
    }
    let response = service.ready().await.unwrap().call(request("application/json")).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_refusal_gives_back_what_the_service_inside_held_ready() {
    let probe =
        Probe::<Request<()>, Response<()>, Infallible>::new(|_| Reply::ok(Response::new(())));
    let handle = probe.handle();
    let limiter = limiter();
    let _ = limiter.check_n(2);
    let mut service = ServerLayer::new(limiter).layer(probe.capacity(1));
    let response = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((handle.reserved(), handle.calls()), (0, 0));
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn an_axum_server_refuses_on_the_wire() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, hello(ServerLayer::new(limiter()))).await });
    let client = reqwest::Client::new();
    for _ in 0..2 {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "hello");
    }
    let response = client.get(&url).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["ratelimit-policy"], "\"default\";q=2;w=2");
    assert_eq!(response.text().await.unwrap(), "");
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn a_tonic_server_refuses_on_the_wire() {
    use seawall_test_support::{EchoClient, EchoRequest};
    use tonic::{Code, service::Routes, transport::Server, transport::server::TcpIncoming};

    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let server = Server::builder()
        .layer(ServerLayer::new(limiter()))
        .add_routes(Routes::default())
        .serve_with_incoming(incoming);
    tokio::spawn(server);

    let mut client = EchoClient::connect(url).await.unwrap();
    for _ in 0..2 {
        let status = client.unary(EchoRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "the server's own answer");
    }
    let status = client.unary(EchoRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "rate limit is reached, retry after 600ms");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "600");
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    headers.remove("grpc-retry-pushback-ms");
    let info = seawall_core::tonic::pushback(&headers);
    assert_eq!(info, seawall_core::Retry::After(Duration::from_millis(600)), "as RetryInfo too");
}

#[tokio::test]
async fn the_headers_are_those_of_the_draft() {
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_minute(100)).unwrap().with_clock(clock);
    limiter.check_n(49).unwrap();
    let response = ask(&hello(ServerLayer::new(limiter))).await;
    assert_eq!(header(&response, "ratelimit-policy"), Some("\"default\";q=100;w=60"));
    assert_eq!(header(&response, "ratelimit"), Some("\"default\";r=50;t=30"));
}

#[tokio::test]
async fn a_request_costs_what_a_function_says() {
    let cost = |request: &Request<Body>| if request.uri().path() == "/" { 1 } else { 40 };
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_minute(100)).unwrap().with_clock(clock);
    let app = Router::new()
        .route("/", get(|| async { "cheap" }))
        .route("/report", get(|| async { "dear" }))
        .layer(ServerLayer::new(limiter.clone()).cost(cost));
    let report = || Request::get("/report").body(Body::empty()).unwrap();
    for expected in [200, 200, 429] {
        assert_eq!(app.clone().oneshot(report()).await.unwrap().status(), expected);
    }
    assert_eq!(ask(&app).await.status(), 200);
    assert_eq!(limiter.snapshot().remaining, 19);
}

#[tokio::test]
async fn keys_of_other_plans_are_told_their_own_policy_also_after_a_change() {
    let plans = [Quota::per_minute(10), Quota::per_minute(600)];
    let limiter = KeyedLimiter::<[u8]>::with_plans(&plans, 100)
        .unwrap()
        .with_clock(Clock::manual().0)
        .plan_by(|key| usize::from(key.starts_with(b"paid")));
    let layer = ServerLayer::new(limiter.clone().by(Header::new("x-api-key")));
    let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
    let policy = async |key: &str| {
        let request = Request::get("/").header("x-api-key", key).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        header(&response, "ratelimit-policy").unwrap().to_owned()
    };
    assert_eq!(policy("alice").await, "\"default\";q=10;w=60");
    assert_eq!(policy("paid-bob").await, "\"default\";q=600;w=60");
    limiter.set_quota(Quota::per_minute(20)).unwrap();
    assert_eq!(policy("alice").await, "\"default\";q=20;w=60");
}

#[tokio::test]
async fn each_path_each_method_and_each_forwarded_address_has_a_limit_of_its_own() {
    async fn statuses<K, X>(
        limiter: KeyedLimiter<K>,
        find: X,
        requests: Vec<Request<()>>,
    ) -> Vec<u16>
    where
        K: std::hash::Hash + ?Sized,
        X: seawall_rate_limit::key::FindKey<Request<()>, Key = K> + Clone,
    {
        // A body of any type will do.
        let inner =
            service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Vec::<u8>::new())));
        let service = ServerLayer::new(limiter.by(find)).layer(inner);
        let mut statuses = Vec::new();
        for request in requests {
            statuses.push(service.clone().oneshot(request).await.unwrap().status().as_u16());
        }
        statuses
    }
    let get = |path: &str| Request::get(path).body(()).unwrap();
    let hour = Quota::per_hour(1);

    let paths = vec![get("/a?x=1"), get("/b"), get("/a?x=2")];
    let limiter = KeyedLimiter::<str>::new(hour, 10).unwrap();
    assert_eq!(statuses(limiter, Path, paths).await, [200, 200, 429]);

    let call = |path: &str| {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/grpc");
        request.body(()).unwrap()
    };
    let limiter = KeyedLimiter::<str>::new(hour, 10).unwrap();
    let calls = vec![call("/a.A/X"), call("/a.A/Y"), call("/a.A/X"), get("/a.A/X")];
    // The third is refused in the terms of gRPC, the last has no key.
    assert_eq!(statuses(limiter.clone(), GrpcMethod, calls).await, [200, 200, 200, 200]);
    assert!(limiter.check("/a.A/X").is_err());

    let from = |line: &str| Request::get("/").header("x-forwarded-for", line).body(()).unwrap();
    let limiter = KeyedLimiter::<IpAddr>::new(hour, 10).unwrap();
    let made_up = vec![from("1.1.1.1, 9.9.9.9"), from("2.2.2.2, 9.9.9.9"), from("9.9.9.8")];
    assert_eq!(statuses(limiter, ForwardedFor::trusting(1), made_up).await, [200, 429, 200]);
}

#[cfg(all(feature = "axum", feature = "reqwest"))]
#[tokio::test]
async fn the_peer_of_an_axum_server_is_limited_by_its_address() {
    let limiter = KeyedLimiter::<IpAddr>::new(Quota::per_hour(1), 10).unwrap();
    let by_peer = limiter.by(Peer).without_key(WithoutKey::Refuse);
    let app: Router =
        Router::new().route("/", get(|| async { "hello" })).layer(ServerLayer::new(by_peer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    // Two connections, one address.
    assert_eq!(reqwest::Client::new().get(&url).send().await.unwrap().status(), 200);
    let refused = reqwest::Client::new().get(&url).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"), "it has a key");
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn the_peer_of_a_tonic_server_is_limited_by_its_address() {
    use seawall_test_support::{EchoClient, EchoRequest};
    use tonic::{Code, service::Routes, transport::Server, transport::server::TcpIncoming};

    let limiter = KeyedLimiter::<IpAddr>::new(Quota::per_hour(1), 10).unwrap();
    let by_peer = limiter.by(Peer).without_key(WithoutKey::Refuse);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let server = Server::builder()
        .layer(ServerLayer::new(by_peer))
        .add_routes(Routes::default())
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    for code in [Code::Unimplemented, Code::ResourceExhausted] {
        let mut client = EchoClient::connect(url.clone()).await.unwrap();
        assert_eq!(client.unary(EchoRequest::default()).await.unwrap_err().code(), code);
    }
}
