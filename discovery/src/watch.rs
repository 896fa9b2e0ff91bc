//! The set of a service's endpoints as it changes.

use std::{
    any::Any,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{Stream, future::BoxFuture};
use seawall_core::{Change, Endpoint, diff};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

mod publisher;

pub use publisher::Publisher;

/// Whether the set of a [`Watch`] is what the registry says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// The registry's last answer holds.
    Fresh,
    /// The registry cannot be asked, or its answer cannot be trusted; the last good set stays in
    /// use. A watch starts like this, with an empty set.
    Stale {
        /// When the last good answer stopped to hold.
        since: Instant,
        /// What is wrong, on one line.
        why: Arc<str>,
    },
}

impl WatchState {
    /// Whether the registry's last answer holds.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh)
    }

    /// Makes it fresh. Returns whether that is a change.
    pub(crate) fn freshen(&mut self) -> bool {
        !std::mem::replace(self, Self::Fresh).is_fresh()
    }

    /// Makes it stale, since now unless it was before. Returns whether that is a change.
    pub(crate) fn spoil(&mut self, why: Arc<str>) -> bool {
        let since = match self {
            Self::Fresh => Instant::now(),
            Self::Stale { why: before, .. } if *before == why => return false,
            Self::Stale { since, .. } => *since,
        };
        *self = Self::Stale { since, why };
        true
    }
}

impl fmt::Display for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Stale { since, why } => {
                write!(f, "stale for {:.1} s: {why}", since.elapsed().as_secs_f64())
            }
        }
    }
}

/// What all watches of one service share.
#[derive(Clone, Debug)]
struct Snapshot {
    set: Arc<[Endpoint]>,
    state: WatchState,
}

/// Follows the endpoints of one service.
///
/// As a stream it yields what changed, in batches that insert before they remove. The first batch
/// inserts what is there. It never ends and never fails: what is wrong shows in
/// [`state`](Self::state), and the last good set stays in use meanwhile. A reader that falls behind
/// gets one batch with the sum of what it missed.
///
/// # Cost
///
/// A reader that falls behind costs no memory. Each batch compares two sets, linear in both.
///
/// # Cancel safety
///
/// Dropping a future of the stream's `next` loses no change.
///
/// # Examples
///
/// ```
/// use futures::StreamExt as _;
/// use seawall_core::{Change, Endpoint};
/// use seawall_discovery::Publisher;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::new();
/// let mut watch = publisher.subscribe();
/// let a = Endpoint::new("a", "10.0.0.1:80".parse()?);
/// publisher.publish(vec![a.clone()]);
/// assert_eq!(watch.next().await, Some(vec![Change::Insert(a.clone())]));
///
/// publisher.stale("the registry is down");
/// assert!(!watch.state().is_fresh());
/// assert_eq!(watch.current()[..], [a]);
/// # Ok(())
/// # }
/// ```
#[must_use = "the registry is followed only as long as the watch is kept"]
pub struct Watch {
    snapshots: watch::Receiver<Snapshot>,
    changed: Option<BoxFuture<'static, ()>>,
    seen: Arc<[Endpoint]>,
    /// What feeds the snapshots lives as long as this.
    _source: Arc<dyn Any + Send + Sync>,
}

impl Watch {
    fn new(snapshots: watch::Receiver<Snapshot>, source: Arc<dyn Any + Send + Sync>) -> Self {
        Self { snapshots, changed: None, seen: Arc::from([]), _source: source }
    }

    /// The endpoints that are known now, whatever the stream has yielded of them.
    pub fn current(&self) -> Arc<[Endpoint]> {
        Arc::clone(&self.snapshots.borrow().set)
    }

    /// Whether that is what the registry says now.
    pub fn state(&self) -> WatchState {
        self.snapshots.borrow().state.clone()
    }

    /// Waits until there is an endpoint to call, and returns all that there are.
    ///
    /// # Errors
    ///
    /// When there is still none after `limit`; the error says what the registry said.
    ///
    /// # Cancel safety
    ///
    /// Takes nothing from the stream.
    pub async fn ready(&self, limit: Duration) -> Result<Arc<[Endpoint]>, NotReady> {
        let mut snapshots = self.snapshots.clone();
        let found = timeout(limit, snapshots.wait_for(|snapshot| !snapshot.set.is_empty())).await;
        match found {
            Ok(Ok(snapshot)) => Ok(Arc::clone(&snapshot.set)),
            _ => Err(NotReady { waited: limit, state: self.state() }),
        }
    }

    /// Tells of changes to the state or the set from now on, beside the stream.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.snapshots.clone())
    }
}

/// Wakes up at each change of what a [`Watch`] shows.
pub(crate) struct Changes(watch::Receiver<Snapshot>);

impl Changes {
    /// Waits for a change since the last one that was told.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The source is gone; nothing will ever change, which is no error.
            std::future::pending().await
        }
    }
}

impl Stream for Watch {
    type Item = Vec<Change>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<Change>>> {
        loop {
            if let Some(changed) = &mut self.changed {
                ready!(changed.as_mut().poll(cx));
                self.changed = None;
            }
            let set = Arc::clone(&self.snapshots.borrow_and_update().set);
            if !Arc::ptr_eq(&set, &self.seen) {
                let batch = diff(&self.seen, &set);
                self.seen = set;
                if !batch.is_empty() {
                    return Poll::Ready(Some(batch));
                }
            }
            let mut changes = self.changes();
            self.changed = Some(Box::pin(async move { changes.next().await }));
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshots.borrow();
        f.debug_struct("Watch")
            .field("endpoints", &snapshot.set.len())
            .field("state", &snapshot.state)
            .finish_non_exhaustive()
    }
}

/// No endpoint appeared in the time that [`Watch::ready`] was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    waited: Duration,
    state: WatchState,
}

impl NotReady {
    /// What the registry said at the end of the wait.
    pub fn state(&self) -> &WatchState {
        &self.state
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no endpoint after {:?}: ", self.waited)?;
        match &self.state {
            WatchState::Fresh => f.write_str("the registry knows none that is healthy"),
            WatchState::Stale { why, .. } => f.write_str(why),
        }
    }
}

impl StdError for NotReady {}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    fn endpoint(id: &str) -> Endpoint {
        Endpoint::new(id, "h:1".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_the_sum_of_what_it_missed() {
        let publisher = Publisher::new();
        let mut watch = publisher.subscribe();
        let (a, b, c) = (endpoint("a"), endpoint("b"), endpoint("c"));
        publisher.publish(vec![a.clone()]);
        assert_eq!(watch.next().await.unwrap(), [Change::Insert(a.clone())]);
        publisher.publish(vec![b.clone()]);
        publisher.publish(vec![]);
        publisher.publish(vec![c.clone()]);
        let batch = watch.next().await.unwrap();
        assert_eq!(batch, [Change::Insert(c), Change::Remove("a".into())]);
        assert_eq!(watch.next().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn order_and_repetition_are_no_change() {
        let publisher = Publisher::new();
        let mut watch = publisher.subscribe();
        let (a, b) = (endpoint("a"), endpoint("b"));
        publisher.publish(vec![a.clone(), b.clone()]);
        assert_eq!(watch.next().await.unwrap().len(), 2);
        publisher.publish(vec![b, a]);
        assert_eq!(watch.next().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_set_stays_and_remembers_since_when() {
        let publisher = Publisher::new();
        let watch = publisher.subscribe();
        assert!(!watch.state().is_fresh(), "nothing is known yet");
        publisher.publish(vec![endpoint("a")]);
        assert_eq!(watch.state(), WatchState::Fresh);
        let since = Instant::now();
        publisher.stale("down");
        tokio::time::advance(Duration::from_secs(3)).await;
        publisher.stale("still down");
        assert_eq!(watch.state(), WatchState::Stale { since, why: "still down".into() });
        assert_eq!(watch.state().to_string(), "stale for 3.0 s: still down");
        assert_eq!(watch.current().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn ready_waits_for_the_first_endpoint_and_no_longer_than_asked() {
        let publisher = Publisher::new();
        let watch = publisher.subscribe();
        let limit = Duration::from_secs(2);
        let (start, found) = (Instant::now(), watch.ready(limit).await);
        assert_eq!(start.elapsed(), limit);
        assert_eq!(
            found.unwrap_err().to_string(),
            "no endpoint after 2s: the registry has not answered yet"
        );
        publisher.publish(vec![]);
        let error = watch.ready(limit).await.unwrap_err();
        assert!(error.to_string().contains("knows none"), "{error}");
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            publisher.publish(vec![endpoint("a")]);
        };
        let (found, ()) = tokio::join!(watch.ready(limit), later);
        assert_eq!(found.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_outlives_every_publisher() {
        let publisher = Publisher::new();
        let mut watch = publisher.subscribe();
        publisher.publish(vec![endpoint("a")]);
        drop(publisher);
        assert_eq!(watch.next().await.unwrap().len(), 1);
        assert_eq!(watch.next().now_or_never(), None, "neither an end nor an item");
    }
}
