//! One resolver until another has answered.

use std::sync::Arc;

use crate::{Publisher, Resolver, Watch, WatchState, hub::Hub};

/// Follows a first resolver, and a second one for as long as the first has never answered: the
/// list in a file until Consul is reached.
///
/// Once the first has answered for a service, its last good set is used whatever becomes of it, for
/// it is newer than what the second knows. While the second stands in, the watch is stale and says
/// why the first does not answer.
///
/// Clones share watches.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_discovery::{Fallback, Fixed, Memory, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let list = Fixed::new().with("orders", [Endpoint::new("a", "10.0.0.1:80".parse()?)])?;
/// let resolver = Fallback::new(Memory::new(), list);
/// // The registry in memory answers at once, if only that it knows nobody.
/// let watch = resolver.watch("orders");
/// # tokio::task::yield_now().await;
/// assert_eq!(watch.current().len(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Fallback<A, B> {
    first: Arc<A>,
    second: Arc<B>,
    hub: Hub,
}

impl<A: Resolver, B: Resolver> Fallback<A, B> {
    /// Follows `first`, and `second` until that has answered.
    pub fn new(first: A, second: B) -> Self {
        Self { first: Arc::new(first), second: Arc::new(second), hub: Hub::default() }
    }
}

impl<A: Resolver, B: Resolver> Resolver for Fallback<A, B> {
    fn watch(&self, service: &str) -> Watch {
        self.hub.watch(service, |publisher| {
            let (first, second) = (self.first.watch(service), self.second.watch(service));
            tokio::spawn(follow(first, second, publisher)).abort_handle()
        })
    }

    fn resolve_now(&self, service: &str) {
        self.first.resolve_now(service);
        self.second.resolve_now(service);
    }
}

async fn follow(first: Watch, second: Watch, publisher: Publisher) {
    let mut changes = first.changes();
    let mut stand_in = Some((second.changes(), second));
    loop {
        let why = match first.state() {
            WatchState::Fresh => None,
            WatchState::Stale { why, .. } => Some(why),
        };
        match (why, &stand_in) {
            (None, _) => {
                stand_in = None;
                publisher.publish(first.current().to_vec());
            }
            (Some(why), None) => publisher.publish_stale(first.current().to_vec(), why),
            (Some(why), Some((_, second))) => {
                publisher.publish_stale(second.current().to_vec(), why);
            }
        }
        match &mut stand_in {
            Some((others, _)) => tokio::select! {
                () = changes.next() => {}
                () = others.next() => {}
            },
            None => changes.next().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seawall_core::Endpoint;
    use tokio::time::sleep;

    use super::*;

    /// A resolver of one service that the test moves.
    struct Moved(Publisher);

    impl Resolver for Moved {
        fn watch(&self, _: &str) -> Watch {
            self.0.subscribe()
        }
    }

    async fn seen(watch: &Watch) -> (Vec<String>, bool) {
        sleep(Duration::from_millis(1)).await;
        let ids = watch.current().iter().map(|e| e.id().to_string()).collect();
        (ids, watch.state().is_fresh())
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_stands_in_until_the_first_has_answered_and_never_again() {
        let set = |id: &str| vec![Endpoint::new(id, "h:1".parse().unwrap())];
        let one = |id: &str| vec![id.to_owned()];
        let (first, second) = (Publisher::new(), Publisher::new());
        let resolver = Fallback::new(Moved(first.clone()), Moved(second.clone()));
        let watch = resolver.watch("s");
        assert_eq!(seen(&watch).await, (vec![], false));
        second.publish(set("file"));
        assert_eq!(seen(&watch).await, (one("file"), false));
        first.stale("connection refused");
        sleep(Duration::from_millis(1)).await;
        assert!(watch.state().to_string().ends_with("connection refused"), "{}", watch.state());
        first.publish(set("consul"));
        assert_eq!(seen(&watch).await, (one("consul"), true));
        first.stale("down again");
        second.publish(set("newer file"));
        assert_eq!(seen(&watch).await, (one("consul"), false));
    }
}
