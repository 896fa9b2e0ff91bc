//! A real HTTP/1.1 server whose paths say how it answers.

mod connection;
mod script;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use crate::background::{Background, adopt, listen, restart};
use crate::traffic::Traffic;

use self::connection::Connection;

/// An HTTP server on the loopback interface, which answers as the path of each request, or
/// [`HttpServer::set_path`], says. It ends when dropped.
///
/// | path | answer |
/// |---|---|
/// | `/ok` | 200, the body `ok` |
/// | `/status/{code}` | that status, its reason as the body |
/// | `/status/{code}/{s}` | the same with `Retry-After` of that many seconds |
/// | `/delay/{ms}` | as `/ok`, after that time |
/// | `/hang` | nothing, not even a head |
/// | `/bytes/{n}` | `n` bytes, with Content-Length |
/// | `/stream/{n}` | `n` chunks of 8 bytes, without Content-Length |
/// | `/trickle/{n}/{ms}` | as `/stream/{n}`, each chunk after that time |
/// | `/reset-after/{n}` | the connection is reset after `n` bytes of the body |
/// | `/close-after/{n}` | the connection is closed after `n` bytes of the body |
/// | `/stall` | a head that promises a body, then nothing |
/// | `/empty` | 204 |
/// | `/echo` | the request's body |
///
/// Anything else is a 404. Each answer names the server in the header `x-server`; HEAD gets the
/// head alone.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use seawall_test_support::HttpServer;
///
/// let server = HttpServer::start().await;
/// println!("{}", server.url("/status/503"));
/// assert_eq!(server.calls(), 0);
/// # }
/// ```
pub struct HttpServer {
    address: SocketAddr,
    traffic: Traffic,
    path: Arc<Mutex<Option<String>>>,
    running: Mutex<Option<Background>>,
}

impl HttpServer {
    /// Starts a server on a free port.
    ///
    /// # Panics
    ///
    /// When no port can be bound.
    pub async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts a server at `address`; port 0 is any free one.
    ///
    /// # Panics
    ///
    /// When the address cannot be bound.
    pub async fn start_at(address: SocketAddr) -> Self {
        let mut server = Self {
            address,
            traffic: Traffic::default(),
            path: Arc::default(),
            running: Mutex::new(None),
        };
        server.address = server.run().unwrap_or_else(|error| panic!("{address}: {error}"));
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests that reached it, over restarts too.
    pub fn calls(&self) -> u64 {
        self.traffic.calls()
    }

    /// Requests whose response did not end yet.
    pub fn in_flight(&self) -> usize {
        self.traffic.in_flight()
    }

    /// Answers every request as if it were for `path`. `None` goes by the requests again.
    pub fn set_path(&self, path: Option<&str>) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path.map(str::to_owned);
    }

    /// Ends it at once: responses break off, connections close, new ones are refused.
    pub fn kill(&self) {
        let running = self.running().take();
        drop(running);
    }

    /// Ends it if it runs and starts it again at the same address.
    ///
    /// # Panics
    ///
    /// When somebody else took the address meanwhile and keeps it.
    pub async fn restart(&self) {
        self.kill();
        let again = restart(|| self.run()).await;
        again.unwrap_or_else(|error| panic!("{}: {error}", self.address));
    }

    fn run(&self) -> io::Result<SocketAddr> {
        let listener = listen(self.address)?;
        let address = listener.local_addr()?;
        let (traffic, path) = (self.traffic.clone(), Arc::clone(&self.path));
        let background = Background::spawn("http-server", move || async move {
            let listener = adopt(listener);
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    // A peer that is gone before it is accepted is no reason to end.
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        let script = script::Script {
                            server: address,
                            traffic: traffic.clone(),
                            path: Arc::clone(&path),
                        };
                        connections.spawn(serve(Connection::new(stream), script));
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        })?;
        *self.running() = Some(background);
        Ok(address)
    }

    fn running(&self) -> MutexGuard<'_, Option<Background>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("address", &self.address)
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}

async fn serve(connection: Connection, script: script::Script) {
    let reset = connection.reset_switch();
    let answer = service_fn(move |request| {
        let (script, reset) = (script.clone(), reset.clone());
        async move { Ok::<_, Infallible>(script.answer(request, reset).await) }
    });
    // An error is a response that was meant to break off, or a client that went away.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), answer).await;
}
