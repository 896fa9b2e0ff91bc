//! Where a lease has its instance.
//!
//! What is registered with one agent is that agent's to deregister, so a lease stays with the agent
//! that took it. Only when that one has been out of reach for as long as the TTL, after which the
//! registry shows the instance as critical anyway, it moves to the next; the agent that it left is
//! told to forget the instance as soon as it can be reached.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use seawall_core::Health;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::{
    Consul,
    body::{Service, Update},
    http::At,
};
use crate::{Agent, RegisterError, Registration, wire};

/// How long a lease without a TTL stays with an agent that is out of reach.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long an agent that was left may hold up a heartbeat, or the end of a lease.
const LEFT_TIMEOUT: Duration = Duration::from_secs(1);

/// The agent that a lease is registered with.
pub(super) struct Home {
    consul: Consul,
    stay: Mutex<Stay>,
}

#[derive(Default)]
struct Stay {
    /// The agent that took the registration.
    at: Option<usize>,
    /// Since when that one is out of reach.
    lost: Option<Instant>,
    /// Agents that may hold the registration too.
    left: Vec<usize>,
}

impl Home {
    pub(super) fn new(consul: Consul) -> Self {
        Self { consul, stay: Mutex::default() }
    }

    /// No change of it is made in parts, so a panic elsewhere is no reason to stop.
    fn stay(&self) -> MutexGuard<'_, Stay> {
        self.stay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, place: usize) -> At<'_> {
        self.consul.shared.http.at(place)
    }

    /// Registers with the first agent that can be reached.
    async fn settle(&self, of: &Registration, health: Health) -> Result<(), RegisterError> {
        let mut last = None;
        for place in self.consul.shared.http.route.all() {
            match self.enter(place, of, health).await {
                Ok(()) => {
                    let mut stay = self.stay();
                    stay.left.retain(|left| *left != place);
                    (stay.at, stay.lost) = (Some(place), None);
                    return Ok(());
                }
                Err(error @ RegisterError::Unreachable { .. }) => {
                    // It may have got the request all the same.
                    self.leave(place);
                    self.consul.shared.consider(place, &error).await;
                    last = Some(error);
                }
                Err(error @ RegisterError::Unavailable { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        // There is at least one agent, so there was an answer.
        last.map_or(Ok(()), Err)
    }

    fn leave(&self, place: usize) {
        let mut stay = self.stay();
        if self.consul.shared.http.route.branches() && !stay.left.contains(&place) {
            stay.left.push(place);
        }
    }

    /// Notes what came of a request to the agent at `place`. Turns an agent that has been out of
    /// reach for too long into one that does not know the instance, which has the lease register
    /// anew.
    async fn note(
        &self,
        place: usize,
        of: &Registration,
        result: Result<(), RegisterError>,
    ) -> Result<(), RegisterError> {
        let Err(error @ RegisterError::Unreachable { .. }) = result else {
            self.stay().lost = None;
            return result;
        };
        self.consul.shared.consider(place, &error).await;
        if !self.consul.shared.http.route.branches() {
            return Err(error);
        }
        let since = *self.stay().lost.get_or_insert_with(Instant::now);
        let patience = of.ttl.unwrap_or(PATIENCE);
        if since.elapsed() < patience {
            return Err(error);
        }
        let registry = self.at(place).name().to_owned();
        let message = format!("it has been out of reach for {patience:?}");
        self.leave(place);
        let mut stay = self.stay();
        (stay.at, stay.lost) = (None, None);
        Err(RegisterError::Unknown { registry, message })
    }

    async fn enter(
        &self,
        place: usize,
        of: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        let body = self.json(place, &Service::new(of, health))?;
        let path = ["v1", "agent", "service", "register"];
        // Ends the maintenance that an earlier life of the same id may have left, too.
        self.at(place).put(&path, &[("replace-existing-checks", "true")], body).await?;
        if health == Health::Maintenance {
            self.maintain(place, of, true).await?;
        }
        Ok(())
    }

    async fn pass(
        &self,
        place: usize,
        of: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        if of.ttl.is_none() {
            return self.at(place).ask(&["v1", "agent", "service", &of.id]).await.map(drop);
        }
        let body = self.json(place, &Update { status: wire::status(health) })?;
        let id = wire::check_id(of);
        self.at(place).put(&["v1", "agent", "check", "update", &id], &[], body).await
    }

    async fn maintain(
        &self,
        place: usize,
        of: &Registration,
        enable: bool,
    ) -> Result<(), RegisterError> {
        let query = [("enable", if enable { "true" } else { "false" })];
        let path = ["v1", "agent", "service", "maintenance", &of.id];
        self.at(place).put(&path, &query, Vec::new()).await
    }

    /// Has an agent that was left forget the instance, if it can be reached by now.
    async fn clear(&self, place: usize, id: &str) -> Result<(), RegisterError> {
        let agent = self.at(place);
        let unreachable = || RegisterError::Unreachable {
            registry: agent.name().to_owned(),
            source: format!("no answer within {LEFT_TIMEOUT:?}").into(),
        };
        let cleared = timeout(LEFT_TIMEOUT, agent.deregister(id)).await;
        cleared.unwrap_or_else(|_| Err(unreachable()))?;
        tracing::info!(id, agent = agent.name(), "instance is gone from an agent that was left");
        self.stay().left.retain(|left| *left != place);
        Ok(())
    }

    fn json(&self, place: usize, body: &impl Serialize) -> Result<Vec<u8>, RegisterError> {
        serde_json::to_vec(body).map_err(|error| self.at(place).garbled(error))
    }
}

impl Agent for Home {
    async fn register(&self, of: &Registration, health: Health) -> Result<(), RegisterError> {
        wire::check_allows(of, health)?;
        let at = self.stay().at;
        let Some(place) = at else { return self.settle(of, health).await };
        let entered = async {
            self.enter(place, of, health).await?;
            // Consul lets a check that it knows keep the status that it had.
            if of.ttl.is_some() { self.pass(place, of, health).await } else { Ok(()) }
        };
        let result = entered.await;
        match self.note(place, of, result).await {
            Err(RegisterError::Unknown { .. }) if self.stay().at.is_none() => {
                self.settle(of, health).await
            }
            result => result,
        }
    }

    async fn heartbeat(&self, of: &Registration, health: Health) -> Result<(), RegisterError> {
        let (at, left) = {
            let stay = self.stay();
            (stay.at, stay.left.first().copied())
        };
        let Some(place) = at else { return self.settle(of, health).await };
        let result = self.pass(place, of, health).await;
        self.note(place, of, result).await?;
        if let Some(left) = left {
            // It is tried again with the next heartbeat.
            let _ = self.clear(left, &of.id).await;
        }
        Ok(())
    }

    async fn change_health(
        &self,
        of: &Registration,
        before: Health,
        after: Health,
    ) -> Result<(), RegisterError> {
        wire::check_allows(of, after)?;
        let at = self.stay().at;
        let Some(place) = at else { return self.settle(of, after).await };
        let changed = async {
            if (before == Health::Maintenance) != (after == Health::Maintenance) {
                self.maintain(place, of, after == Health::Maintenance).await?;
            }
            self.pass(place, of, after).await
        };
        let result = changed.await;
        self.note(place, of, result).await
    }

    async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        let (at, left) = {
            let stay = self.stay();
            (stay.at, stay.left.clone())
        };
        let there = async {
            match at {
                Some(place) => self.at(place).deregister(id).await,
                None => Ok(()),
            }
        };
        let elsewhere = async {
            let mut all = Ok(());
            for place in left {
                if let Err(error) = self.clear(place, id).await {
                    tracing::warn!(id, error = error.line(), "instance may stay registered");
                    all = Err(error);
                }
            }
            all
        };
        let (there, elsewhere) = tokio::join!(there, elsewhere);
        if at.is_some() { there } else { elsewhere }
    }
}
