//! A registration that is kept alive.

use std::{fmt, sync::Arc, time::Duration};

use seawall_core::{ConfigError, Health};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{Agent, RegisterError, Registration};

mod keeper;

use keeper::{End, Keeper, Wish};

/// How a [`Lease`] stands with its registry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LeaseState {
    /// The registry took the last heartbeat.
    Registered,
    /// The registry did not; the lease goes on trying.
    Failing {
        /// When the first failure in a row was seen.
        since: Instant,
        /// What the last one was.
        why: Arc<RegisterError>,
    },
    /// The lease is over.
    Ended {
        /// Whether the registry said that the registration is gone.
        deregistered: bool,
    },
}

impl LeaseState {
    /// Whether the registry took the last heartbeat.
    pub fn is_registered(&self) -> bool {
        matches!(self, Self::Registered)
    }
}

/// Keeps an instance registered for as long as it lives.
///
/// A task sends a heartbeat at once and then every third of the TTL. When the registry has
/// forgotten the instance, say because it restarted without its data, the task registers it again.
/// While the registry is down it goes on trying, at least once per heartbeat. Without a TTL it asks
/// every 10 s whether the instance is still there.
///
/// Dropping the lease ends it too, as well as that can be done without waiting: the deregistration
/// is sent if the runtime lives long enough. A program that ends should wait for
/// [`shutdown`](Self::shutdown) first.
///
/// # Examples
///
/// ```
/// use seawall_core::Health;
/// use seawall_discovery::{Memory, Registrar as _, Registration, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Memory::new();
/// let watch = registry.watch("orders");
/// let lease = registry.register(Registration::new("orders", "10.0.0.7:80".parse()?)?).await?;
/// assert_eq!(watch.current().len(), 1);
///
/// lease.shutdown().await?;
/// assert_eq!(watch.current().len(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a lease deregisters the instance"]
pub struct Lease {
    registration: Arc<Registration>,
    wish: watch::Sender<Wish>,
    state: watch::Receiver<LeaseState>,
}

impl Lease {
    /// Registers with `agent`, and keeps that alive: the means to write a
    /// [`Registrar`](crate::Registrar).
    ///
    /// # Errors
    ///
    /// What the agent answered to the registration.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn keep<A: Agent>(
        agent: A,
        registration: Registration,
    ) -> Result<Self, RegisterError> {
        let health = registration.health;
        agent.register(&registration, health).await?;
        let registration = Arc::new(registration);
        let wish = Wish { health, weight: registration.weight, end: End::No };
        let (wish_sender, wish) = watch::channel(wish);
        let (state_sender, state) = watch::channel(LeaseState::Registered);
        let keeper = Keeper::new(agent, (*registration).clone(), wish, state_sender);
        tokio::spawn(keeper.run());
        Ok(Self { registration, wish: wish_sender, state })
    }

    /// What was registered.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// How the lease stands with its registry.
    pub fn state(&self) -> LeaseState {
        self.state.borrow().clone()
    }

    /// What a server shows of this lease.
    pub(crate) fn view(&self) -> LeaseView {
        LeaseView { wish: self.wish.subscribe(), state: self.state.clone() }
    }

    /// The state as it changes.
    pub fn states(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// The health that the registry is told.
    pub fn health(&self) -> Health {
        self.wish.borrow().health
    }

    /// Tells the registry, at once and then with each heartbeat, that the instance is in `health`.
    ///
    /// Does not wait. Of several changes in a row the last one counts.
    pub fn set_health(&self, health: Health) {
        self.wish.send_modify(|wish| wish.health = health);
    }

    /// Changes the share of the calls that the instance gets while it is passing.
    ///
    /// Does not wait. Of several changes in a row the last one counts.
    ///
    /// # Errors
    ///
    /// When `weight` is 0.
    pub fn set_weight(&self, weight: u16) -> Result<(), ConfigError> {
        if weight == 0 {
            return Err(ConfigError::new("weight", 0, "1 to 65535"));
        }
        self.wish.send_modify(|wish| wish.weight = weight);
        Ok(())
    }

    /// Stops the heartbeats and deregisters the instance.
    ///
    /// Can be called any number of times; all of them wait for the same end. Takes at most the
    /// [`shutdown_timeout`](crate::RegistrationBuilder::shutdown_timeout) of the registration.
    ///
    /// # Errors
    ///
    /// When the registry did not say in that time that the instance is gone. It will then be
    /// forgotten when its TTL and [`forget_after`](crate::RegistrationBuilder::forget_after) have
    /// passed.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the lease ends even if the future is dropped.
    pub async fn shutdown(&self) -> Result<(), NotDeregistered> {
        self.end(End::Deregister);
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, LeaseState::Ended { .. }));
        // The task bounds itself; this bounds the wait for a task that its runtime never polls.
        let limit = self.registration.shutdown_timeout.saturating_add(Duration::from_millis(100));
        match timeout(limit, ended).await {
            Ok(Ok(state)) if matches!(*state, LeaseState::Ended { deregistered: true }) => Ok(()),
            _ => Err(NotDeregistered { id: Arc::clone(&self.registration.id) }),
        }
    }

    /// Stops the heartbeats and leaves the instance in the registry, for a successor with the same
    /// id to take over, or to see what others make of an instance that crashed.
    pub fn abandon(self) {
        self.end(End::Abandon);
    }

    /// The first end that is asked for is the one that counts.
    fn end(&self, end: End) {
        self.wish.send_if_modified(|wish| {
            let first = wish.end == End::No;
            if first {
                wish.end = end;
            }
            first
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end(End::Deregister);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.registration.id())
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

/// The health that a lease tells its registry, as it changes.
#[derive(Clone, Debug)]
pub(crate) struct LeaseView {
    wish: watch::Receiver<Wish>,
    state: watch::Receiver<LeaseState>,
}

impl LeaseView {
    /// The health; none once the lease ends.
    pub(crate) fn health(&self) -> Option<Health> {
        let wish = self.wish.borrow();
        let ended = matches!(*self.state.borrow(), LeaseState::Ended { .. });
        if ended || wish.end != End::No { None } else { Some(wish.health) }
    }

    /// Waits for a change of the health.
    #[cfg(feature = "tonic")]
    pub(crate) async fn changed(&mut self) {
        if self.wish.changed().await.is_err() {
            // The lease is gone, and with it every change.
            std::future::pending().await
        }
    }
}

/// The registry did not confirm in time that an instance is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDeregistered {
    id: Arc<str>,
}

impl fmt::Display for NotDeregistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry did not confirm that {} is deregistered", self.id)
    }
}

impl std::error::Error for NotDeregistered {}
