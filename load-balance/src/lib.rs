//! Spreads the calls of a client over the endpoints of a service, and notices the bad ones.
//!
//! A [`Balancer`] is a tower service over services of its own, one per endpoint of an
//! [`EndpointSet`]. It picks the less loaded of two random endpoints for each call, skips those that
//! keep failing, takes a call elsewhere when an endpoint cannot be reached, and counts a call as in
//! flight until the body of its response has ended. It is `Clone` and needs no buffer. A dead
//! endpoint, an empty set or a failed registry cannot wedge it.
//!
//! # Examples
//!
//! ```
//! use seawall_core::{Change, Endpoint};
//! use seawall_load_balance::{Balancer, EndpointSet};
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let set = EndpointSet::new();
//! let balancer = Balancer::builder(set.clone(), |endpoint: &Endpoint| {
//!     let id = endpoint.id().clone();
//!     Ok::<_, std::io::Error>(service_fn(move |_request: u32| {
//!         let id = id.clone();
//!         async move { Ok::<_, std::io::Error>(id) }
//!     }))
//! })
//! .build()?;
//!
//! // A call waits for a first endpoint, for as long as it was told to.
//! let call = tokio::spawn(balancer.oneshot(1));
//! set.apply([Change::Insert(Endpoint::new("a", "10.0.0.1:80".parse()?))]);
//! assert_eq!(call.await??, "a".into());
//! # Ok(())
//! # }
//! ```
//!
//! The [`guide`] says which policy when, and what happens to a call when its endpoint dies.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http` | in-flight counts until the body ends, requests that can be sent again, keys from requests |
//! | `tonic` | one lazy channel per endpoint, for generated clients |
//! | `reqwest` | one client per endpoint, or rewritten URLs, as a service and a middleware |
//! | `serde` | `Deserialize` for configurations, `Serialize` for snapshots |
//! | `metrics` | `MetricsObserver` |
//! | `tracing` | `TracingObserver` |
//! | `full` | all of these |
//!
//! # When not to use this
//!
//! Behind one address that balances already, such as a load balancer of layer 7 or a service mesh,
//! a second one in the client knows less than the first. For one server there is nothing to balance.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod area;
mod balancer;
mod check;
mod config;
mod context;
mod eject;
mod elsewhere;
mod events;
mod future;
#[doc = include_str!("guide.md")]
#[doc = include_str!("guide/share.svg")]
#[doc = include_str!("guide/p99.svg")]
#[doc = include_str!("guide/failover.svg")]
pub mod guide {}
mod hash;
mod health;
mod keeper;
mod key;
mod latency;
mod layer;
mod link;
mod members;
#[cfg(feature = "metrics")]
mod metrics;
mod node;
mod pick;
mod picked;
mod policy;
mod resend;
mod route;
mod rule;
mod service;
mod set;
mod shared;
mod slow_start;
mod snapshot;
#[cfg(feature = "http")]
mod sticky;
mod subset;
mod sync;
mod tiers;
#[cfg(feature = "tracing")]
mod tracing;
mod tried;
mod view;
mod wait;
mod warm_up;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;

pub use balancer::{Balancer, BalancerBuilder, Picker};
pub use check::{ActiveChecks, Check, CheckFuture, TcpCheck};
pub use config::{Config, ConfigBuilder};
pub use context::PickContext;
pub use eject::{Ejection, FailurePercentage, SuccessRate};
pub use events::{EjectCause, Ejected, Observer, Panic, Returned};
pub use future::ResponseFuture;
pub use hash::{AbsentKey, ConsistentHash, Maglev, Ring};
pub use key::{HashKey, KeySource, Keyed};
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use key::{KeyFrom, KeyedRequest};
pub use layer::{Admits, BalanceLayer, Foretold, Unasked};
pub use link::MakeEndpoint;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use metrics::MetricsObserver;
pub use picked::Picked;
pub use policy::{PeakEwma, Policy};
pub use resend::{CloneRequest, JudgeUnsent, Once, Resend, Unsent};
pub use route::{Failover, Routed, Select, Split, ZoneAware};
pub use rule::{CustomRule, Roster, Rule, View};
pub use set::{EndpointSet, Source};
pub use slow_start::SlowStart;
pub use snapshot::{BalancerSnapshot, EndpointSnapshot, EndpointState};
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use sticky::{StickyFuture, StickyLayer, StickyService};
pub use subset::Subset;
pub use tiers::RouteSnapshot;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use tracing::TracingObserver;
pub use tried::{Attempt, Tried};
pub use warm_up::{ConnectFuture, WarmUp, WarmUpFuture};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
