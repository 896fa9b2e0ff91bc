//! The handle: reads the clock, asks the machine, tells the observer.

mod builder;
mod shared;

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use seawall_core::{Admission, AnyError, Classify, Error, Rejection};

pub use self::builder::CircuitBreakerBuilder;
pub(crate) use self::shared::Shared;
use crate::{Config, Mode, OwnedPermit, Permit, Rejected, Snapshot, State};

/// A circuit breaker. Clones share its state.
///
/// # Cost
///
/// A call through a closed breaker reads two words, as long as only failures in a row are counted and
/// none has come. A refusal reads two words and the clock. Neither allocates nor locks. Changes of
/// state, and the calls of a half-open breaker that its gate lets through, take a lock for some dozens
/// of instructions.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_circuit_breaker::{CircuitBreaker, Clock, Config, State};
///
/// let (clock, hand) = Clock::manual();
/// let config = Config::builder().consecutive_failures(2).build()?;
/// let breaker = CircuitBreaker::builder(config).clock(clock).build();
///
/// for _ in 0..2 {
///     breaker.admit()?.failure();
/// }
/// let rejected = breaker.admit().unwrap_err();
/// assert_eq!(rejected.retry_after(), Some(Duration::from_secs(5)));
///
/// hand.advance(Duration::from_secs(5));
/// let probe = breaker.admit()?;
/// assert_eq!(breaker.state(), State::HalfOpen);
/// probe.success();
/// assert_eq!(breaker.state(), State::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
}

/// A panic in a call finds the breaker whole: it counts as a failure like any other.
impl UnwindSafe for CircuitBreaker {}
impl RefUnwindSafe for CircuitBreaker {}

impl CircuitBreaker {
    /// A closed breaker with the fast clock.
    pub fn new(config: Config) -> Self {
        Self::builder(config).build()
    }

    /// Sets up a breaker with a name, a clock or an observer.
    pub fn builder(config: Config) -> CircuitBreakerBuilder {
        CircuitBreakerBuilder {
            config,
            name: None,
            clock: None,
            observer: None,
            seed: None,
            count_outcomes: false,
        }
    }

    /// Asks for the right to make one call.
    ///
    /// # Errors
    ///
    /// The breaker refuses: it is open, or half-open with all probes out.
    #[inline]
    pub fn admit(&self) -> Result<Permit<'_>, Rejected> {
        self.shared.admit().map(|ticket| Permit::new(&self.shared, ticket))
    }

    /// Asks for the right to make one call that outlives this handle, such as one in a future.
    ///
    /// # Errors
    ///
    /// As for [`admit`](Self::admit).
    #[inline]
    pub fn admit_owned(&self) -> Result<OwnedPermit, Rejected> {
        self.shared.admit().map(|ticket| OwnedPermit::new(self.shared.clone(), ticket))
    }

    /// Whether a call would be admitted now. Changes nothing, and promises nothing: another caller
    /// may take the last probe.
    #[inline]
    pub fn would_admit(&self) -> bool {
        self.shared.machine.would_admit(|| self.shared.clock.now())
    }

    /// As [`would_admit`](Self::would_admit), and whether that call would be a probe.
    #[inline]
    pub fn admission(&self) -> Admission {
        self.shared.machine.admission(|| self.shared.clock.now())
    }

    /// Makes a call: every error counts as a failure, except a [`Rejection`] of another layer.
    ///
    /// ```
    /// use seawall_circuit_breaker::{CircuitBreaker, Config};
    ///
    /// let breaker = CircuitBreaker::new(Config::default());
    /// let answer = breaker.call(|| std::fs::read_to_string("/dev/null"))?;
    /// assert_eq!(answer, "");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The refusal of the breaker, or the error of `call`.
    ///
    /// # Panics
    ///
    /// When `call` does; that counts as a failure.
    pub fn call<R, E>(&self, call: impl FnOnce() -> Result<R, E>) -> Result<R, Error<E>>
    where
        E: std::error::Error + 'static,
    {
        self.call_with(AnyError, call)
    }

    /// As [`call`](Self::call), with the outcome judged by `classify`.
    ///
    /// # Errors
    ///
    /// The refusal of the breaker, or the error of `call`.
    pub fn call_with<R, E>(
        &self,
        classify: impl Classify<R, E>,
        call: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, Error<E>> {
        let permit = self.admit().map_err(|rejected| self.rejection(rejected))?;
        let result = call();
        permit.finish(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// As [`call`](Self::call), for a future; needs no runtime.
    ///
    /// # Errors
    ///
    /// The refusal of the breaker, or the error of `call`.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, it counts as [`OnDrop`](crate::OnDrop) says. The future of `call`
    /// is not polled when the breaker refuses.
    pub async fn call_async<R, E>(
        &self,
        call: impl Future<Output = Result<R, E>>,
    ) -> Result<R, Error<E>>
    where
        E: std::error::Error + 'static,
    {
        self.call_async_with(AnyError, call).await
    }

    /// As [`call_async`](Self::call_async), with the outcome judged by `classify`.
    ///
    /// # Errors
    ///
    /// The refusal of the breaker, or the error of `call`.
    pub async fn call_async_with<R, E>(
        &self,
        classify: impl Classify<R, E>,
        call: impl Future<Output = Result<R, E>>,
    ) -> Result<R, Error<E>> {
        let permit = self.admit().map_err(|rejected| self.rejection(rejected))?;
        let result = call.await;
        permit.finish(classify.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// The state. An open breaker stays open until a call comes after its wait.
    pub fn state(&self) -> State {
        self.shared.machine.word().state()
    }

    /// Who decides.
    pub fn mode(&self) -> Mode {
        self.shared.machine.word().mode()
    }

    /// Everything there is to see.
    pub fn snapshot(&self) -> Snapshot {
        let snapshot = self.shared.machine.snapshot(self.shared.clock.now());
        let totals = self.shared.counters.as_ref().map(|counters| counters.read());
        Snapshot { totals, ..snapshot }
    }

    /// The name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// Closes the breaker and forgets what was counted. A forced breaker stays forced.
    pub fn reset(&self) {
        self.restart(None);
    }

    /// Refuses every call from now on, until [`automatic`](Self::automatic).
    pub fn force_open(&self) {
        self.set_mode(Mode::ForcedOpen);
    }

    /// Admits every call from now on, until [`automatic`](Self::automatic).
    pub fn force_closed(&self) {
        self.set_mode(Mode::ForcedClosed);
    }

    /// Lets outcomes decide again, from closed.
    pub fn automatic(&self) {
        self.set_mode(Mode::Automatic);
    }

    /// Changes who decides, and begins anew.
    pub fn set_mode(&self, mode: Mode) {
        self.restart(Some(mode));
    }

    /// Takes over `config` while calls are running.
    ///
    /// The state stays, an open wait that has begun is kept, and so is what was counted, as long as
    /// the window and the threshold for slow calls are the same. Otherwise counting begins anew, and
    /// calls in flight count no more. Another mode than that of the last configuration begins anew.
    pub fn reconfigure(&self, config: Config) {
        let transition = self.shared.machine.reconfigure(config, self.shared.clock.now());
        self.shared.tell(transition);
    }

    /// `rejected` with the breaker's name, as services return it.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        let rejection = Rejection::from(rejected);
        match &self.shared.name {
            Some(name) => rejection.by(name.clone()),
            None => rejection,
        }
    }

    /// Whether more than `handles` handles or permits share the breaker.
    pub(crate) fn is_shared_beyond(&self, handles: usize) -> bool {
        Arc::strong_count(&self.shared) > handles
    }

    /// A refusal without an attempt, for a service that was not made ready.
    pub(crate) fn refuse(&self) -> Rejection {
        let rejected = self.shared.machine.refusal(self.shared.clock.now());
        self.shared.tell_rejected(&rejected, false);
        self.rejection(rejected)
    }

    fn restart(&self, mode: Option<Mode>) {
        let transition = self.shared.machine.restart(mode, self.shared.clock.now());
        self.shared.tell(Some(transition));
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.name())
            .field("state", &self.state())
            .field("mode", &self.mode())
            .finish_non_exhaustive()
    }
}
