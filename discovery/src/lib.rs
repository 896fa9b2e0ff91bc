//! Service registration and discovery that survive what happens to registries.
//!
//! A [`Registrar`] takes a [`Registration`] and gives a [`Lease`], which keeps the instance
//! registered: it sends heartbeats, registers again when the registry lost its data, and
//! deregisters when it ends. A [`Resolver`] gives a [`Watch`], a stream of changes that never ends
//! and never fails: when the registry is down, restarts or answers nonsense, the last good set stays
//! in use, and [`Watch::state`] says what is wrong.
//!
//! | registry | registers | follows | |
//! |---|---|---|---|
//! | [`Memory`] | yes | yes | inside the process, for tests and demonstrations |
//! | `Consul` | yes | yes | a Consul agent; feature `consul` |
//! | [`Fixed`] | | yes | lists that never change |
//! | `File` | | yes | a JSON file that is watched; feature `file` |
//! | `Dns` | | yes | addresses or SRV records, as of headless Kubernetes services; feature `dns` |
//! | [`Fallback`] | | yes | one resolver until another has answered |
//! | [`Merged`] | | yes | several resolvers, all that they know |
//! | `Cache` | | yes | another resolver, and its last good set on disk for a start while it is down; feature `file` |
//!
//! [`Serving`] runs a server that is registered exactly while it can be called: ready before it is
//! registered, deregistered before it stops.
//!
//! What happens in each failure, and how to operate it with Consul: the module [`guide`].
//!
//! To write another registry, give [`Lease::keep`] an [`Agent`], and make watches with a [`Publisher`].
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use futures::StreamExt as _;
//! use seawall_discovery::{Memory, Registrar as _, Registration, Resolver as _};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Memory::new();
//! let mut watch = registry.watch("orders");
//!
//! let registration = Registration::builder("orders", "10.0.0.7:50051".parse()?)
//!     .ttl(Duration::from_secs(9))
//!     .build()?;
//! let lease = registry.register(registration).await?;
//! println!("{:?}", watch.next().await);
//! assert_eq!(watch.ready(Duration::from_secs(1)).await?.len(), 1);
//!
//! lease.shutdown().await?;
//! println!("{:?}", watch.next().await);
//! assert!(watch.current().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `consul` | registrar and resolver over Consul's HTTP API |
//! | `consul-tls` | TLS to Consul with rustls: authorities and certificates of one's own |
//! | `dns` | resolver over DNS: addresses and SRV records |
//! | `file` | resolver over a JSON file; last good sets kept on disk |
//! | `consulrs` | registrar over a `ConsulClient` of the `consulrs` crate; see `ConsulRs` for what it costs |
//! | `http` | health checks of a server, answered from its lease |
//! | `tonic` | the gRPC health service of a server, from its lease |
//! | `tower` | watches as `tower::discover::Discover` |
//! | `full` | all but `consulrs` |
//!
//! # When not to use this
//!
//! Where the platform already gives each service one stable name and spreads the calls itself, as a
//! service mesh or a Kubernetes `ClusterIP` does, there is nothing to discover.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod agent;
mod backoff;
#[cfg(feature = "file")]
mod cache;
#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "consulrs")]
mod consulrs;
#[cfg(feature = "tower")]
mod discover;
#[cfg(feature = "dns")]
mod dns;
mod fallback;
#[cfg(feature = "file")]
mod file;
mod fixed;
#[doc = include_str!("guide.md")]
pub mod guide {}
#[cfg(feature = "http")]
mod health;
mod hub;
mod lease;
mod memory;
mod merged;
mod registrar;
mod registration;
mod resolver;
mod serving;
mod watch;
#[cfg(any(feature = "consul", feature = "consulrs"))]
mod wire;

#[cfg(feature = "consulrs")]
#[cfg_attr(docsrs, doc(cfg(feature = "consulrs")))]
pub use self::consulrs::ConsulRs;
pub use agent::Agent;
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub use cache::Cache;
#[cfg(feature = "consul")]
#[cfg_attr(docsrs, doc(cfg(feature = "consul")))]
pub use consul::{
    Consistency, Consul, ConsulBuilder, EmptyAnswers, HealthAnswer, Query, Services, WeightFrom,
};
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub use discover::{DiscoverLayer, Discovered};
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub use dns::{Dns, DnsBuilder};
pub use fallback::Fallback;
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub use file::File;
pub use fixed::Fixed;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub use health::{GrpcHealth, Statuses};
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use health::{HealthBody, HealthFuture, HealthLayer, HealthService};
pub use lease::{Lease, LeaseState, NotDeregistered};
pub use memory::Memory;
pub use merged::Merged;
pub use registrar::{RegisterError, Registrar};
pub use registration::{Check, Registration, RegistrationBuilder};
pub use resolver::Resolver;
pub use serving::{ServeError, ServerHealth, Serving};
pub use watch::{NotReady, Publisher, Watch, WatchState};

#[doc = include_str!("../README.md")]
#[cfg(all(doctest, feature = "consul"))]
struct ReadmeDoctests;
