//! The shared handle.

use std::{fmt, sync::Arc};

use seawall_circuit_breaker::{CircuitBreaker, Outcome};
use seawall_core::{Clock, ConfigError, Rejection};

use super::{
    ask::{Answer, Ask, Failure, Kind},
    plan::{IntoPlan, Plan},
    policy::Policy,
    refusals::Refusals,
    store::Store,
};
use crate::{Allowed, Quota, Rejected, Snapshot, sync::Swap, watch::Watch};

/// Says whether a call may go on now, by a limit that all processes share whose limiters have the same
/// name and prefix. Clones share everything.
///
/// Made by a [`Builder`](super::Builder): [`fail_open`](Self::fail_open),
/// [`fail_closed`](Self::fail_closed), [`fail_local`](Self::fail_local).
#[derive(Clone)]
pub struct RedisLimiter {
    pub(super) shared: Arc<Shared>,
    /// The key of this limiter's own limit: its name.
    pub(super) key: Arc<[u8]>,
}

pub(super) struct Shared {
    pub(super) exact: Exact,
    pub(super) policy: Policy,
    pub(super) watch: Watch,
}

/// Decides by Redis alone, and says why where it cannot: what all modes are built upon.
pub(crate) struct Exact {
    pub(super) store: Store,
    pub(super) plan: Plan,
    /// The plan after a change.
    pub(super) changed: Swap<Plan>,
    pub(super) refusals: Refusals,
    /// Open while Redis is silent, so that nobody waits for it.
    pub(super) breaker: CircuitBreaker,
    pub(super) clock: Clock,
}

impl Exact {
    pub(crate) fn plan(&self) -> Plan {
        self.changed.with(|plan| plan.unwrap_or(&self.plan).clone())
    }

    /// Asks about `key`. What Redis refused and would refuse still is refused without asking.
    ///
    /// # Errors
    ///
    /// When Redis gives no answer in time or at all.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the question is sent, nothing is asked; afterwards Redis decides all the same.
    pub(crate) async fn ask(&self, key: &Arc<[u8]>, ask: Ask) -> Result<Answer, Failure> {
        let since = self.clock.now();
        if let Some(rejected) = self.refusals.recall(key, ask, since) {
            return Ok(Answer { result: Err(rejected), cells: 0, now_micros: 0 });
        }
        let permit = self.breaker.admit().map_err(|_| Failure::Silent)?;
        let answer = self.store.ask(key.clone(), self.plan(), ask).await;
        // A server that answers with an error answers.
        let silent = answer.as_ref().is_err_and(Failure::may_have_taken);
        permit.finish(if silent { Outcome::Failure } else { Outcome::Success });
        let answer = answer?;
        match answer.result {
            Err(rejected) => self.refusals.remember(key, ask, rejected, since),
            Ok(_) if ask.kind == Kind::Refund => self.refusals.forget(key),
            Ok(_) => {}
        }
        Ok(answer)
    }
}

impl Shared {
    /// What the caller is told, whether Redis answers or not.
    pub(super) async fn answer(&self, key: &Arc<[u8]>, ask: Ask) -> Answer {
        match self.exact.ask(key, ask).await {
            Ok(answer) => answer,
            Err(failure) => self.policy.answer(key, &self.exact.plan(), ask, &failure),
        }
    }

    pub(super) async fn check(&self, key: &Arc<[u8]>, ask: Ask) -> Result<Allowed, Rejected> {
        let answer = self.answer(key, ask).await;
        self.watch.tell(ask.cost, answer.result)
    }
}

impl RedisLimiter {
    /// Takes one cell, or says when there is one.
    ///
    /// # Errors
    ///
    /// When there is none; nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the question is sent, nothing is taken; afterwards Redis decides all the same.
    pub async fn check(&self) -> Result<Allowed, Rejected> {
        self.check_n(1).await
    }

    /// Takes `cost` cells, all or none. A cost of 0 takes nothing and always passes.
    ///
    /// # Errors
    ///
    /// When there are too few; nothing has changed then. A cost above what the limit can ever hold
    /// [never](Rejected::is_never) passes.
    ///
    /// # Cancel safety
    ///
    /// As for [`check`](Self::check).
    pub async fn check_n(&self, cost: u32) -> Result<Allowed, Rejected> {
        self.shared.check(&self.key, Ask::take(cost)).await
    }

    /// Takes as many cells as there are, at most `cost`, and says how many that were.
    pub async fn check_at_most(&self, cost: u32) -> u32 {
        self.shared.answer(&self.key, Ask::at_most(cost)).await.cells
    }

    /// Takes `cost` cells for a call that is not important: only when `reserve` more would be left.
    ///
    /// # Errors
    ///
    /// When too few would be left; nothing has changed then.
    pub async fn check_sheddable(&self, cost: u32, reserve: u32) -> Result<Allowed, Rejected> {
        self.shared.check(&self.key, Ask::sheddable(cost, reserve)).await
    }

    /// What [`check`](Self::check) would answer; takes nothing.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn peek(&self) -> Result<Allowed, Rejected> {
        self.shared.answer(&self.key, Ask::peek(1)).await.result
    }

    /// Gives back `cost` cells that were taken just now and not used.
    ///
    /// A window gives back no more than passed in it, a sliding log those that passed last.
    pub async fn refund(&self, cost: u32) {
        let _ = self.shared.answer(&self.key, Ask::refund(cost, 0)).await;
    }

    /// How the limit stands; takes nothing.
    pub async fn snapshot(&self) -> Snapshot {
        let standing = self.shared.answer(&self.key, Ask::peek(0)).await.result;
        let (remaining, reset_after) = match standing {
            Ok(allowed) => (allowed.remaining(), allowed.reset_after()),
            Err(rejected) => (rejected.remaining(), rejected.reset_after()),
        };
        let watch = &self.shared.watch;
        Snapshot {
            name: watch.shared_name(),
            quota: self.quota(),
            remaining,
            reset_after,
            reserve: watch.reserve(),
            shadow: watch.is_shadow(),
            totals: watch.totals(),
        }
    }

    /// What it limits to; with several limits, the first of them.
    pub fn quota(&self) -> Quota {
        self.shared.exact.plan().quota()
    }

    /// Keeps `plan` from now on: in each key what is left of a bucket stays, and what passed in a
    /// window. A limit of another algorithm begins at rest.
    ///
    /// Other processes keep what they were told; while both decide, each goes by its own.
    ///
    /// # Errors
    ///
    /// When Redis cannot count it exactly; nothing has changed then.
    pub fn set_plan(&self, plan: impl IntoPlan) -> Result<(), ConfigError> {
        let plan = plan.into_plan()?;
        let quota = plan.quota();
        if let Policy::Local(local) = &self.shared.policy {
            local.set_plan(&plan)?;
        }
        self.shared.exact.changed.set(Arc::new(plan));
        self.shared.exact.refusals.clear();
        self.shared.watch.reconfigured(quota);
        Ok(())
    }

    /// Its name, which is its key too.
    pub fn name(&self) -> Option<&str> {
        self.shared.watch.name()
    }

    /// A refusal for good.
    pub(super) fn never(&self) -> Rejected {
        Rejected::never(self.shared.exact.plan().unknown().standing())
    }

    /// `rejected` in the words that all crates share, in the name of this limiter.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        self.shared.watch.rejection(rejected)
    }
}

impl fmt::Debug for RedisLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimiter")
            .field("quota", &self.quota())
            .field("watch", &self.shared.watch)
            .finish_non_exhaustive()
    }
}
