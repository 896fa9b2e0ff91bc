//! A limit on how many calls are in flight at once: fixed, or found by itself.
//!
//! A rate says nothing about calls that hang. A [`ConcurrencyLimit`] counts calls from their start to
//! the end of their response's body, and refuses those above the limit, at once or after a short wait
//! in turn. That is a bulkhead for a client, which keeps one slow callee from taking every task, and
//! load shedding for a server, which answers quickly what it cannot do in time.
//!
//! | limit | finds by itself | needs to know | for |
//! |---|---|---|---|
//! | [`Fixed`](Limit::Fixed) | nothing | what the callee can do | pools of a known size |
//! | [`Aimd`] | what is answered in time | how long calls may take | many clients of one server |
//! | [`Gradient`] | what makes no queue | nothing | servers; the only client of a callee |
//!
//! Little's law says what a limit means: calls in flight are calls per second times seconds per call.
//! A callee that works on ten calls at once, 100 ms each, does 100 a second; the eleventh call in
//! flight makes all of them wait and none of them more.

mod acquire;
mod aimd;
mod bounds;
mod config;
mod estimator;
mod events;
mod future;
mod gate;
mod gradient;
mod layer;
mod limit;
mod permit;
mod queue;
mod sample;
#[cfg(feature = "http")]
mod server;
mod service;
mod snapshot;
mod window;

#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;

pub use acquire::Acquire;
pub use aimd::Aimd;
pub use config::{Builder, Config, Limit};
pub use events::{Observer, Refusal};
pub use future::ResponseFuture;
pub use gradient::Gradient;
pub use layer::ConcurrencyLayer;
pub use limit::ConcurrencyLimit;
pub use permit::Permit;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use server::{ServerFuture, ServerLayer, ServerService};
pub use service::ConcurrencyService;
pub use snapshot::Snapshot;
