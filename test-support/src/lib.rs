//! What the tests of the Seawall crates share: real servers that can be killed and hung, a proxy
//! that breaks connections, scripted services, and a counting allocator.
//!
//! Servers and proxies run on threads or in processes of their own and in real time, so they work
//! under tokio's paused clock and never depend on the test's runtime making progress.

mod alloc;
mod background;
mod grpc;
mod http;
mod probe;
mod process;
mod proxy;
mod rng;
mod server;
mod traffic;

pub use self::http::HttpServer;
pub use alloc::{CountingAllocator, allocations};
pub use grpc::{EchoClient, EchoRequest, EchoResponse, GrpcServer, proto};
pub use probe::{Probe, ProbeFuture, ProbeHandle, Readiness, Reply};
pub use process::Child;
pub use proxy::{FaultProxy, Faults};
pub use rng::{Rng, seed};
pub use server::{
    ConsulServer, ConsulServerBuilder, Data, RedisServer, RedisServerBuilder, ServerError,
};
