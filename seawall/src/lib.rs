//! Make the client to a service survive: discovery, load balancing, circuit breaking, rate limiting,
//! time-outs and retries behind one builder.
//!
//! [`grpc`](fn@grpc) gives a channel for a client that tonic generated, [`http`](fn@http) a reqwest
//! client. Both do as a [`Policy`](policy::Policy) says, and both have defaults that are safe
//! without one: every endpoint has a breaker, calls go to the less loaded of two endpoints, and what
//! never reached a server is sent to another.
//!
//! # Examples
//!
//! ```
//! use seawall::{discovery::{Memory, Registrar, Registration}, policy::Policy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Memory::new(); // or `discovery::Consul`
//! let here = Registration::builder("orders", "127.0.0.1:50051".parse()?).build()?;
//! let _lease = registry.register(here).await?;
//!
//! let policy = Policy::from_yaml("{ timeout: 2s, retries: { attempts: 3, per_try_timeout: 250ms } }")?;
//! let orders = seawall::grpc("orders").resolver(registry).policy(policy).build()?;
//! // let client = OrdersClient::new(orders.clone());
//! # let _ = orders;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tonic` (default) | [`grpc`](fn@grpc) |
//! | `reqwest` (default) | [`http`](fn@http) |
//! | `consul` | `discovery::Consul` |
//! | `redis` | a rate limit that many processes share, `rate_limit.shared` |
//! | `schema` | the JSON Schema of a policy, [`Policy::json_schema`](policy::Policy::json_schema) |
//! | `admin` | [`admin`]: a live page, metrics and actions |
//! | `full` | all of these |
//!
//! # When not to use this
//!
//! Behind a sidecar that retries and breaks already: two layers that retry multiply. For one of the
//! parts alone, take its own crate.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "tonic", feature = "reqwest")),
    allow(dead_code, unreachable_pub, unused_imports, reason = "the transports share these")
)]

mod act;
#[cfg(feature = "admin")]
pub mod admin;
mod breakers;
mod budget;
mod call;
mod deadline;
mod error;
mod fallback;
mod first_frame;
mod gate;
#[doc = include_str!("guide-from-istio.md")]
pub mod guide_from_istio {}
mod guarded;
mod hedge;
mod latency;
mod limit;
mod live;
mod setup;
mod shutdown;
mod snapshot;
mod verdict;
mod way;

#[cfg(feature = "tonic")]
pub mod grpc;
#[cfg(feature = "reqwest")]
pub mod http;
pub mod policy;
mod pool;
mod protocol;

pub use seawall_circuit_breaker as circuit_breaker;
pub use seawall_core as core;
pub use seawall_discovery as discovery;
pub use seawall_load_balance as load_balance;
pub use seawall_rate_limit as rate_limit;

#[cfg(feature = "tonic")]
pub use self::grpc::grpc;
#[cfg(feature = "reqwest")]
pub use self::http::http;
pub use act::{Action, Refused};
pub use error::{BuildError, Error};
pub use fallback::{Answer, Because, Degraded, DegradedFrom, Failed, FallbackSnapshot};
pub use setup::ClientBuilder;
pub use shutdown::{Shutdown, StillRunning};
pub use snapshot::{
    BudgetSnapshot, EndpointSnapshot, HedgeSnapshot, LimiterSnapshot, MethodSnapshot,
    RouteSnapshot, ServiceSnapshot, Snapshot,
};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
