//! What is answered when Redis does not.

use super::{
    ask::{Answer, Ask, Failure, Kind},
    local::Local,
    plan::Plan,
};
use crate::{Allowed, Rejected};

/// What a limiter answers when Redis does not; chosen by name where the limiter is built.
#[derive(Debug)]
pub(crate) enum Policy {
    /// Everything passes.
    Open,
    /// Nothing passes.
    Closed,
    /// This process keeps to its share of the limit.
    Local(Local),
}

impl Policy {
    /// The answer to `key` in place of Redis.
    pub(crate) fn answer(&self, key: &[u8], plan: &Plan, ask: Ask, failure: &Failure) -> Answer {
        let answer = match self {
            Self::Local(local) => local.answer(key, ask, plan.unknown()),
            Self::Open => blind(true, ask, plan.unknown()),
            Self::Closed => blind(false, ask, plan.unknown()),
        };
        let unsure = failure.may_have_taken();
        let result = match answer.result {
            Ok(allowed) => Ok(allowed.degraded(unsure)),
            Err(rejected) => Err(rejected.degraded(unsure)),
        };
        Answer { result, ..answer }
    }
}

/// An answer that knows of no limit.
fn blind(open: bool, ask: Ask, unknown: Allowed) -> Answer {
    let passes = open || ask.cost == 0 || ask.kind == Kind::Refund;
    let cells = if passes && ask.kind == Kind::AtMost { ask.cost } else { 0 };
    let result = if passes || ask.kind == Kind::AtMost {
        Ok(unknown)
    } else {
        Err(Rejected::after(RETRY_NANOS, unknown.standing()))
    };
    Answer { result, cells, now_micros: 0 }
}

/// When a caller may try again that was refused because Redis is away.
const RETRY_NANOS: u64 = 1_000_000_000;
