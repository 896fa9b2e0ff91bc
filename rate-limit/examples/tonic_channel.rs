//! A limiter around a tonic channel: `cargo run --example tonic_channel --features tonic`.
//!
//! With a client that `tonic-build` generated, `GreeterClient::new(channel)` takes the place of the
//! generic client here.

use std::convert::Infallible;

use axum::Router;
use http::uri::PathAndQuery;
use seawall_rate_limit::{Quota, RateLimiter, Rejection, tonic::ChannelLayer};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    service::Routes,
    transport::{Channel, Server, server::TcpIncoming},
};
use tower::{Layer, service_fn};

type Codec = tonic_prost::ProstCodec<String, String>;

const HELLO: &str = "/greet.Greeter/Hello";

/// A server with one method.
async fn greet(
    request: http::Request<axum::body::Body>,
) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let hello = service_fn(async |name: Request<String>| {
        Ok::<_, Status>(Response::new(format!("hello {}", name.into_inner())))
    });
    Ok(tonic::server::Grpc::new(Codec::default()).unary(hello, request).await)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let url = format!("http://{}", incoming.local_addr()?);
    let routes = Routes::from(Router::new().route_service(HELLO, service_fn(greet)));
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));

    let limiter = RateLimiter::new(Quota::per_minute(2))?.named("greeter");
    let channel = ChannelLayer::new(limiter).layer(Channel::from_shared(url)?.connect_lazy());
    let mut client = Grpc::new(channel);

    println!("three calls, 2 a minute:");
    for call in 1..=3 {
        client.ready().await?;
        let path = PathAndQuery::from_static(HELLO);
        match client.unary(Request::new(format!("call {call}")), path, Codec::default()).await {
            Ok(response) => println!("call {call}: {}", response.into_inner()),
            Err(status) => {
                let sent = if Rejection::find(&status).is_some() { "not sent" } else { "sent" };
                println!("call {call}: {sent}, {:?}: {}", status.code(), status.message());
            }
        }
    }
    Ok(())
}
