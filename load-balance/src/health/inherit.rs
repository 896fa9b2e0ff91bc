//! What a balancer takes over from the one that it takes the place of.

use super::{COLD, FAILING, FLAG_BITS, FLAGS, Health, RESTING, WARMING, is_ejected};
use crate::{
    node::Node,
    sync::Ordering::{Acquire, Relaxed},
};

impl Health {
    /// Goes on with the standing that an endpoint had in another balancer, as far as the rules of this
    /// one have it: an ejection to its end, a slow start from its beginning, a row of failures.
    pub(crate) fn inherit(&self, node: &Node, before: &Node) {
        let old = before.state().word.load(Acquire);
        let (from, to) = (before.record(), node.record());
        node.state().rows.store(before.state().rows.load(Relaxed), Relaxed);
        for (from, to) in [
            (&from.warming_since, &to.warming_since),
            (&from.returned_at, &to.returned_at),
            (&from.ejections, &to.ejections),
        ] {
            to.store(from.load(Relaxed), Relaxed);
        }
        to.level.store(from.level.load(Relaxed), Relaxed);
        // An interval begins now, and what was counted in all is no part of it.
        let totals = node.totals();
        to.swept_successes.store(totals.successes, Relaxed);
        to.swept_failures.store(totals.failures, Relaxed);

        let out = match &self.ejection {
            // Counted beforehand, as every ejection is; too many are too many here as well.
            Some(rules) => is_ejected(old) && self.reserve(rules),
            None => false,
        };
        let rests = old >> FLAGS != 0 && old & RESTING != 0;
        self.change(node, |word| {
            // It is connected, and passed its checks if it did.
            let mut word = word & FLAG_BITS & !(COLD | FAILING);
            if self.gate {
                word |= old & FAILING;
            }
            if self.slow_start.is_some() {
                word |= old & WARMING;
            }
            if rests {
                word |= RESTING;
            }
            Some(if out || rests { word | (old & !FLAG_BITS) } else { word })
        });
    }

    /// Goes on with the latency of all endpoints together.
    pub(crate) fn inherit_usual(&self, before: &Self) {
        self.usual.copy(&before.usual);
    }
}
