//! Several resolvers as one.

use std::{collections::HashSet, fmt, sync::Arc};

use seawall_core::Endpoint;
use tokio::{sync::Notify, task::JoinSet};

use crate::{Publisher, Resolver, Watch, WatchState, hub::Hub};

/// Follows several resolvers, and uses all that they know: the instances in two registries while a
/// system moves from one to the other.
///
/// Of endpoints with one id, that of the earlier resolver counts. The watch is fresh while all of
/// them are; else it says what is wrong with the first that is not, and the last good set of each
/// stays in use.
///
/// Clones share watches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_core::Endpoint;
/// use seawall_discovery::{Fixed, Merged, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let old = Fixed::new().with("orders", [Endpoint::new("a", "10.0.0.1:80".parse()?)])?;
/// let new = Fixed::new().with("orders", [Endpoint::new("b", "10.1.0.1:80".parse()?)])?;
/// let resolver = Merged::new(old).with(new);
/// let watch = resolver.watch("orders");
/// assert_eq!(watch.ready(Duration::from_secs(1)).await?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Merged {
    resolvers: Vec<Arc<dyn Resolver>>,
    hub: Hub,
}

impl Merged {
    /// Follows `first`, for now alone.
    pub fn new(first: impl Resolver) -> Self {
        Self { resolvers: vec![Arc::new(first)], hub: Hub::default() }
    }

    /// Follows `next` too.
    #[must_use]
    pub fn with(mut self, next: impl Resolver) -> Self {
        self.resolvers.push(Arc::new(next));
        // Watches of what was merged before would miss it.
        self.hub = Hub::default();
        self
    }
}

impl Resolver for Merged {
    fn watch(&self, service: &str) -> Watch {
        self.hub.watch(service, |publisher| {
            let watches = self.resolvers.iter().map(|resolver| resolver.watch(service)).collect();
            tokio::spawn(follow(watches, publisher)).abort_handle()
        })
    }

    fn resolve_now(&self, service: &str) {
        for resolver in &self.resolvers {
            resolver.resolve_now(service);
        }
    }
}

impl fmt::Debug for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merged")
            .field("resolvers", &self.resolvers.len())
            .field("hub", &self.hub)
            .finish()
    }
}

async fn follow(watches: Vec<Watch>, publisher: Publisher) {
    let changed = Arc::new(Notify::new());
    // Ends with this future, which owns it.
    let mut waiting = JoinSet::new();
    for watch in &watches {
        let (mut changes, changed) = (watch.changes(), Arc::clone(&changed));
        waiting.spawn(async move {
            loop {
                changes.next().await;
                changed.notify_one();
            }
        });
    }
    loop {
        let union = union(&watches);
        let why = watches.iter().find_map(|watch| match watch.state() {
            WatchState::Fresh => None,
            WatchState::Stale { why, .. } => Some(why),
        });
        match why {
            None => drop(publisher.publish(union)),
            Some(why) => publisher.publish_stale(union, why),
        }
        changed.notified().await;
    }
}

fn union(watches: &[Watch]) -> Vec<Endpoint> {
    let mut seen = HashSet::new();
    let mut union = Vec::new();
    for watch in watches {
        let set = watch.current();
        union.extend(set.iter().filter(|endpoint| seen.insert(endpoint.id().clone())).cloned());
    }
    union
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    struct Moved(Publisher);

    impl Resolver for Moved {
        fn watch(&self, _: &str) -> Watch {
            self.0.subscribe()
        }
    }

    async fn seen(watch: &Watch) -> (Vec<String>, bool) {
        sleep(Duration::from_millis(1)).await;
        let set = watch.current();
        (set.iter().map(|e| e.address().to_string()).collect(), watch.state().is_fresh())
    }

    #[tokio::test(start_paused = true)]
    async fn the_union_is_used_and_the_earlier_of_two_with_one_id() {
        let endpoint =
            |id: &str, host: &str| Endpoint::new(id, format!("{host}:1").parse().unwrap());
        let (first, second) = (Publisher::new(), Publisher::new());
        let watch = Merged::new(Moved(first.clone())).with(Moved(second.clone())).watch("s");
        second.publish(vec![endpoint("a", "new"), endpoint("b", "new")]);
        assert_eq!(seen(&watch).await, (vec!["new:1".into(), "new:1".into()], false));
        first.publish(vec![endpoint("a", "old")]);
        assert_eq!(seen(&watch).await, (vec!["old:1".into(), "new:1".into()], true));
        first.stale("down");
        second.publish(vec![]);
        assert_eq!(seen(&watch).await, (vec!["old:1".into()], false));
        assert!(watch.state().to_string().ends_with("down"), "{}", watch.state());
    }
}
