//! One task per watched service, however many watch it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::task::AbortHandle;

use crate::{Publisher, Watch};

type Upstreams = Mutex<HashMap<Arc<str>, Weak<Upstream>>>;

/// The services that are watched now.
#[derive(Clone, Default)]
pub(crate) struct Hub {
    upstreams: Arc<Upstreams>,
}

impl Hub {
    /// A watch of `key`, fed by the task that `start` makes unless one runs already.
    pub(crate) fn watch(&self, key: &str, start: impl FnOnce(Publisher) -> AbortHandle) -> Watch {
        let mut upstreams = lock(&self.upstreams);
        let known = upstreams.get(key).and_then(Weak::upgrade);
        // A task that has finished went down with its runtime.
        let (running, finished) = match known {
            Some(upstream) if upstream.task.is_finished() => (None, Some(upstream)),
            known => (known, None),
        };
        let upstream = running.unwrap_or_else(|| {
            let publisher = Publisher::new();
            let key: Arc<str> = key.into();
            let upstream = Arc::new(Upstream {
                task: start(publisher.clone()),
                publisher,
                key: Arc::clone(&key),
                upstreams: Arc::downgrade(&self.upstreams),
            });
            upstreams.insert(key, Arc::downgrade(&upstream));
            upstream
        });
        drop(upstreams);
        // It may be the last to go, which takes the lock.
        drop(finished);
        let publisher = upstream.publisher.clone();
        publisher.subscribe_with(upstream)
    }

    /// What tells the watches of `key`, if there are any.
    pub(crate) fn publisher(&self, key: &str) -> Option<Publisher> {
        let upstream = lock(&self.upstreams).get(key).and_then(Weak::upgrade)?;
        Some(upstream.publisher.clone())
    }

    /// How many services are watched.
    pub(crate) fn len(&self) -> usize {
        lock(&self.upstreams).len()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("watched", &self.len()).finish()
    }
}

/// One task and those it feeds; every watch holds it.
#[derive(Debug)]
struct Upstream {
    publisher: Publisher,
    task: AbortHandle,
    key: Arc<str>,
    upstreams: Weak<Upstreams>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(upstreams) = self.upstreams.upgrade() {
            let mut upstreams = lock(&upstreams);
            // Another one may have taken the place already.
            if upstreams.get(&self.key).is_some_and(|known| known.strong_count() == 0) {
                upstreams.remove(&self.key);
            }
        }
    }
}

/// Nothing that holds the lock can leave the map half-changed, so a panic elsewhere is no reason to
/// stop.
fn lock(upstreams: &Upstreams) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Upstream>>> {
    upstreams.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use seawall_core::Endpoint;

    use super::*;

    fn forever(publisher: Publisher) -> AbortHandle {
        publisher.publish(vec![Endpoint::new("a", "h:1".parse().unwrap())]);
        tokio::spawn(std::future::pending::<()>()).abort_handle()
    }

    #[tokio::test]
    async fn watches_of_one_service_share_a_task_that_ends_with_the_last() {
        let hub = Hub::default();
        let mut task = None;
        let first = hub.watch("a", |publisher| task.insert(forever(publisher)).clone());
        let second = hub.watch("a", |_| panic!("a second task"));
        let other = hub.watch("b", forever);
        let task = task.unwrap();
        assert_eq!((second.current().len(), hub.len()), (1, 2));
        drop(first);
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        drop(second);
        tokio::task::yield_now().await;
        assert!(task.is_finished());
        assert_eq!(hub.len(), 1);
        drop(other);
        assert_eq!(hub.len(), 0);
    }

    #[tokio::test]
    async fn a_task_that_went_down_with_its_runtime_is_started_again() {
        let hub = Hub::default();
        let dead = hub.watch("a", |publisher| {
            let task = forever(publisher);
            task.abort();
            task
        });
        tokio::task::yield_now().await;
        let alive = hub.watch("a", forever);
        drop(dead);
        assert_eq!((alive.current().len(), hub.len()), (1, 1));
    }
}
