//! Clients to look at while they run, and to act upon: a live page, JSON, events and metrics over
//! HTTP.
//!
//! | path | what |
//! |---|---|
//! | `GET /` | a live page, whole in itself: it needs no network but this server |
//! | `GET /snapshot` | every client's [`Snapshot`], as JSON |
//! | `GET /events` | the same, anew twice a second, as server-sent events |
//! | `GET /metrics` | the same in Prometheus' text format |
//! | `POST /actions` | an [`Action`](crate::Action), with the token only |
//!
//! It shows addresses and policies, so [`serve`](Admin::serve) listens on loopback only, and requests
//! must name a loopback host, as no page of another site can have a browser do (DNS rebinding).
//! [`public`](Admin::public) lifts both, for networks that keep others out.
//!
//! Without a [`token`](Admin::token) there are no actions. With one, an action is a `POST` of JSON with
//! the header `authorization: Bearer <token>`, which a browser attaches to no request of another site:
//! nothing is accepted from cookies, no such site is given leave, and requests that come from one are
//! refused.
//!
//! # Examples
//!
//! ```no_run
//! # async fn run(orders: seawall::grpc::GrpcClient, users: seawall::http::HttpClient) -> std::io::Result<()> {
//! use seawall::admin::Admin;
//!
//! let admin = Admin::new().grpc(&orders).http(&users);
//! tokio::spawn(admin.serve(([127, 0, 0, 1], 9901).into()));
//! # Ok(())
//! # }
//! ```

mod actions;
mod events;
mod guard;
mod prometheus;

use std::{fmt, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    middleware,
    response::{IntoResponse, Response, Sse},
    routing::{get, post},
};
use seawall_core::ConfigError;
use tokio::net::TcpListener;

use self::{events::Events, guard::Guard};
use crate::{Snapshot, act::Act};

/// The shortest token that is accepted.
const TOKEN_BYTES: usize = 16;

/// What the page may do: nothing but what is in it, and ask this server.
const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Shows clients over HTTP. It keeps a clone of each.
#[derive(Clone, Default)]
#[must_use = "it shows nothing until it is served"]
pub struct Admin {
    clients: Vec<Arc<dyn Act>>,
    token: Option<Arc<str>>,
    public: bool,
}

/// What the handlers share.
#[derive(Clone)]
struct Shown {
    clients: Arc<[Arc<dyn Act>]>,
    guard: Arc<Guard>,
}

impl Admin {
    /// Without clients yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows this client too.
    #[cfg(feature = "tonic")]
    pub fn grpc(mut self, client: &crate::grpc::GrpcClient) -> Self {
        self.clients.push(client.watched());
        self
    }

    /// Shows this client too.
    #[cfg(feature = "reqwest")]
    pub fn http(mut self, client: &crate::http::HttpClient) -> Self {
        self.clients.push(client.watched());
        self
    }

    /// Lets those who have this token act. It is compared in a time that says nothing of it.
    ///
    /// # Errors
    ///
    /// When it is shorter than 16 bytes, which can be guessed, or cannot stand in a header.
    pub fn token(mut self, token: &str) -> Result<Self, ConfigError> {
        if token.len() < TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            // The value is a secret.
            let want = "at least 16 visible ASCII characters";
            return Err(ConfigError::new("token", "(not shown)", want));
        }
        self.token = Some(token.into());
        Ok(self)
    }

    /// Listens on any address and answers under any host name. What is shown is for everybody who
    /// can reach it then; actions still want the token.
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// The pages, to be served by a server of your own or put below a path of it (`Router::nest`).
    pub fn router(self) -> Router {
        let guard = Arc::new(Guard { token: self.token, public: self.public });
        let shown = Shown { clients: self.clients.into(), guard };
        Router::new()
            .route("/", get(page))
            .route("/snapshot", get(snapshot))
            .route("/events", get(events))
            .route("/metrics", get(metrics))
            .route("/actions", post(actions::act))
            .layer(middleware::from_fn_with_state(shown.clone(), guard::hosts))
            .with_state(shown)
    }

    /// Serves the pages at this address until it fails or is dropped.
    ///
    /// # Errors
    ///
    /// When the address is not on loopback and this is not [`public`](Self::public), or is taken.
    pub async fn serve(self, address: SocketAddr) -> io::Result<()> {
        if !self.public && !address.ip().is_loopback() {
            let what = format!("{address} is not on loopback, and the pages are not public");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let listener = TcpListener::bind(address).await?;
        axum::serve(listener, self.router()).await
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("clients", &self.clients.len())
            .field("acts", &self.token.is_some())
            .field("public", &self.public)
            .finish()
    }
}

impl Shown {
    fn snapshots(&self) -> Vec<Snapshot> {
        self.clients.iter().map(|client| client.snapshot()).collect()
    }

    fn json(&self) -> String {
        // Maps have texts for keys, so that this cannot fail.
        serde_json::to_string(&self.snapshots()).unwrap_or_default()
    }
}

const NOT_KEPT: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        NOT_KEPT,
    ];
    (headers, include_str!("admin/page.html")).into_response()
}

async fn snapshot(State(shown): State<Shown>) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), NOT_KEPT], shown.json()).into_response()
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let text = prometheus::text(&shown.snapshots());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4"), NOT_KEPT], text).into_response()
}

async fn events(State(shown): State<Shown>) -> Response {
    Sse::new(Events::new(shown)).into_response()
}

fn refuse(status: StatusCode, why: &'static str) -> Response {
    (status, [NOT_KEPT], why).into_response()
}
