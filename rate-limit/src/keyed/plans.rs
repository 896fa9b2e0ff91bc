//! The quotas of a keyed limiter.
//!
//! The tag of a key names the slot of the bucket that its state belongs to, because buckets of
//! different quotas count in different units. A change gives a plan another slot, and whoever touches
//! a key of the old one moves it; so does the change itself, until the old slot is empty.

use seawall_core::{ConfigError, Instant};

use super::table::SLOTS;
use crate::{Quota, TokenBucket, algorithm::Algorithm};

/// One slot is for the plan that is being changed.
pub(super) const PLANS_MAX: usize = SLOTS - 1;

/// All of this changes as a whole.
#[derive(Clone, Debug)]
pub(super) struct Plans {
    generation: u64,
    slots: Vec<TokenBucket>,
    /// The slot of each plan.
    plans: Vec<u8>,
    /// The slot that no plan has.
    spare: u8,
    /// When the keys of the spare slot began to move to this other one.
    moving: Option<(u8, Instant)>,
}

impl Plans {
    pub(super) fn new(quotas: &[Quota]) -> Result<Self, ConfigError> {
        if quotas.is_empty() || quotas.len() > PLANS_MAX {
            return Err(ConfigError::new("plans", quotas.len(), format!("1 to {PLANS_MAX} plans")));
        }
        let buckets = quotas.iter().map(|quota| TokenBucket::new(*quota));
        let mut slots = buckets.collect::<Result<Vec<_>, _>>()?;
        // At most 127 of them, checked above.
        let plans: Vec<u8> = (0..quotas.len() as u8).collect();
        let spare = quotas.len() as u8;
        slots.extend(slots.first().copied());
        Ok(Self { generation: 0, slots, plans, spare, moving: None })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn count(&self) -> usize {
        self.plans.len()
    }

    #[inline]
    pub(super) fn slot(&self, plan: usize) -> u8 {
        self.plans[plan]
    }

    #[inline]
    pub(super) fn bucket(&self, plan: usize) -> &TokenBucket {
        self.at(self.plans[plan])
    }

    /// The bucket in a slot. A slot that was read without a lock may not be there any more: what is
    /// decided by it is then thrown away.
    fn at(&self, slot: u8) -> &TokenBucket {
        let last = self.slots.len() - 1;
        &self.slots[usize::from(slot).min(last)]
    }

    pub(super) fn rested_nanos(&self, slot: u8, tat: u64, now: Instant) -> Option<u64> {
        self.at(slot).rested_nanos(tat, now)
    }

    pub(super) fn nanos_to_rest(&self, slot: u8, tat: u64, now: Instant) -> u64 {
        self.at(slot).nanos_to_rest(tat, now)
    }

    /// Whether keys are leaving this slot.
    pub(super) fn is_moved(&self, slot: u8) -> bool {
        self.moving.is_some() && slot == self.spare
    }

    /// Makes the state of a key in slot `from` one of slot `to`.
    pub(super) fn move_to(&self, to: u8, mut from: u8, state: &mut u64, now: Instant) {
        if let Some((slot, at)) = self.moving.filter(|_| from == self.spare) {
            // As of the change, however much later its turn comes.
            self.adopt(slot, from, state, at);
            from = slot;
        }
        if from != to {
            self.adopt(to, from, state, now);
        }
    }

    fn adopt(&self, to: u8, from: u8, state: &mut u64, now: Instant) {
        let (before, after) = (self.at(from), self.at(to));
        if before.is_at_rest(*state, now) {
            // It may have been forgotten just as well.
            *state = after.rest();
        } else {
            after.adopt(before, state, now);
        }
    }

    /// The next generation: `plan` keeps `bucket`, and its keys begin to move.
    pub(super) fn changed(&self, plan: usize, bucket: TokenBucket, at: Instant) -> Self {
        let mut next = self.clone();
        next.generation += 1;
        next.slots[usize::from(self.spare)] = bucket;
        next.spare = self.plans[plan];
        next.plans[plan] = self.spare;
        next.moving = Some((self.spare, at));
        next
    }

    /// The generation after that: the keys have moved.
    pub(super) fn settled(self) -> Self {
        Self { generation: self.generation + 1, moving: None, ..self }
    }
}
