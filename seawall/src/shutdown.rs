//! The end of a client: calls in flight finish, and what runs beside them ends.

use std::{
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{sleep, timeout};

/// How often a shutdown looks whether the last call has ended. Looking costs the calls nothing, as
/// telling it would.
const LOOK: Duration = Duration::from_millis(5);

/// What can be shut down.
pub(crate) trait End: Send + Sync {
    /// Refuses calls from now on; how many have not ended.
    fn close(&self) -> u64;
    /// Lets go of the endpoints.
    fn end(&self);
}

/// The shutdown of a client; await it.
///
/// Calls from now on are refused, with [`Reason::ShutDown`](seawall_core::Reason::ShutDown), for all
/// clones. Calls in flight finish, to the end of their bodies. Then the connections are closed, the
/// resolver's watch ends, and so does every task of the client.
///
/// # Errors
///
/// [`StillRunning`] when calls are left after [`within`](Self::within). They may finish all the same;
/// everything else has ended.
///
/// # Cancel safety
///
/// Dropped before it is done, it goes no further, and the calls that it refused stay refused: a second
/// one goes on.
#[must_use = "a shutdown does nothing unless awaited"]
pub struct Shutdown {
    client: Arc<dyn End>,
    within: Option<Duration>,
}

impl Shutdown {
    pub(crate) fn of(client: Arc<dyn End>) -> Self {
        Self { client, within: None }
    }

    /// Waits for calls no longer than this; as long as they take unless set.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }
}

impl IntoFuture for Shutdown {
    type Output = Result<(), StillRunning>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { client, within } = self;
        Box::pin(async move {
            let drained = async {
                while client.close() > 0 {
                    sleep(LOOK).await;
                }
            };
            match within {
                None => drained.await,
                // Whether anything is left is asked below.
                Some(time) => drop(timeout(time, drained).await),
            }
            let calls = client.close();
            client.end();
            if calls == 0 { Ok(()) } else { Err(StillRunning { calls }) }
        })
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("within", &self.within).finish_non_exhaustive()
    }
}

/// A shutdown did not wait for the last calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StillRunning {
    /// How many had not ended: calls that wait for a response, and attempts whose response has not
    /// ended.
    pub calls: u64,
}

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls have not ended", self.calls)
    }
}

impl Error for StillRunning {}
