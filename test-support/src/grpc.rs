//! A real gRPC server whose requests say how it answers.

mod echo;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::background::{Background, adopt, listen, restart};
use crate::traffic::Traffic;

use self::echo::Echo;

/// The generated messages, client and server of `proto/echo.proto`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    reason = "generated"
)]
pub mod proto {
    tonic::include_proto!("seawall.test");
}

pub use self::proto::echo_client::EchoClient;
pub use self::proto::{EchoRequest, EchoResponse};

/// A tonic server on the loopback interface, which answers each call as its request, or
/// [`GrpcServer::set_script`], says. It ends when dropped.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
///
/// let server = GrpcServer::start().await;
/// let mut client = EchoClient::connect(server.url()).await?;
/// let failing = EchoRequest { code: tonic::Code::Unavailable.into(), ..EchoRequest::default() };
/// let status = client.unary(failing).await.unwrap_err();
/// assert_eq!((status.code(), server.calls()), (tonic::Code::Unavailable, 1));
/// # Ok(())
/// # }
/// ```
pub struct GrpcServer {
    address: SocketAddr,
    traffic: Traffic,
    script: Arc<Mutex<Option<EchoRequest>>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    graceful: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    background: Background,
}

impl GrpcServer {
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
            script: Arc::default(),
            running: Mutex::new(None),
        };
        server.address = server.run().unwrap_or_else(|error| panic!("{address}: {error}"));
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address with scheme, as tonic's endpoints want it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls that reached it, over restarts too.
    pub fn calls(&self) -> u64 {
        self.traffic.calls()
    }

    /// Calls that it did not end yet; a streamed response ends with its stream.
    pub fn in_flight(&self) -> usize {
        self.traffic.in_flight()
    }

    /// Answers every call as `script` says, in place of the call's own request, whose message
    /// still comes back. `None` goes by the requests again.
    pub fn set_script(&self, script: Option<EchoRequest>) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    /// Ends it at once: calls break off, connections close, new ones are refused.
    pub fn kill(&self) {
        let running = self.running().take();
        drop(running);
    }

    /// Refuses new connections, lets the calls in flight end, then ends.
    pub async fn shutdown(&self) {
        let running = self.running().take();
        if let Some(Running { graceful, ended, background }) = running {
            let _ = graceful.send(());
            // An error says that it ended, too.
            let _ = ended.await;
            drop(background);
        }
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
        let echo = Echo::new(address, self.traffic.clone(), Arc::clone(&self.script));
        let (graceful, asked) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let background = Background::spawn("grpc-server", move || async move {
            let incoming = TcpListenerStream::new(adopt(listener));
            let served = Server::builder()
                .add_service(proto::echo_server::EchoServer::new(echo))
                .serve_with_incoming_shutdown(incoming, async {
                    // A server that is dropped ends with its runtime, not here.
                    if asked.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                });
            served.await.expect("a bound listener serves until it is told to end");
            let _ = end.send(());
        })?;
        *self.running() = Some(Running { graceful, ended, background });
        Ok(address)
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for GrpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcServer")
            .field("address", &self.address)
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}
