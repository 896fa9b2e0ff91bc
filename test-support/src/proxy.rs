//! A TCP proxy that does to connections what networks do.
//!
//! Ours, because the crate made for it, `noxious`, has seen no release since 2021.

mod faults;
mod pump;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::background::{Background, adopt, listen};
use crate::rng::seed;
use crate::server::spare_ports;

pub use self::faults::Faults;
use self::pump::{End, Pump};

/// A TCP proxy in front of an address, whose [`Faults`] are set while it runs, for each direction
/// by itself. Without any it passes on bytes, ends and resets as they come. It ends when dropped.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use seawall_test_support::{FaultProxy, Faults, HttpServer};
///
/// let server = HttpServer::start().await;
/// let proxy = FaultProxy::start(server.address()).await;
/// // Answers come late; requests do not.
/// proxy.set_download(Faults { latency: Duration::from_millis(200), ..Faults::NONE });
/// proxy.reset();
/// proxy.refuse();
/// proxy.heal();
/// # }
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    _background: Background,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    seed: u64,
    upload: watch::Sender<Faults>,
    download: watch::Sender<Faults>,
    /// How often all connections were reset or closed; each minds the changes after its start.
    breaks: watch::Sender<(u64, End)>,
    connections: AtomicU64,
    open: AtomicUsize,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
}

/// What the proxy's thread is told, and where it answers.
#[derive(Debug)]
enum Command {
    Listen(bool, SyncSender<io::Result<()>>),
}

impl FaultProxy {
    /// Starts a proxy in front of `target`, on a spare port. Jitter is seeded by [`seed`].
    ///
    /// # Panics
    ///
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_seeded(target, seed()).await
    }

    /// Starts a proxy whose jitter is the same for equal seeds, connections and chunks.
    ///
    /// # Panics
    ///
    /// When no port can be bound.
    pub async fn start_seeded(target: SocketAddr, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            target,
            seed,
            upload: watch::Sender::new(Faults::NONE),
            download: watch::Sender::new(Faults::NONE),
            breaks: watch::Sender::new((0, End::Closed)),
            connections: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            uploaded: AtomicU64::new(0),
            downloaded: AtomicU64::new(0),
        });
        let (listener, address) = bind().expect("a loopback port can be bound");
        let (commands, received) = mpsc::unbounded_channel();
        let task = Arc::clone(&shared);
        let run = move || accept(task, address, adopt(listener), received);
        let background = Background::spawn("fault-proxy", run).expect("a thread can be started");
        Self { address, shared, commands, _background: background }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the faults of what clients send, for connections old and new.
    pub fn set_upload(&self, faults: Faults) {
        self.shared.upload.send_replace(faults);
    }

    /// Sets the faults of what clients receive, for connections old and new.
    pub fn set_download(&self, faults: Faults) {
        self.shared.download.send_replace(faults);
    }

    /// Sets the faults of both directions; a latency then counts twice in a round trip.
    pub fn set_both(&self, faults: Faults) {
        self.set_upload(faults);
        self.set_download(faults);
    }

    /// Takes all faults away and listens again. What was held back flows on.
    ///
    /// # Panics
    ///
    /// When somebody else took the port after [`FaultProxy::refuse`].
    pub fn heal(&self) {
        self.set_both(Faults::NONE);
        self.accept();
    }

    /// Resets all connections of this moment, on both sides.
    pub fn reset(&self) {
        self.shared.breaks.send_modify(|(count, end)| (*count, *end) = (*count + 1, End::Reset));
    }

    /// Closes all connections of this moment, on both sides and in an orderly way.
    pub fn close(&self) {
        self.shared.breaks.send_modify(|(count, end)| (*count, *end) = (*count + 1, End::Closed));
    }

    /// Stops listening: new connections are refused, old ones go on.
    pub fn refuse(&self) {
        self.listen(false);
    }

    /// Listens again on the same port after [`FaultProxy::refuse`].
    ///
    /// # Panics
    ///
    /// When somebody else took the port meanwhile.
    pub fn accept(&self) {
        self.listen(true);
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Relaxed)
    }

    /// Connections that are open.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Relaxed)
    }

    /// Bytes of clients that were passed on.
    pub fn uploaded_bytes(&self) -> u64 {
        self.shared.uploaded.load(Relaxed)
    }

    /// Bytes for clients that were passed on.
    pub fn downloaded_bytes(&self) -> u64 {
        self.shared.downloaded.load(Relaxed)
    }

    /// Waits for the proxy's own thread, which only ever waits for sockets, so not for long.
    fn listen(&self, on: bool) {
        let (done, result) = sync_channel(1);
        self.commands.send(Command::Listen(on, done)).expect("the proxy runs until it is dropped");
        let result = result.recv().expect("the proxy runs until it is dropped");
        result.unwrap_or_else(|error| panic!("cannot listen at {} again: {error}", self.address));
    }
}

/// A port below those of outgoing connections, so that it is still free after a refusal.
fn bind() -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let port = spare_ports(1)?[0];
    let listener = listen((Ipv4Addr::LOCALHOST, port).into())
        .or_else(|_| listen((Ipv4Addr::LOCALHOST, 0).into()))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn accept(
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: TcpListener,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen(on, done)) => {
                    let result = switch(&mut listener, address, on);
                    // Whoever asked may be gone.
                    let _ = done.send(result);
                }
                None => return,
            },
            // A client that is gone before it is accepted is no reason to end.
            accepted = accepted => if let Ok((client, _)) = accepted {
                connections.spawn(connect(Arc::clone(&shared), client));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn switch(listener: &mut Option<TcpListener>, address: SocketAddr, on: bool) -> io::Result<()> {
    if !on {
        *listener = None;
    } else if listener.is_none() {
        *listener = Some(adopt(listen(address)?));
    }
    Ok(())
}

/// Serves one client until both directions ended, or one broke.
async fn connect(shared: Arc<Shared>, mut client: TcpStream) {
    // Relaxed, here and below: gauges that a test reads by themselves.
    let number = shared.connections.fetch_add(1, Relaxed);
    shared.open.fetch_add(1, Relaxed);
    let _open = Open(&shared.open);
    let mut breaks = shared.breaks.subscribe();

    let Ok(mut target) = TcpStream::connect(shared.target).await else {
        // As close as a proxy comes to passing on a refusal.
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &target] {
        let _ = stream.set_nodelay(true);
    }
    let end = {
        let (from_client, to_client) = client.split();
        let (from_target, to_target) = target.split();
        let rng = || fastrand::Rng::with_seed(shared.seed.wrapping_add(number));
        let upload = Pump::new(shared.upload.subscribe(), rng(), &shared.uploaded);
        let download = Pump::new(shared.download.subscribe(), rng(), &shared.downloaded);
        let both = async {
            let up = upload.run(from_client, to_target);
            let down = download.run(from_target, to_client);
            tokio::try_join!(up, down).err().unwrap_or(End::Closed)
        };
        tokio::select! {
            end = both => end,
            _ = breaks.changed() => breaks.borrow().1,
        }
    };
    if end == End::Reset {
        let _ = client.set_zero_linger();
        let _ = target.set_zero_linger();
    }
}

/// A connection that counts as open.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
