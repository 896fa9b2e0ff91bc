//! A memory of refusals: what Redis refused until then is refused here until then.

use std::{collections::HashMap, sync::Arc};

use seawall_core::Instant;

use super::{
    ask::{Ask, Kind},
    slot::slot,
};
use crate::{
    Rejected,
    sync::{Mutex, lock},
};

/// So many keys are remembered in each part; beyond that, refused keys are asked about again.
const KEYS_MAX: usize = 1_024;
const PARTS: usize = 16;

/// Keys that Redis refused, and until when.
#[derive(Debug)]
pub(crate) struct Refusals {
    parts: Box<[Part]>,
}

type Part = Mutex<HashMap<Arc<[u8]>, Refusal>>;

#[derive(Clone, Copy, Debug)]
struct Refusal {
    asked: u64,
    /// When the question was sent, of which the answer counts at the latest.
    since: Instant,
    until: Instant,
    rejected: Rejected,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect() }
    }

    fn part(&self, key: &[u8]) -> &Part {
        &self.parts[usize::from(slot(key)) % PARTS]
    }

    /// The refusal of a question that asks for as much as one that was refused, or for more.
    pub(crate) fn recall(&self, key: &[u8], ask: Ask, now: Instant) -> Option<Rejected> {
        let asked = asked(ask)?;
        let mut part = lock(self.part(key));
        let refusal = part.get(key).copied()?;
        if refusal.until <= now {
            part.remove(key);
            return None;
        }
        (asked >= refusal.asked)
            .then(|| refusal.rejected.later_by(now.saturating_since(refusal.since)))
    }

    /// Remembers that `ask`, sent at `since`, was refused.
    pub(crate) fn remember(&self, key: &Arc<[u8]>, ask: Ask, rejected: Rejected, since: Instant) {
        let (Some(asked), Some(wait)) = (asked(ask), rejected.retry_after()) else { return };
        let refusal = Refusal { asked, since, until: since.saturating_add(wait), rejected };
        let mut part = lock(self.part(key));
        if part.len() >= KEYS_MAX && !part.contains_key(key) {
            part.retain(|_, refusal| refusal.until > since);
            if part.len() >= KEYS_MAX {
                return;
            }
        }
        part.insert(key.clone(), refusal);
    }

    /// Cells of `key` came back.
    pub(crate) fn forget(&self, key: &[u8]) {
        lock(self.part(key)).remove(key);
    }

    /// Another quota decides from now on.
    pub(crate) fn clear(&self) {
        for part in &self.parts {
            lock(part).clear();
        }
    }
}

/// How many cells have to be there, where a refusal says something about that.
fn asked(ask: Ask) -> Option<u64> {
    let asked = u64::from(ask.cost) + ask.spare;
    (matches!(ask.kind, Kind::Take | Kind::Peek) && ask.cost > 0).then_some(asked)
}
