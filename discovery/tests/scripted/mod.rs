//! An HTTP server that answers as a test says, and remembers what it was asked and when.

#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode},
};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// The query as it stood there, with its keys without a value.
    pub(crate) raw: String,
    pub(crate) token: Option<String>,
}

impl Seen {
    pub(crate) fn index(&self) -> Option<&str> {
        self.query.get("index").map(String::as_str)
    }
}

/// What to answer.
pub(crate) struct Answer {
    pub(crate) after: Duration,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

impl Answer {
    /// A list of instances at `index`, at once.
    pub(crate) fn list(index: impl ToString, ids: &[&str]) -> Self {
        Self::json(instances(ids)).header("X-Consul-Index", index)
    }

    pub(crate) fn json(body: impl Into<Body>) -> Self {
        Self { after: Duration::ZERO, status: 200, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn error(status: u16, said: &'static str) -> Self {
        Self { status, ..Self::json(said) }
    }

    /// No answer while the test runs.
    pub(crate) fn never() -> Self {
        Self::json("[]").after(Duration::from_secs(3_600))
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// A list as `/v1/health/service/…` answers it.
pub(crate) fn instances(ids: &[&str]) -> String {
    let entry = |id: &&str| {
        format!(
            r#"{{"Node":{{"Node":"n","Address":"127.0.0.1"}},
                 "Service":{{"ID":"{id}","Service":"orders","Port":80}},"Checks":null}}"#
        )
    };
    format!("[{}]", ids.iter().map(entry).collect::<Vec<_>>().join(","))
}

type Reply = dyn FnMut(usize, &Seen) -> Answer + Send;

/// The server; dropped, it is gone.
pub(crate) struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    reply: Mutex<Box<Reply>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Scripted {
    /// `reply` is given the number of the request, from 0, and the request.
    pub(crate) async fn start(reply: impl FnMut(usize, &Seen) -> Answer + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            reply: Mutex::new(Box::new(reply)),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The requests whose path holds `part`.
    pub(crate) fn seen_at(&self, part: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path.contains(part)).collect()
    }

    /// How many requests are being answered now, and were at most.
    pub(crate) fn open(&self) -> (usize, usize) {
        (self.shared.open.load(Relaxed), self.shared.most_open.load(Relaxed))
    }

    /// Waits until there were `count` requests, and returns those.
    pub(crate) async fn requests(&self, count: usize) -> Vec<Seen> {
        until("enough requests", || self.seen().len() >= count).await;
        self.seen()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until what `look` sees is so.
pub(crate) async fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if look() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("never {what}");
}

/// Counts a request as open until it is answered or abandoned.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let open = shared.open.fetch_add(1, Relaxed) + 1;
    let _open = Open(Arc::clone(&shared));
    shared.most_open.fetch_max(open, Relaxed);
    let (parts, _) = request.into_parts();
    let pairs = parts.uri.query().unwrap_or_default().split('&');
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    let token = parts.headers.get("x-consul-token");
    let seen = Seen {
        at: Instant::now(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        raw: parts.uri.query().unwrap_or_default().to_owned(),
        query: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        token: token.map(|value| value.to_str().unwrap().to_owned()),
    };
    let answer = {
        let mut all = shared.seen.lock().unwrap();
        all.push(seen);
        let number = all.len() - 1;
        (shared.reply.lock().unwrap())(number, &all[number])
    };
    sleep(answer.after).await;
    let mut response = Response::new(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
