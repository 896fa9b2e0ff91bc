//! The endpoints that can be called, fed by hand or by a stream.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Weak},
};

use futures_core::Stream;
use seawall_core::{Change, Endpoint, EndpointId};
use tokio::task::AbortHandle;
use tower::discover::Discover;

use crate::sync::{Mutex, lock};

/// The endpoints of one service, shared by every balancer over it.
///
/// Clones are handles to the same set. A batch of changes becomes visible at once, and balancers
/// follow it before [`apply`](Self::apply) returns: no task of theirs is involved.
///
/// # Examples
///
/// ```
/// use seawall_core::{Change, Endpoint};
/// use seawall_load_balance::EndpointSet;
///
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:80".parse()?)]);
/// set.apply([
///     Change::Insert(Endpoint::new("b", "10.0.0.2:80".parse()?)),
///     Change::Remove("a".into()),
/// ]);
/// assert_eq!(set.endpoints()[0].id().as_str(), "b");
/// # Ok::<(), seawall_core::AddressError>(())
/// ```
#[derive(Clone)]
pub struct EndpointSet {
    shared: Arc<Shared>,
}

/// Where the changes of an [`EndpointSet`] come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Source {
    /// From whoever holds the set.
    Manual,
    /// From a stream, which is still there.
    Following,
    /// From a stream that ended. The last endpoints stay in use.
    Ended,
    /// From a stream that failed. The last endpoints stay in use.
    Failed,
}

/// Follows the changes of a set.
pub(crate) trait Watcher: Send + Sync {
    /// Called under the set's lock, so that all watchers see the same order. What it returns is
    /// dropped after the lock, because it runs code of the user's.
    fn changed(&self, batch: &Batch) -> Vec<Arc<dyn Any + Send + Sync>>;
}

/// The net effect of some changes: each id once, with what it is now, or nothing when it is gone.
pub(crate) type Batch = BTreeMap<EndpointId, Option<Arc<Endpoint>>>;

struct Shared {
    state: Mutex<State>,
    /// The task that follows a stream. It holds no handle, so that it ends with the last one.
    task: Mutex<Option<AbortHandle>>,
}

struct State {
    /// As their source has them.
    endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
    /// Those that get no new calls, whatever their source says.
    drained: BTreeSet<EndpointId>,
    watchers: Vec<Weak<dyn Watcher>>,
    source: Source,
}

impl EndpointSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::with_source(Source::Manual)
    }

    /// A set of these endpoints; of several with one id the last one counts.
    pub fn from_endpoints(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let set = Self::new();
        set.apply(endpoints.into_iter().map(Change::Insert));
        set
    }

    /// A set that follows `changes`, in a task that ends with the last handle to the set and the
    /// last balancer over it.
    ///
    /// When the stream ends, the last endpoints stay in use and [`source`](Self::source) says so.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn from_stream<C>(changes: C) -> Self
    where
        C: Stream<Item = Vec<Change>> + Send + 'static,
    {
        Self::follow(async move |set| {
            let mut changes = pin!(changes);
            while let Some(batch) = poll_fn(|cx| changes.as_mut().poll_next(cx)).await {
                Self::feed(&set, batch);
            }
            Source::Ended
        })
    }

    /// A set that follows a [`tower::discover::Discover`] of endpoints, in a task that ends as that
    /// of [`from_stream`](Self::from_stream) does.
    ///
    /// When it ends or fails, the last endpoints stay in use and [`source`](Self::source) says so.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn from_discover<D>(discover: D) -> Self
    where
        D: Discover<Key = EndpointId, Service = Endpoint> + Send + 'static,
    {
        Self::follow(async move |set| {
            let mut discover = pin!(discover);
            loop {
                match poll_fn(|cx| discover.as_mut().poll_discover(cx)).await {
                    Some(Ok(change)) => Self::feed(&set, [change.into()]),
                    Some(Err(_)) => return Source::Failed,
                    None => return Source::Ended,
                }
            }
        })
    }

    fn with_source(source: Source) -> Self {
        let (endpoints, drained) = Default::default();
        let state = State { endpoints, drained, watchers: Vec::new(), source };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), task: Mutex::new(None) }) }
    }

    fn follow<F>(follow: impl FnOnce(Weak<Shared>) -> F) -> Self
    where
        F: Future<Output = Source> + Send + 'static,
    {
        let set = Self::with_source(Source::Following);
        let following = follow(Arc::downgrade(&set.shared));
        // A panic of the stream leaves it as it is here.
        let end = End { set: Arc::downgrade(&set.shared), source: Source::Failed };
        let task = tokio::spawn(async move {
            let mut end = end;
            end.source = following.await;
        });
        *lock(&set.shared.task) = Some(task.abort_handle());
        set
    }

    fn feed(set: &Weak<Shared>, batch: impl IntoIterator<Item = Change>) {
        if let Some(shared) = set.upgrade() {
            Self { shared }.apply(batch);
        }
    }

    /// Applies a batch of changes, all at once.
    ///
    /// An endpoint that keeps its id keeps what balancers learned about it, and its connection too
    /// unless its address changed. Inserting one that is there updates it; removing one that is not
    /// there does nothing.
    ///
    /// # Cost
    ///
    /// Linear in the batch, plus one new snapshot per balancer: a copy of a few words for each
    /// endpoint, made here and never on the path of a request.
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        let retired: Vec<_> = {
            let mut state = lock(&self.shared.state);
            let batch = state.net(changes);
            state.commit(&batch)
        };
        drop(retired);
    }

    /// Replaces the whole set. Endpoints that keep their id keep what was learned about them.
    pub fn replace(&self, endpoints: impl IntoIterator<Item = Endpoint>) {
        let new: BTreeMap<EndpointId, Endpoint> =
            endpoints.into_iter().map(|endpoint| (endpoint.id().clone(), endpoint)).collect();
        let retired: Vec<_> = {
            let mut state = lock(&self.shared.state);
            let gone: Vec<_> =
                state.endpoints.keys().filter(|id| !new.contains_key(*id)).cloned().collect();
            let inserts = new.into_values().map(Change::Insert);
            let batch = state.net(inserts.chain(gone.into_iter().map(Change::Remove)));
            state.commit(&batch)
        };
        drop(retired);
    }

    /// Sends no new calls to an endpoint, whatever its source says of it, until
    /// [`undrain`](Self::undrain): it is as one of weight 0, and its calls in flight finish. An
    /// endpoint that leaves and returns under its id stays drained. `false` when it is not there, or
    /// is drained already.
    pub fn drain(&self, id: &EndpointId) -> bool {
        self.show(id, |state| state.endpoints.contains_key(id) && state.drained.insert(id.clone()))
    }

    /// Has an endpoint get calls again as its source says; `false` when it is not drained.
    pub fn undrain(&self, id: &EndpointId) -> bool {
        self.show(id, |state| state.drained.remove(id))
    }

    /// Shows the watchers an endpoint that `change` changed, if it did.
    fn show(&self, id: &EndpointId, change: impl FnOnce(&mut State) -> bool) -> bool {
        let mut state = lock(&self.shared.state);
        let changed = change(&mut state);
        let batch = state.endpoints.get(id).map(|now| (id.clone(), Some(now.clone())));
        let retired: Vec<_> = match batch.filter(|_| changed) {
            Some(one) => state.tell(&Batch::from([one])),
            None => Vec::new(),
        };
        drop(state);
        drop(retired);
        changed
    }

    /// The endpoints, ordered by id.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        lock(&self.shared.state).endpoints.values().cloned().collect()
    }

    /// How many endpoints there are.
    pub fn len(&self) -> usize {
        lock(&self.shared.state).endpoints.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the changes come from, and whether they still do.
    pub fn source(&self) -> Source {
        lock(&self.shared.state).source
    }

    /// Lets `watcher` follow the set: what is there already comes as a first batch.
    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>) {
        let mut state = lock(&self.shared.state);
        if let Some(first) = watcher.upgrade() {
            let all = state.endpoints.iter();
            let all = all.map(|(id, endpoint)| (id.clone(), Some(endpoint.clone()))).collect();
            first.changed(&state.shown(all));
        }
        state.watchers.push(watcher);
    }
}

impl Default for EndpointSet {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<Endpoint> for EndpointSet {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        Self::from_endpoints(endpoints)
    }
}

impl fmt::Debug for EndpointSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.shared.state);
        f.debug_struct("EndpointSet")
            .field("endpoints", &state.endpoints.len())
            .field("source", &state.source)
            .finish()
    }
}

impl State {
    /// What `changes` come to; those that change nothing are left out.
    fn net(&self, changes: impl IntoIterator<Item = Change>) -> Batch {
        let mut batch = Batch::new();
        for change in changes {
            let (id, new) = match change {
                Change::Insert(endpoint) | Change::Update(endpoint) => {
                    (endpoint.id().clone(), Some(Arc::new(endpoint)))
                }
                Change::Remove(id) => (id, None),
            };
            batch.insert(id, new);
        }
        batch.retain(|id, new| self.endpoints.get(id) != new.as_ref());
        batch
    }

    fn commit(&mut self, batch: &Batch) -> Vec<Arc<dyn Any + Send + Sync>> {
        if batch.is_empty() {
            return Vec::new();
        }
        for (id, new) in batch {
            match new {
                Some(endpoint) => self.endpoints.insert(id.clone(), endpoint.clone()),
                None => self.endpoints.remove(id),
            };
        }
        self.tell(batch)
    }

    /// A batch as watchers are to see it.
    fn shown(&self, mut batch: Batch) -> Batch {
        for (id, endpoint) in &mut batch {
            if let Some(endpoint) = endpoint.as_mut().filter(|_| self.drained.contains(id)) {
                *endpoint = Arc::new(Endpoint::clone(endpoint).with_weight(0));
            }
        }
        batch
    }

    fn tell(&mut self, batch: &Batch) -> Vec<Arc<dyn Any + Send + Sync>> {
        let shown = self.shown(batch.clone());
        let mut retired = Vec::new();
        self.watchers.retain(|watcher| match watcher.upgrade() {
            Some(watcher) => {
                retired.extend(watcher.changed(&shown));
                // The last handle of a balancer may have gone meanwhile; what it held is the
                // user's, and its destructor may reach for this set.
                let watcher: Arc<dyn Watcher> = watcher;
                retired.push(Arc::new(Held(watcher)));
                true
            }
            None => false,
        });
        retired
    }
}

/// Carries a watcher out of the lock.
struct Held(#[expect(dead_code, reason = "held to be dropped later")] Arc<dyn Watcher>);

/// Notes how the task ended, be it by a panic of the stream.
struct End {
    set: Weak<Shared>,
    source: Source,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(shared) = self.set.upgrade() {
            lock(&shared.state).source = self.source;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}
