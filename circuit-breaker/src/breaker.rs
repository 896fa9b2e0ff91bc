//! The handle: reads the clock, asks the machine, tells the observer.

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use fastrand::Rng;
use seawall_core::{AnyError, Classify, Clock, Error, Instant, Outcome, Rejection};

use crate::{
    Config, Counts, Mode, Observer, OwnedPermit, Permit, Rejected, Snapshot, State, Transition,
    machine::{Machine, Success, Ticket},
    state::Word,
    totals::Counters,
};

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

pub(crate) struct Shared {
    pub(crate) machine: Machine,
    pub(crate) clock: Clock,
    name: Option<Arc<str>>,
    observer: Option<Arc<dyn Observer>>,
    counters: Option<Box<Counters>>,
}

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

impl Shared {
    #[inline]
    fn admit(&self) -> Result<Ticket, Rejected> {
        if let Some(ticket) = self.machine.admit_plain() {
            return Ok(ticket);
        }
        // Written to a place of its own and copied, so that the ticket above stays in registers.
        let mut ticket = Ticket::unwatched();
        self.admit_otherwise(&mut ticket)?;
        Ok(ticket.copied())
    }

    #[inline(never)]
    fn admit_otherwise(&self, ticket: &mut Ticket) -> Result<(), Rejected> {
        let decision = self.machine.admit(self.clock.now());
        if decision.transition.is_some() {
            self.tell(decision.transition);
        }
        match decision.verdict {
            Ok(admitted) => *ticket = admitted,
            Err(rejected) => {
                self.tell_rejected(&rejected, decision.shadow);
                if !decision.shadow {
                    return Err(rejected);
                }
            }
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn finish(&self, ticket: Ticket, outcome: Outcome) {
        if let Some(counters) = &self.counters {
            counters.ended(outcome);
        }
        if outcome == Outcome::Success && self.machine.succeed_in_a_row(&ticket) {
            return;
        }
        let (word, start, rest) = ticket.parts();
        if outcome == Outcome::Success {
            self.succeed(word, start, rest);
        } else {
            self.finish_otherwise(word, start, rest, outcome);
        }
    }

    #[inline(never)]
    fn succeed(&self, word: Word, start: Instant, rest: u64) {
        match self.machine.succeed_in_window(&Ticket::from_parts((word, start, rest))) {
            Success::Counted => {}
            Success::Weigh(counts) => self.weigh(word, start, rest, counts),
            Success::NotPlain => self.finish_otherwise(word, start, rest, Outcome::Success),
        }
    }

    // The parts of the ticket one by one: they stay in registers on the way above.
    #[inline(never)]
    fn finish_otherwise(&self, word: Word, start: Instant, rest: u64, outcome: Outcome) {
        let ticket = Ticket::from_parts((word, start, rest));
        self.tell(self.machine.finish(ticket, outcome, || self.clock.now()));
    }

    #[inline(never)]
    fn weigh(&self, word: Word, start: Instant, rest: u64, counts: Counts) {
        let ticket = Ticket::from_parts((word, start, rest));
        self.tell(self.machine.weigh_success(&ticket, counts, || self.clock.now()));
    }

    fn tell_rejected(&self, rejected: &Rejected, shadow: bool) {
        if let Some(counters) = &self.counters {
            counters.rejected();
        }
        if let Some(observer) = &self.observer {
            observer.rejected(self.name.as_deref(), rejected, shadow);
        }
    }

    fn tell(&self, transition: Option<Transition>) {
        if let (Some(transition), Some(observer)) = (&transition, &self.observer) {
            observer.transition(self.name.as_deref(), transition);
        }
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

/// Sets up a [`CircuitBreaker`].
#[must_use = "call `build`"]
pub struct CircuitBreakerBuilder {
    config: Config,
    name: Option<Arc<str>>,
    clock: Option<Clock>,
    observer: Option<Arc<dyn Observer>>,
    seed: Option<u64>,
    count_outcomes: bool,
}

impl CircuitBreakerBuilder {
    /// The name that refusals and events carry.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Who tells the time; the fast clock unless set.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Who hears of changes and refusals.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Makes the jitter of the open wait repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Counts every outcome and refusal, for [`Snapshot::totals`].
    ///
    /// # Cost
    ///
    /// One shared write for each call.
    pub fn count_outcomes(mut self) -> Self {
        self.count_outcomes = true;
        self
    }

    /// The breaker.
    pub fn build(self) -> CircuitBreaker {
        let clock = self.clock.unwrap_or_default();
        let rng = self.seed.map_or_else(Rng::new, Rng::with_seed);
        let machine = Machine::new(self.config, clock.now(), rng);
        let (name, observer) = (self.name, self.observer);
        let counters = self.count_outcomes.then(|| Box::new(Counters::new()));
        CircuitBreaker { shared: Arc::new(Shared { machine, clock, name, observer, counters }) }
    }
}

impl fmt::Debug for CircuitBreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerBuilder")
            .field("config", &self.config)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
