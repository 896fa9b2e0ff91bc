//! The shared handle.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use seawall_core::{Clock, Instant, Reason, Rejection, Retry};
use tokio::time::{Sleep, sleep};

use super::{
    Told,
    peer::{Peer, Sent},
};

/// How long a peer's word is taken, unless set.
const TRUST: Duration = Duration::from_secs(300);

/// What is known of a peer's limit. Clones share it.
///
/// It works without a service: [`ask`](Self::ask) before each call, and tell it what came back.
///
/// ```
/// use http::{HeaderMap, HeaderValue, StatusCode};
/// use seawall_rate_limit::learn::{Learned, Told};
///
/// let learned = Learned::new();
/// let asked = learned.ask()?;
/// // The response to the call has these headers:
/// let mut headers = HeaderMap::new();
/// headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
/// headers.insert("x-ratelimit-reset", HeaderValue::from_static("20"));
/// asked.told(&Told::read(StatusCode::OK, &headers));
/// assert!(learned.ask().unwrap_err().retry_after().is_some());
/// # Ok::<(), seawall_rate_limit::Rejection>(())
/// ```
///
/// # Cost
///
/// A lock for a few instructions before and after each call; no allocation.
#[derive(Clone)]
pub struct Learned {
    peer: Arc<Mutex<Peer>>,
    clock: Clock,
    trust: Duration,
    name: Option<Arc<str>>,
}

impl Learned {
    /// Knows nothing, and so limits nothing.
    pub fn new() -> Self {
        Self { peer: Arc::default(), clock: Clock::fast(), trust: TRUST, name: None }
    }

    /// Tells the time by `clock`. Part of building, as are those below.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Names the peer in refusals.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long a wait to take the peer's word for; 5 minutes unless set. One that says longer is
    /// asked again after that time.
    #[must_use]
    pub fn trust_up_to(mut self, trust: Duration) -> Self {
        self.trust = trust;
        self
    }

    /// Takes one call of what the peer has left.
    ///
    /// # Errors
    ///
    /// When there is nothing left, with the wait.
    pub fn ask(&self) -> Result<Asked, Rejection> {
        let sent = self.lock().send(self.clock.now());
        match sent {
            Ok(sent) => Ok(Asked { learned: self.clone(), sent }),
            Err(wait) => Err(self.rejection(wait)),
        }
    }

    /// The same, after a wait of at most `patience` if there must be one. Who waits is woken with all
    /// others when there is more, and may wait again.
    pub fn ask_within(&self, patience: Duration) -> Asking {
        Asking { learned: self.clone(), patience, until: None, sleep: None }
    }

    /// What is known now.
    pub fn standing(&self) -> Standing {
        let now = self.clock.now();
        match self.lock().look(now) {
            Ok(None) => Standing::Unknown,
            Ok(Some((remaining, until))) => {
                Standing::Left { remaining, reset_after: until.saturating_since(now) }
            }
            Err(retry_after) => Standing::Nothing { retry_after },
        }
    }

    fn rejection(&self, wait: Duration) -> Rejection {
        let rejection = Rejection::new(Reason::LimitReached).retry(Retry::After(wait));
        match &self.name {
            Some(name) => rejection.by(name.clone()),
            None => rejection,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Learned {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learned")
            .field("name", &self.name)
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}

/// What is known of a peer's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it has told nothing yet.
    Unknown,
    /// So many calls may go, until there are more.
    Left {
        /// How many.
        remaining: u64,
        /// How long until there are more.
        reset_after: Duration,
    },
    /// None may go.
    Nothing {
        /// Until so much later.
        retry_after: Duration,
    },
}

/// One call to the peer. Dropped, the call told nothing.
#[derive(Debug)]
#[must_use = "tell it what came back"]
pub struct Asked {
    learned: Learned,
    sent: Sent,
}

impl Asked {
    /// The call has come back and told this.
    pub fn told(self, told: &Told) {
        let now = self.learned.clock.now();
        self.learned.lock().learn(self.sent, told, self.learned.trust, now);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.learned.lock().end();
    }
}

pin_project! {
    /// Waits until a call may go; see [`Learned::ask_within`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Asking {
        learned: Learned,
        patience: Duration,
        // When the patience ends; from the first poll on.
        until: Option<Instant>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Future for Asking {
    type Output = Result<Asked, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
                this.sleep.set(None);
            }
            let now = this.learned.clock.now();
            let until = *this.until.get_or_insert_with(|| now.saturating_add(*this.patience));
            let rejection = match this.learned.ask() {
                Ok(asked) => return Poll::Ready(Ok(asked)),
                Err(rejection) => rejection,
            };
            match rejection.retry_after() {
                Some(wait) if now.saturating_add(wait) <= until => {
                    this.sleep.set(Some(sleep(wait)));
                }
                _ => return Poll::Ready(Err(rejection)),
            }
        }
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("learned", &self.learned)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
