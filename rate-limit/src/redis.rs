//! Limits that many processes share through Redis.
//!
//! A [`RedisLimiter`] decides as the limiters of one process do, by the same algorithms, and goes into
//! the same layers. Limiters of one name share one limit, whichever process they are in.
//!
//! # What is guaranteed
//!
//! | while | what passes |
//! |---|---|
//! | Redis answers | exactly what the algorithm lets pass, in Redis's time, whatever the clocks of the processes say |
//! | Redis does not answer in time | everything ([`fail_open`](RedisLimiter::fail_open)), nothing ([`fail_closed`](RedisLimiter::fail_closed)) or this process's share of the limit ([`fail_local`](RedisLimiter::fail_local)); the answer [says so](crate::Allowed::is_degraded) |
//! | a decision timed out | it may have taken its cells, as its answer [says](crate::Allowed::may_have_taken): it is not asked again, so that at most those are lost |
//! | a connection to a node of a cluster broke | redis-rs asks again by itself, up to three times: cells may be taken more than once, so that fewer pass, never more |
//! | Redis lost its data, or a replica that had not heard all took over | at most one burst more |
//!
//! A decision takes at most the [time-out](Builder::timeout), reconnecting included. When Redis leaves
//! five decisions in a row unanswered it is left alone: for a second the named policy answers at once,
//! then one decision finds out whether Redis is back, and the others go on as before until it is.
//!
//! # What Redis is asked
//!
//! One script call for each key of a batch, and nothing else. A batch is what gathered while the last
//! one was on its way, so that hundreds of decisions at once on one key are one call. A key that was
//! refused until some moment is refused here until then, without a call. The script is sent by its
//! hash, and as a whole when Redis has forgotten it.
//!
//! # Operating it
//!
//! - Each key is one string in Redis, or a sorted set for a
//!   [`SlidingLog`](crate::algorithm::SlidingLog), and expires once its limit is back at rest.
//! - All keys of one decision have one hash tag, so that a cluster keeps them in one slot.
//! - All processes of one limit want the same choice of what happens without Redis.
//! - A `maxmemory-policy` that drops keys (`allkeys-*`, and `volatile-*`, since all of them expire)
//!   forgets limits that are in use. Set `noeviction`, or give limits a server of their own.

// Which file is what:
//
// - `rule`: one limit in whole numbers, and what its state answers (pure)
// - `plan`: the limits of a key
// - `ask`: a question, its answer, why there was none
// - `decide.lua`: all algorithms, several limits at once, runs of equal questions
// - `link`: sends script calls, in a pipeline to a server, side by side to a cluster
// - `batch`: groups questions by key, turns replies into answers
// - `store`: lanes, which coalesce and time out
// - `refusals`: the local memory of refusals
// - `policy`: what is answered when Redis does not; `local`: the share that a process keeps to then
// - `connect`: connects anew after a loss, asks the sentinels again
// - `limiter`, `key`, `build`: the handles, and how they are built

mod ask;
mod batch;
mod build;
mod connect;
mod key;
mod layer;
mod limiter;
mod link;
mod local;
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
