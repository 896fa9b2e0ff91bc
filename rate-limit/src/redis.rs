//! Limits that many processes share through Redis.
//!
//! # Layers of this module
//!
//! | file | what it is |
//! |---|---|
//! | `rule` | one limit in whole numbers; what its state answers (pure) |
//! | `plan` | the limits of a key, [`IntoPlan`] |
//! | `ask` | a question, its answer, [`Failure`] |
//! | `decide.lua` | all algorithms, several limits at once, runs of equal questions |
//! | `link` | sends script calls: pipeline on a server, side by side on a cluster |
//! | `batch` | groups questions by key, turns replies into answers |
//! | `store` | lanes: coalescing, time-outs; `Store::ask` |
//! | `refusals` | the local memory of refusals |
//! | `policy` | what is answered when Redis does not |
//! | `connect` | connects anew after a loss, asks the sentinels again |
//! | `limiter`, `build` | the handle, and how it is built |

mod ask;
mod batch;
mod build;
mod connect;
mod key;
mod layer;
mod limiter;
mod link;
mod plan;
mod policy;
#[cfg(test)]
mod proof;
mod refusals;
mod rule;
mod slot;
mod store;

pub use self::{
    ask::Failure,
    build::{Builder, ConnectError},
    key::{RedisKey, RedisKeyedLimiter},
    layer::{Asking, ByRedisKey, Turn},
    limiter::RedisLimiter,
    plan::{IntoPlan, Plan},
};

/// What Redis runs for each key of a batch.
const DECIDE: &str = include_str!("redis/decide.lua");
