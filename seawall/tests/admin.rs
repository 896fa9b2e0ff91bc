//! The pages of clients, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;

use reqwest::{Client, StatusCode, header};
use seawall::{admin::Admin, grpc::GrpcClient, http::HttpClient, policy::Policy};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const TOKEN: &str = "a-token-of-some-length";

struct Setting {
    url: String,
    orders: GrpcClient,
    _users: HttpClient,
    endpoint: String,
    servers: (GrpcServer, HttpServer),
}

async fn setting(admin: impl FnOnce(Admin) -> Admin) -> Setting {
    let servers = (GrpcServer::start().await, HttpServer::start().await);
    let endpoint = servers.0.address().to_string();
    let policy = Policy::from_yaml("hedge: { delay: 1s }\nrate_limit: { limit: 1000, period: 1s }");
    let orders = seawall::grpc("orders").endpoints([endpoint.clone()]).policy(policy.unwrap());
    let orders = orders.build().unwrap();
    let users = seawall::http("users").endpoints([servers.1.address().to_string()]);
    let users = users.build().unwrap();
    EchoClient::new(orders.clone()).unary(EchoRequest::default()).await.unwrap();
    let router = admin(Admin::new().grpc(&orders).http(&users)).router();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Setting { url, orders, _users: users, endpoint, servers }
}

fn with_token(admin: Admin) -> Admin {
    admin.token(TOKEN).unwrap()
}

impl Setting {
    async fn get(&self, path: &str) -> String {
        let response = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        response.error_for_status().unwrap().text().await.unwrap()
    }

    fn action(&self, action: &str) -> reqwest::RequestBuilder {
        let asked = json!({ "client": "orders", "endpoint": self.endpoint, "action": action });
        Client::new()
            .post(format!("{}/actions", self.url))
            .header(header::CONTENT_TYPE, "application/json")
            .body(asked.to_string())
    }

    async fn act(&self, action: &str) -> StatusCode {
        self.action(action).bearer_auth(TOKEN).send().await.unwrap().status()
    }
}

#[tokio::test]
async fn all_clients_are_shown_as_json_events_and_metrics() {
    let setting = setting(|admin| admin).await;
    let check = |clients: &Value| {
        assert_eq!(clients[0]["service"], "orders");
        assert_eq!(clients[1]["service"], "users");
        assert_eq!(clients[0]["version"], 1);
        let endpoint = &clients[0]["endpoints"][0];
        assert_eq!(endpoint["id"], setting.endpoint);
        assert_eq!((&endpoint["calls"], &endpoint["standing"]), (&json!(1), &json!("in")));
        assert_eq!(
            (&endpoint["state"], &endpoint["mode"]),
            (&json!("closed"), &json!("automatic"))
        );
        assert_eq!(clients[0]["limiter"]["allowed"], 1);
        assert_eq!(clients[0]["budget"]["calls"], 1);
        assert_eq!(clients[0]["hedge"]["delay"], "1s");
        assert_eq!(clients[0]["policy"]["hedge"]["delay"], "1s");
    };
    check(&serde_json::from_str(&setting.get("/snapshot").await).unwrap());

    let mut response = reqwest::get(format!("{}/events", setting.url)).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut text = String::new();
    while text.matches("\n\n").count() < 2 {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    for event in text.split("\n\n").take(2) {
        check(&serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap());
    }

    let metrics = setting.get("/metrics").await;
    let endpoint = &setting.endpoint;
    for line in [
        &*format!(
            "seawall_attempts_total{{client=\"orders\",service=\"orders\",endpoint=\"{endpoint}\"}} 1"
        ),
        &*format!(
            "seawall_breaker_state{{client=\"orders\",service=\"orders\",endpoint=\"{endpoint}\"}} 0"
        ),
        "seawall_limit_allowed_total{client=\"orders\",route=\"\"} 1",
        "seawall_hedges_total{client=\"orders\",route=\"\"} 0",
        "seawall_policy_version{client=\"users\"} 1",
        "# TYPE seawall_attempts_total counter",
    ] {
        assert!(metrics.lines().any(|is| is == line), "{line} in {metrics}");
    }
    let page = setting.get("/").await;
    assert!(page.contains("EventSource"));
    let page = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!page.contains("http://"), "it works without a network");
    assert!(!page.contains("https://"), "it works without a network");
}

#[tokio::test]
async fn with_the_token_endpoints_are_acted_upon() {
    let setting = setting(with_token).await;
    let endpoint = || setting.orders.snapshot().endpoints.remove(0);
    let call = || EchoClient::new(setting.orders.clone());
    let hello = EchoRequest::default;

    assert_eq!(setting.act("open_breaker").await, StatusCode::NO_CONTENT);
    assert_eq!(endpoint().state, "open");
    call().unary(hello()).await.unwrap_err();
    assert_eq!(setting.act("free_breaker").await, StatusCode::NO_CONTENT);
    call().unary(hello()).await.unwrap();

    assert_eq!(setting.act("eject").await, StatusCode::NO_CONTENT);
    assert!(endpoint().ejected_for.unwrap().as_secs() >= 25);
    assert_eq!(setting.act("eject").await, StatusCode::CONFLICT);
    assert_eq!(setting.act("uneject").await, StatusCode::NO_CONTENT);
    assert_eq!(endpoint().ejected_for, None);

    assert_eq!(setting.act("drain").await, StatusCode::NO_CONTENT);
    assert_eq!(json!(endpoint().standing), "drained");
    assert_eq!(setting.act("undrain").await, StatusCode::NO_CONTENT);
    call().unary(hello()).await.unwrap();
    assert_eq!(setting.servers.0.calls(), 3);

    let elsewhere = json!({ "client": "orders", "endpoint": "nobody", "action": "drain" });
    let elsewhere = setting.action("").bearer_auth(TOKEN).body(elsewhere.to_string());
    assert_eq!(elsewhere.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(setting.act("explode").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_the_token_nothing_is_done() {
    let guarded = setting(with_token).await;
    let send = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    let drain = || guarded.action("drain");
    assert_eq!(send(drain()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(drain().bearer_auth("a-token-of-some-lengtH")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(drain().basic_auth(TOKEN, Some(TOKEN))).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(drain().header("cookie", format!("token={TOKEN}"))).await, 401);
    // What a page of another site can have a browser send.
    let foreign = drain().bearer_auth(TOKEN).header("sec-fetch-site", "cross-site");
    assert_eq!(send(foreign).await, StatusCode::FORBIDDEN);
    let form = Client::new().post(format!("{}/actions", guarded.url)).bearer_auth(TOKEN);
    let form = form.header(header::CONTENT_TYPE, "text/plain").body("{}");
    assert_eq!(send(form).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let preflight =
        Client::new().request(reqwest::Method::OPTIONS, format!("{}/actions", guarded.url));
    let preflight = preflight.header("origin", "http://evil.example").send().await.unwrap();
    assert!(!preflight.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    let get = Client::new().get(format!("{}/actions", guarded.url)).bearer_auth(TOKEN);
    assert_eq!(send(get).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(json!(guarded.orders.snapshot().endpoints[0].standing), "in");

    let open = setting(|admin| admin).await;
    assert_eq!(send(open.action("drain").bearer_auth(TOKEN)).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn only_loopback_is_listened_on_and_asked_for_unless_told() {
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = Admin::new().serve(anywhere).await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    // A name that leads here, as a page of another site may have one.
    let host =
        |url: &str| Client::new().get(format!("{url}/snapshot")).header("host", "evil.example");
    let kept = setting(|admin| admin).await;
    assert_eq!(host(&kept.url).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let public = setting(Admin::public).await;
    assert_eq!(host(&public.url).send().await.unwrap().status(), StatusCode::OK);
    for token in ["", "short", "with a space in it"] {
        let error = Admin::new().token(token).unwrap_err().to_string();
        assert!(token.is_empty() || !error.contains(token), "{error}");
    }
}
