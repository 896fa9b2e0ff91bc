//! The service of one endpoint: made when it is first picked, dropped when the endpoint leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use seawall_core::{Admission, BoxError, Clock, Endpoint, Instant};

use crate::{
    ConnectFuture,
    sync::{Mutex, lock},
    warm_up::Connect,
};

/// How long a factory that failed is left alone: long enough not to spin, short enough for a
/// repaired endpoint not to be missed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Makes the service of an endpoint.
///
/// Implemented for closures from `&Endpoint` to `Result<S, E>`. Called once per endpoint, when it
/// is first picked, and again when its address has changed, when its service has failed for good
/// (an error of `poll_ready`), or a second after it failed to be made.
///
/// It runs inside the call that needs the service, so it should not block: make a client that
/// connects when it is used.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::MakeEndpoint;
///
/// let make = |endpoint: &Endpoint| Ok::<_, std::io::Error>(endpoint.address().to_string());
/// let service = make.make(&Endpoint::new("a", "10.0.0.1:80".parse()?))?;
/// assert_eq!(service, "10.0.0.1:80");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait MakeEndpoint {
    /// The service of one endpoint. Its clones share one connection.
    type Service;
    /// Why it could not be made.
    type Error: Into<BoxError>;

    /// Makes the service of `endpoint`.
    ///
    /// # Errors
    ///
    /// That endpoint is skipped, and the error shown in the balancer's snapshot, until a later try
    /// succeeds.
    fn make(&self, endpoint: &Endpoint) -> Result<Self::Service, Self::Error>;

    /// Makes the service of `endpoint` and connects it, where
    /// [`ConfigBuilder::warm_up`](crate::ConfigBuilder::warm_up) asks for connections before calls.
    /// `None`, as unless implemented, when there is nothing to do beforehand: the first call makes
    /// the service. See [`WarmUp`](crate::WarmUp) for factories that are closures.
    fn connect(&self, endpoint: &Endpoint) -> Option<ConnectFuture<Self::Service>> {
        let _ = endpoint;
        None
    }
}

impl<F, S, E> MakeEndpoint for F
where
    F: Fn(&Endpoint) -> Result<S, E>,
    E: Into<BoxError>,
{
    type Service = S;
    type Error = E;

    fn make(&self, endpoint: &Endpoint) -> Result<S, E> {
        self(endpoint)
    }
}

pub(crate) type Make<S> = dyn Fn(&Endpoint) -> Result<S, BoxError> + Send + Sync;

/// The two uses of one factory.
pub(crate) type Factory<S> = (Box<Make<S>>, Box<Connect<S>>);

/// What a balancer does with a factory: make a service, and connect one.
pub(crate) fn split<M>(make: M) -> Factory<M::Service>
where
    M: MakeEndpoint + Send + Sync + 'static,
{
    let make = Arc::new(make);
    let connects = make.clone();
    (
        Box::new(move |endpoint| make.make(endpoint).map_err(Into::into)),
        Box::new(move |endpoint| connects.connect(endpoint)),
    )
}

/// The connection to one address. An endpoint that moves gets a new one.
pub(crate) struct Link<S> {
    service: ArcSwapOption<S>,
    making: Mutex<Making>,
    retry_at: AtomicU64,
}

#[derive(Default)]
struct Making {
    /// The endpoint has left; nothing is made for it any more.
    retired: bool,
    error: Option<Arc<str>>,
}

/// Why there is no service.
#[derive(Debug, PartialEq)]
pub(crate) enum NoService {
    /// The endpoint has left or moved since the snapshot was taken.
    Retired,
    /// It could not be made just now.
    Failed,
}

impl<S> Link<S> {
    /// Whether a service that could not be made may be tried again.
    pub(crate) fn may_retry(&self, now: Instant) -> bool {
        self.retry_at.load(Relaxed) <= now.as_nanos()
    }
}

impl<S: Clone> Link<S> {
    pub(crate) fn new() -> Self {
        Self {
            service: ArcSwapOption::empty(),
            making: Mutex::default(),
            retry_at: AtomicU64::new(0),
        }
    }

    /// What `admits` says of the service; nothing is refused while there is none.
    pub(crate) fn admission(&self, admits: fn(&S) -> Admission) -> Admission {
        self.service.load().as_deref().map_or(Admission::Open, admits)
    }

    /// A clone of the service, if it is made.
    pub(crate) fn made(&self) -> Option<S> {
        self.service.load().as_deref().cloned()
    }

    /// A clone of the service, which is made if there is none.
    pub(crate) fn service(
        &self,
        make: &Make<S>,
        endpoint: impl FnOnce() -> Arc<Endpoint>,
        clock: &Clock,
    ) -> Result<S, NoService> {
        match &*self.service.load() {
            Some(service) => Ok(S::clone(service)),
            None => self.make(make, &endpoint(), clock),
        }
    }

    #[cold]
    fn make(&self, make: &Make<S>, endpoint: &Endpoint, clock: &Clock) -> Result<S, NoService> {
        // Held while the service is made, so that it is made once; others that picked this endpoint
        // for the first time wait for it.
        let mut making = lock(&self.making);
        if making.retired {
            return Err(NoService::Retired);
        }
        if let Some(service) = &*self.service.load() {
            return Ok(S::clone(service));
        }
        match make(endpoint) {
            Ok(service) => {
                making.error = None;
                self.service.store(Some(Arc::new(service.clone())));
                Ok(service)
            }
            Err(error) => {
                making.error = Some(error.to_string().into());
                let retry_at = clock.now().saturating_add(RETRY_AFTER);
                self.retry_at.store(retry_at.as_nanos(), Relaxed);
                Err(NoService::Failed)
            }
        }
    }

    /// Goes on with a service that is made already, unless this has one or has left.
    pub(crate) fn adopt(&self, service: Arc<S>) {
        let making = lock(&self.making);
        if !making.retired && self.service.load().is_none() {
            self.service.store(Some(service));
        }
    }

    /// The service, if it is made.
    pub(crate) fn shared(&self) -> Option<Arc<S>> {
        self.service.load_full()
    }

    /// The service has failed for good; the next pick makes another.
    pub(crate) fn discard(&self) {
        let making = lock(&self.making);
        let service = self.service.swap(None);
        drop(making);
        drop(service);
    }

    /// Takes the service out for good, to be dropped by whoever calls this.
    pub(crate) fn retire(&self) -> Option<Arc<S>> {
        let mut making = lock(&self.making);
        making.retired = true;
        self.service.swap(None)
    }

    pub(crate) fn error(&self) -> Option<Arc<str>> {
        lock(&self.making).error.clone()
    }
}
