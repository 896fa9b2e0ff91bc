//! Requests to an agent, bounded in time and in size.

use std::{error::Error as StdError, fmt, time::Duration};

use reqwest::{Client, Method, Response, Url};
use tokio::{sync::Semaphore, time::timeout};

use super::{Query, route::Route, settings::Settings};
use crate::{RegisterError, wire};

const INDEX: &str = "x-consul-index";
const TOKEN: &str = "x-consul-token";
/// Refusals say what is wrong in a line or two.
const REFUSAL_MAX: usize = 16 << 10;

/// The agents that can be asked.
pub(super) struct Http {
    pub(super) route: Route,
    peers: Vec<Peer>,
    settings: Settings,
}

/// An agent's HTTP API.
pub(super) struct Peer {
    /// Registrations and heartbeats, which never queue behind queries that wait.
    pub(super) control: Client,
    /// Bounds those: many leases of one process would take all connections that Consul grants.
    pub(super) places: Semaphore,
    pub(super) waiting: Client,
    pub(super) base: Url,
    /// What errors call it.
    pub(super) name: String,
}

/// The agent to ask.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    peer: &'a Peer,
    settings: &'a Settings,
}

/// What an agent answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The index to wait beyond; 0 if there is none that makes sense.
    pub(super) index: u64,
    pub(super) body: Vec<u8>,
}

impl Http {
    /// `peers` holds at least one.
    pub(super) fn new(peers: Vec<Peer>, settings: Settings) -> Self {
        Self { route: Route::new(peers.len()), peers, settings }
    }

    /// The agent at `place`, which the route gave.
    pub(super) fn at(&self, place: usize) -> At<'_> {
        At { peer: &self.peers[place], settings: &self.settings }
    }
}

impl<'a> At<'a> {
    pub(super) fn name(self) -> &'a str {
        &self.peer.name
    }

    /// Fails unless the agent knows a leader.
    pub(super) async fn leader(self) -> Result<(), RegisterError> {
        let answer = self.ask(&["v1", "status", "leader"]).await?;
        // The address of the leader, as a JSON string.
        if answer.body.iter().any(u8::is_ascii_digit) {
            return Ok(());
        }
        let message = "it knows no leader".to_owned();
        Err(RegisterError::Unavailable { registry: self.name().to_owned(), message })
    }

    /// Takes an instance out; one that is not there is as good as taken out.
    pub(super) async fn deregister(self, id: &str) -> Result<(), RegisterError> {
        match self.put(&["v1", "agent", "service", "deregister", id], &[], Vec::new()).await {
            Err(RegisterError::Unknown { .. }) => Ok(()),
            result => result,
        }
    }

    /// Asks what does not wait for a change.
    pub(super) async fn ask(self, path: &[&str]) -> Result<Answer, RegisterError> {
        self.command(Method::GET, self.url(path, &[]), None).await
    }

    pub(super) async fn put(
        self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(), RegisterError> {
        self.command(Method::PUT, self.url(path, query), Some(body)).await.map(drop)
    }

    async fn command(
        self,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, RegisterError> {
        // The semaphore is never closed.
        let _place = self.peer.places.acquire().await.ok();
        let limit = self.settings.request_timeout;
        self.send(&self.peer.control, method, url, body, limit).await
    }

    /// What is there now, or once it changed since `index`, which Consul holds for up to `wait` and
    /// a sixteenth.
    pub(super) async fn watch(
        self,
        path: &[&str],
        query: &Query,
        index: Option<u64>,
        wait: Duration,
    ) -> Result<Answer, RegisterError> {
        let mut url = self.url(path, &[]);
        let mut limit = self.settings.request_timeout;
        query.write(&mut url);
        if let Some(index) = index {
            let wait_millis = wire::millis(wait);
            let index = index.to_string();
            url.query_pairs_mut().append_pair("index", &index).append_pair("wait", &wait_millis);
            limit = wait.saturating_add(wait / 16).saturating_add(self.settings.slack);
        }
        self.send(&self.peer.waiting, Method::GET, url, None, limit).await
    }

    fn url(self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.peer.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let (namespace, partition) = (&self.settings.namespace, &self.settings.partition);
        let of = [("ns", namespace), ("partition", partition)];
        let of = of.iter().filter_map(|(key, name)| Some((*key, name.as_deref()?)));
        url.query_pairs_mut().extend_pairs(query).extend_pairs(of);
        url
    }

    async fn send(
        self,
        client: &Client,
        method: Method,
        mut url: Url,
        body: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Answer, RegisterError> {
        if url.query() == Some("") {
            url.set_query(None);
        }
        let token = self.settings.token.header(self.name()).await?;
        let mut request = client.request(method, url);
        if let Some(body) = body {
            request = request.body(body);
        }
        if let Some(token) = token {
            request = request.header(TOKEN, token);
        }
        if let Some(auth) = &self.settings.auth {
            request = request.basic_auth(&auth.user, Some(&auth.password));
        }
        let exchange = async {
            let response = request.send().await.map_err(|error| self.unreachable(error))?;
            self.read(response).await
        };
        match timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(RegisterError::Unreachable {
                registry: self.name().to_owned(),
                source: format!("no answer within {limit:?}").into(),
            }),
        }
    }

    async fn read(self, mut response: Response) -> Result<Answer, RegisterError> {
        let status = response.status();
        let index = response.headers().get(INDEX).and_then(|value| value.to_str().ok());
        let index = index.and_then(|text| text.parse().ok()).unwrap_or(0);
        let max = if status.is_success() { self.settings.answer_max } else { REFUSAL_MAX };
        let too_large = || self.garbled(format!("the answer is larger than {max} bytes"));
        if status.is_success() && response.content_length().is_some_and(|said| said > max as u64) {
            return Err(too_large());
        }
        // What the head promises is not believed: memory grows with what comes.
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > max {
                if status.is_success() {
                    return Err(too_large());
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Answer { index, body });
        }
        Err(wire::refusal(self.name(), status.as_u16(), &String::from_utf8_lossy(&body)))
    }

    pub(super) fn garbled(
        self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> RegisterError {
        RegisterError::Garbled { registry: self.name().to_owned(), source: source.into() }
    }

    fn unreachable(self, error: reqwest::Error) -> RegisterError {
        // The URL is in the name already, as far as it matters.
        let source = Trouble(error.without_url()).into();
        RegisterError::Unreachable { registry: self.name().to_owned(), source }
    }
}

/// An error of reqwest's that says the one thing that went wrong, in place of the layers that it
/// went through.
#[derive(Debug)]
struct Trouble(reqwest::Error);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut root: &dyn StdError = &self.0;
        while let Some(next) = root.source() {
            root = next;
        }
        fmt::Display::fmt(root, f)
    }
}

impl StdError for Trouble {}
