//! A tonic server that limits its callers by the method that they call:
//! `cargo run --example tonic_server --features tonic`.

use std::convert::Infallible;

use axum::Router;
use http::uri::PathAndQuery;
use seawall_rate_limit::{KeyedLimiter, Quota, key::GrpcMethod, server::ServerLayer};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    service::Routes,
    transport::{Channel, Server, server::TcpIncoming},
};
use tower::service_fn;

type Codec = tonic_prost::ProstCodec<String, String>;

const METHODS: [&str; 2] = ["/greet.Greeter/Hello", "/greet.Greeter/Welcome"];

/// A server that greets, whatever the method.
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
    let limiter = KeyedLimiter::<str>::new(Quota::per_minute(2), 1_000)?.named("greeter");
    let router = METHODS
        .iter()
        .fold(Router::new(), |router, method| router.route_service(method, service_fn(greet)));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let url = format!("http://{}", incoming.local_addr()?);
    let server = Server::builder()
        .layer(ServerLayer::new(limiter.by(GrpcMethod)))
        .add_routes(Routes::from(router));
    tokio::spawn(server.serve_with_incoming(incoming));

    let mut client = Grpc::new(Channel::from_shared(url)?.connect().await?);
    println!("three calls of each method, 2 a minute of each:");
    for method in METHODS {
        for call in 1..=3 {
            client.ready().await?;
            let path = PathAndQuery::from_static(method);
            match client.unary(Request::new("you".to_owned()), path, Codec::default()).await {
                Ok(response) => println!("{method} {call}: {}", response.into_inner()),
                Err(status) => {
                    println!("{method} {call}: {:?}: {}", status.code(), status.message());
                    if let Some(millis) = status.metadata().get("grpc-retry-pushback-ms") {
                        println!("  grpc-retry-pushback-ms: {}", millis.to_str()?);
                    }
                }
            }
        }
    }
    Ok(())
}
