//! Sticky sessions at a gateway: a cookie decides on the endpoint, and outlives it.
//!
//! ```sh
//! cargo run -p seawall-load-balance --example sticky --features http
//! ```

use std::{convert::Infallible, future::ready};

use http::{Request, Response, header};
use seawall_core::{Change, Endpoint};
use seawall_load_balance::{
    Balancer, Config, ConsistentHash, EndpointSet, KeyFrom, Policy, Ring, StickyLayer,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = |number: u16| Ok(Endpoint::new(format!("cart-{number}"), "h:80".parse()?));
    let endpoints: Result<Vec<_>, seawall_core::AddressError> = (1..=5).map(endpoint).collect();
    let set = EndpointSet::from_endpoints(endpoints?);

    // Each endpoint answers with its name. A gateway would make a client of each.
    let make = |endpoint: &Endpoint| {
        let name = endpoint.id().to_string();
        Ok::<_, Infallible>(service_fn(move |_: Request<()>| {
            ready(Ok::<_, Infallible>(Response::new(name.clone())))
        }))
    };
    // An endpoint with a run of visitors passes the next ones on at a quarter above its share.
    let rule = ConsistentHash::ring(Ring::new()).with_bounded_load(125);
    let balancer = Balancer::builder(set.clone(), make)
        .config(Config::builder().policy(Policy::ConsistentHash(rule)))
        .hash_key(KeyFrom::cookie("visitor"))
        .build()?;
    let gateway = ServiceBuilder::new().layer(StickyLayer::new("visitor")?).service(balancer);

    let first = gateway.clone().oneshot(Request::new(())).await?;
    let set_cookie = first.headers()[header::SET_COOKIE].to_str()?.to_owned();
    let cookie = set_cookie.split(';').next().unwrap_or_default();
    let home = first.into_body();
    println!("a new visitor  -> {home}, who sets {cookie}");

    let again = || Request::get("/").header(header::COOKIE, cookie).body(());
    for _ in 0..3 {
        let next = gateway.clone().oneshot(again()?).await?.into_body();
        println!("the same again -> {next}");
        assert_eq!(next, home);
    }

    set.apply([Change::Remove(home.as_str().into())]);
    let fallback = gateway.clone().oneshot(again()?).await?.into_body();
    println!("{home} leaves  -> {fallback}");
    assert_ne!(fallback, home);

    set.apply([Change::Insert(Endpoint::new(home.as_str(), "h:80".parse()?))]);
    let back = gateway.oneshot(again()?).await?.into_body();
    println!("{home} returns -> {back}");
    assert_eq!(back, home);
    Ok(())
}
