//! The task behind a lease.

use std::{sync::Arc, time::Duration};

use seawall_core::Health;
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::LeaseState;
use crate::{Agent, RegisterError, Registration, backoff::Backoff};

/// How often the registry is asked for an instance that sends no heartbeats.
const PRESENCE: Duration = Duration::from_secs(10);
/// How long a registration whose answer never came may still be under way.
const LINGER: Duration = Duration::from_millis(250);

/// What the holder of the lease wants; only the latest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) health: Health,
    pub(super) weight: u16,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    No,
    Deregister,
    Abandon,
}

pub(super) struct Keeper<A> {
    agent: A,
    /// As the registry should have it.
    registration: Registration,
    /// As the registry was told last.
    health: Health,
    wish: watch::Receiver<Wish>,
    state: watch::Sender<LeaseState>,
    backoff: Backoff,
    rng: fastrand::Rng,
    /// What the registry last heard is not what it should have.
    dirty: bool,
    /// A registration went unanswered: it may reach the registry later than what follows it.
    in_doubt: bool,
}

impl<A: Agent> Keeper<A> {
    pub(super) fn new(
        agent: A,
        registration: Registration,
        wish: watch::Receiver<Wish>,
        state: watch::Sender<LeaseState>,
    ) -> Self {
        Self {
            agent,
            health: registration.health,
            registration,
            wish,
            state,
            backoff: Backoff::default(),
            rng: fastrand::Rng::new(),
            dirty: false,
            in_doubt: false,
        }
    }

    pub(super) async fn run(mut self) {
        let limit = self.registration.shutdown_timeout;
        let mut wish = self.wish.clone();
        let state = self.state.clone();
        let overdue = async {
            // An error means that the lease is gone, which asks for the end before it goes.
            let _ = wish.wait_for(|wish| wish.end != End::No).await;
            sleep(limit).await;
        };
        let deregistered = select! {
            biased;
            deregistered = self.live() => deregistered,
            () = overdue => false,
        };
        state.send_replace(LeaseState::Ended { deregistered });
    }

    /// Returns whether the registry said that the registration is gone.
    async fn live(&mut self) -> bool {
        let period = self.registration.ttl.map_or(PRESENCE, |ttl| ttl / 3);
        let mut failures = 0;
        let mut next = Instant::now();
        loop {
            select! {
                biased;
                _ = self.wish.changed() => {}
                () = sleep_until(next) => {}
            }
            let wish = *self.wish.borrow_and_update();
            match wish.end {
                End::No => {}
                End::Deregister => return self.deregister().await,
                End::Abandon => return false,
            }
            // Counted from the start of the attempt: a slow registry does not stretch the period.
            let started = Instant::now();
            let result = self.tell(wish).await;
            let wait = match &result {
                Ok(()) => {
                    failures = 0;
                    period
                }
                // More attempts do not change the registry's mind, but a new token may.
                Err(RegisterError::Denied { .. } | RegisterError::Config(_)) => period,
                Err(_) => {
                    failures += 1;
                    self.backoff.wait(failures, &mut self.rng).min(period)
                }
            };
            next = started + wait;
            self.note(result);
        }
    }

    /// One heartbeat, with all that the registry has to hear beside it.
    async fn tell(&mut self, wish: Wish) -> Result<(), RegisterError> {
        if wish.weight != self.registration.weight {
            self.registration.weight = wish.weight;
            self.dirty = true;
        }
        if !self.dirty {
            let told = if wish.health == self.health {
                self.agent.heartbeat(&self.registration, wish.health).await
            } else {
                let (before, after) = (self.health, wish.health);
                self.agent.change_health(&self.registration, before, after).await
            };
            match told {
                Ok(()) => {
                    self.health = wish.health;
                    return Ok(());
                }
                // What is about to end is not registered once more.
                Err(error) if self.wish.borrow().end != End::No => return Err(error),
                Err(RegisterError::Unknown { registry, message }) => {
                    let id = &self.registration.id;
                    tracing::warn!(%registry, %id, %message, "registry lost an instance");
                    self.dirty = true;
                }
                Err(error) => {
                    // A change may have been made although no answer came: say it all again.
                    self.dirty |= wish.health != self.health;
                    return Err(error);
                }
            }
        }
        let told = self.agent.register(&self.registration, wish.health).await;
        match &told {
            Ok(()) => {
                self.health = wish.health;
                self.dirty = false;
            }
            Err(RegisterError::Unreachable { .. }) => self.in_doubt = true,
            Err(_) => {}
        }
        told
    }

    async fn deregister(&mut self) -> bool {
        let id = Arc::clone(&self.registration.id);
        let mut failures = 0;
        loop {
            match self.agent.deregister(&id).await {
                Ok(()) | Err(RegisterError::Unknown { .. }) if self.in_doubt => {
                    self.in_doubt = false;
                    sleep(LINGER).await;
                }
                Ok(()) | Err(RegisterError::Unknown { .. }) => return true,
                Err(error @ RegisterError::Denied { .. }) => {
                    tracing::warn!(%id, error = %error.line(), "instance stays registered");
                    return false;
                }
                Err(error) => {
                    tracing::debug!(%id, error = %error.line(), "deregistration failed");
                    failures += 1;
                    sleep(self.backoff.wait(failures, &mut self.rng)).await;
                }
            }
        }
    }

    fn note(&self, result: Result<(), RegisterError>) {
        let id = &self.registration.id;
        match result {
            Ok(()) => {
                let back = self.state.send_if_modified(|state| {
                    let back = !state.is_registered();
                    *state = LeaseState::Registered;
                    back
                });
                if back {
                    tracing::info!(%id, "instance is registered again");
                }
            }
            Err(error) => {
                let line = error.line();
                let first = self.state.borrow().is_registered();
                self.state.send_modify(|state| {
                    let since = match state {
                        LeaseState::Failing { since, .. } => *since,
                        _ => Instant::now(),
                    };
                    *state = LeaseState::Failing { since, why: Arc::new(error) };
                });
                if first {
                    tracing::warn!(%id, error = %line, "heartbeat failed");
                } else {
                    tracing::debug!(%id, error = %line, "heartbeat failed again");
                }
            }
        }
    }
}
