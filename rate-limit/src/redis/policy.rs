//! What is answered when Redis does not.

use super::{
    ask::{Answer, Ask, Failure, Kind},
    plan::Plan,
};
use crate::Rejected;

/// What a limiter answers when Redis does not; chosen by name where the limiter is built.
#[derive(Clone, Debug)]
pub(crate) enum Policy {
    /// Everything passes.
    Open,
    /// Nothing passes.
    Closed,
}

impl Policy {
    /// The answer to `ask` in place of Redis.
    pub(crate) fn answer(&self, plan: &Plan, ask: Ask, failure: &Failure) -> Answer {
        let _ = failure;
        let allowed = plan.unknown().degraded();
        let passes = matches!(self, Self::Open) || ask.cost == 0 || ask.kind == Kind::Refund;
        let taken = if passes && ask.kind == Kind::AtMost { ask.cost } else { 0 };
        let result = if passes || ask.kind == Kind::AtMost {
            Ok(allowed)
        } else {
            Err(Rejected::after(RETRY_NANOS, allowed.standing()).degraded())
        };
        Answer { result, cells: taken, now_micros: 0 }
    }
}

/// When a caller may try again that was refused because Redis is away.
const RETRY_NANOS: u64 = 1_000_000_000;
