//! A connection that is made when it is needed, and anew when it is lost.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    sentinel::SentinelClient,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared as SharedFuture},
};
use tokio::sync::Mutex as AsyncMutex;

use crate::sync::{Mutex, lock};

/// How long an attempt to connect may take; decisions wait no longer for it than their time-out.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After so many requests in a row without an answer, the server is taken to be another one by now.
const UNANSWERED_MAX: u32 = 3;

type Connecting = SharedFuture<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// Clones share the connection. Whoever needs it makes it; there is no task.
#[derive(Clone)]
pub(super) struct Reconnecting {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    current: Mutex<Current>,
    unanswered: AtomicU32,
}

#[derive(Default)]
struct Current {
    /// Counts the connections, so that the failure of an old one does not end a new one.
    number: u64,
    connecting: Option<Connecting>,
}

#[derive(Clone)]
enum Source {
    Server(Box<Client>),
    /// Is asked for the primary each time.
    Sentinel(Arc<AsyncMutex<SentinelClient>>),
}

impl Source {
    async fn connect(self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        match self {
            Self::Server(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await
            }
            Self::Sentinel(client) => {
                let mut client = client.lock().await;
                let asked = client.get_async_connection_with_config(&config);
                let limit = tokio::time::timeout(CONNECT_TIMEOUT * 3, asked).await;
                limit.unwrap_or_else(|_| {
                    Err((::redis::ErrorKind::Io, "the sentinels did not answer").into())
                })
            }
        }
    }
}

impl Reconnecting {
    pub(super) fn server(client: Client) -> Self {
        Self::new(Source::Server(Box::new(client)))
    }

    pub(super) fn sentinel(client: SentinelClient) -> Self {
        Self::new(Source::Sentinel(Arc::new(AsyncMutex::new(client))))
    }

    fn new(source: Source) -> Self {
        let (current, unanswered) = (Mutex::default(), AtomicU32::new(0));
        Self { shared: Arc::new(Shared { source, current, unanswered }) }
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let (number, connecting) = {
            let mut current = lock(&self.shared.current);
            let number = current.number;
            let source = &self.shared.source;
            let make = || source.clone().connect().boxed().shared();
            (number, current.connecting.get_or_insert_with(make).clone())
        };
        match connecting.await {
            Ok(connection) => Ok((number, connection)),
            Err(error) => {
                self.shared.forget(number);
                Err(error)
            }
        }
    }

    /// What `request` answers over the connection.
    async fn through<T>(
        &self,
        request: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let (number, connection) = self.connection().await?;
        let unanswered = Unanswered { shared: &self.shared, number };
        let result = request(connection).await;
        unanswered.answered();
        if result.as_ref().is_err_and(is_lost) {
            self.shared.forget(number);
        }
        result
    }
}

impl Shared {
    fn forget(&self, number: u64) {
        let mut current = lock(&self.current);
        if current.number == number {
            *current = Current { number: number + 1, connecting: None };
            // Relaxed: how often is a guess anyway.
            self.unanswered.store(0, Relaxed);
        }
    }
}

/// Whether another connection may do better.
fn is_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
}

/// A request that is out. Dropped, it was not answered in time.
struct Unanswered<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Unanswered<'_> {
    fn answered(self) {
        self.shared.unanswered.store(0, Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.shared.unanswered.fetch_add(1, Relaxed) + 1 >= UNANSWERED_MAX {
            self.shared.forget(self.number);
        }
    }
}

impl ConnectionLike for Reconnecting {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let request = async move |mut connection: MultiplexedConnection| {
            connection.send_packed_command(cmd).await.and_then(Value::extract_error)
        };
        self.through(request).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let request = async move |mut connection: MultiplexedConnection| {
            connection.send_packed_commands(pipeline, offset, count).await
        };
        self.through(request).boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").finish_non_exhaustive()
    }
}
