//! A server that is registered exactly while it can be called.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_core::future::BoxFuture;
use seawall_core::{BoxError, Health};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{RegisterError, Registrar, Registration, lease::LeaseView};

/// Runs a server that is registered exactly while it can be called.
///
/// What [`run`](Self::run) does, in this order:
///
/// 1. the server starts to accept, so that the registry's first check finds it;
/// 2. when it is ready, it is registered;
/// 3. at the signal it is deregistered, and its health says that it is stopping;
/// 4. it goes on serving for the [`propagation`](Self::propagation) time, because clients learn of
///    the deregistration only after a while;
/// 5. it stops accepting, and ends what is in flight, for at most the [`drain`](Self::drain) time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_discovery::{Memory, Registration, Resolver as _, Serving};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Memory::new();
/// let watch = registry.watch("orders");
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?.try_into()?;
///
/// let serving = Serving::new(registry, Registration::new("orders", address)?)
///     .propagation(Duration::from_millis(10));
/// let ready = async { println!("caches are warm") };
/// let signal = async { println!("{:?}", watch.ready(Duration::from_secs(1)).await) };
/// serving
///     .run(ready, signal, |stop| async move {
///         let app = axum::Router::new();
///         axum::serve(listener, app).with_graceful_shutdown(stop).await
///     })
///     .await?;
/// assert!(watch.current().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is served until `run`"]
pub struct Serving<R> {
    registrar: R,
    registration: Registration,
    health: ServerHealth,
    propagation: Duration,
    drain: Duration,
}

impl<R: Registrar> Serving<R> {
    /// A server that `registrar` is told of as `registration`.
    pub fn new(registrar: R, registration: Registration) -> Self {
        Self {
            registrar,
            registration,
            health: ServerHealth::default(),
            propagation: Duration::from_secs(1),
            drain: Duration::from_secs(30),
        }
    }

    /// How long the server goes on accepting after it was deregistered; 1 s by default.
    ///
    /// At least as long as clients take to learn of it: with watches some milliseconds, with DNS
    /// its TTL.
    pub fn propagation(mut self, propagation: Duration) -> Self {
        self.propagation = propagation;
        self
    }

    /// How long calls in flight may take after the server stopped accepting; 30 s by default.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// The health of this server, for what answers health checks: `starting` until it is
    /// registered, then that of its lease, and in the end `stopping`.
    pub fn health(&self) -> ServerHealth {
        self.health.clone()
    }

    /// Serves until `signal` is there, or the server ends by itself.
    ///
    /// `serve` makes the server of the future that tells it to stop accepting; it ends when the last
    /// call has.
    ///
    /// # Errors
    ///
    /// When the registry does not take the registration, the server fails, or what is in flight
    /// does not end in time. A registry that does not confirm the deregistration is only logged: the
    /// instance is forgotten when its TTL has passed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stops the server where it is and deregisters without waiting.
    pub async fn run<F, T, E>(
        self,
        ready: impl Future<Output = ()>,
        signal: impl Future<Output = ()>,
        serve: impl FnOnce(BoxFuture<'static, ()>) -> F,
    ) -> Result<(), ServeError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(Box::pin(async {
            // Dropped unsent it means the same: nobody is left to let the server run.
            let _ = stopped.await;
        }));
        let mut server = std::pin::pin!(server);

        let registered = async {
            ready.await;
            self.registrar.register(self.registration.clone()).await
        };
        let lease = tokio::select! {
            ended = &mut server => return ended.map(drop).map_err(ServeError::server),
            lease = registered => lease.map_err(ServeError::Register)?,
        };
        self.health.follow(lease.view());

        let ended = tokio::select! {
            ended = &mut server => Some(ended),
            () = signal => None,
        };
        let retire = async {
            if let Err(error) = lease.shutdown().await {
                tracing::warn!(target: "seawall::discovery", "{error}");
            }
        };
        if let Some(ended) = ended {
            retire.await;
            return ended.map(drop).map_err(ServeError::server);
        }
        let leave = async {
            retire.await;
            sleep(self.propagation).await;
        };
        tokio::select! {
            ended = &mut server => return ended.map(drop).map_err(ServeError::server),
            () = leave => {}
        }
        drop(stop);
        match timeout(self.drain, server).await {
            Ok(ended) => ended.map(drop).map_err(ServeError::server),
            Err(_) => Err(ServeError::NotDrained { after: self.drain }),
        }
    }
}

/// The health of a server, as its lease has it. Clones show the same.
///
/// Without a lease it is starting, and when its lease ends it is stopping; in neither state it wants
/// calls. An unreachable registry does not make it unhealthy.
#[derive(Clone, Debug, Default)]
pub struct ServerHealth {
    lease: Arc<OnceLock<LeaseView>>,
    #[cfg(feature = "tonic")]
    pub(crate) followed: Arc<tokio::sync::Notify>,
}

impl ServerHealth {
    /// The health of the server whose `lease` this is.
    pub fn of(lease: &crate::Lease) -> Self {
        let health = Self::default();
        health.follow(lease.view());
        health
    }

    fn follow(&self, lease: LeaseView) {
        // Only `of` and `run` do this, once each.
        let _ = self.lease.set(lease);
        #[cfg(feature = "tonic")]
        self.followed.notify_waiters();
    }

    /// Whether the server wants calls: it is registered, and passing or warning.
    pub fn is_serving(&self) -> bool {
        let health = self.lease.get().and_then(LeaseView::health);
        matches!(health, Some(Health::Passing | Health::Warning))
    }

    /// The state in one word: `starting`, `passing`, `warning`, `critical`, `maintenance` or
    /// `stopping`.
    pub fn word(&self) -> &'static str {
        match self.lease.get().map(LeaseView::health) {
            None => "starting",
            Some(Some(Health::Passing)) => "passing",
            Some(Some(Health::Warning)) => "warning",
            Some(Some(Health::Critical)) => "critical",
            Some(Some(Health::Maintenance)) => "maintenance",
            Some(None) => "stopping",
        }
    }

    #[cfg(feature = "tonic")]
    pub(crate) fn lease(&self) -> Option<LeaseView> {
        self.lease.get().cloned()
    }
}

/// Why a server ended other than by its signal.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The registry did not take the registration.
    Register(RegisterError),
    /// The server failed.
    Server(BoxError),
    /// Calls were still in flight.
    NotDrained {
        /// The time that they were given.
        after: Duration,
    },
}

impl ServeError {
    fn server(error: impl Into<BoxError>) -> Self {
        Self::Server(error.into())
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(_) => f.write_str("the server could not be registered"),
            Self::Server(_) => f.write_str("the server failed"),
            Self::NotDrained { after } => write!(f, "calls were still in flight after {after:?}"),
        }
    }
}

impl StdError for ServeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Register(error) => Some(error),
            Self::Server(error) => Some(&**error),
            Self::NotDrained { .. } => None,
        }
    }
}
