//! An axum server that is in Consul exactly while it can be called, and stops without losing a call.
//!
//! Uses the Consul of `CONSUL_HTTP_ADDR`, or starts one. Stops at ctrl-c, or by itself after its
//! demonstration.

mod support;

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use seawall_discovery::{Check, HealthLayer, Registration, Resolver as _, Serving, Watch};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (consul, _server) = support::consul().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let health = format!("http://{address}/health");
    let registration = Registration::builder("orders", address.try_into()?)
        .tags(["http"])
        // Consul looks for itself, beside the heartbeats.
        .check(Check::http(&*health, SECOND))
        .build()?;
    let watch = consul.watch("orders");
    let serving = Serving::new(consul, registration).propagation(SECOND / 2);

    let slow = get(async || {
        sleep(SECOND).await;
        "a slow answer, in full"
    });
    let app = Router::new().route("/slow", slow).layer(HealthLayer::new(serving.health()));
    let ready = async {
        println!("server: listening on {address}, warming up; health is {}", body(&health).await);
    };
    // A call that is in flight when the server stops, and longer than it goes on accepting.
    let (call_now, called) = oneshot::channel::<()>();
    let call = tokio::spawn(async move {
        if called.await.is_ok() {
            println!("client: asks for /slow");
            println!("client: got \"{}\"", body(&format!("http://{address}/slow")).await);
        }
    });
    // In a server of yours this is ctrl-c, or SIGTERM, alone.
    let signal = async {
        tokio::select! {
            () = demonstrate(&health, &watch, call_now) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        println!("server: told to stop");
    };
    serving
        .run(ready, signal, |stop| async {
            axum::serve(listener, app).with_graceful_shutdown(stop).await
        })
        .await?;
    call.await?;
    println!("server: drained and gone; consul knows {} of it", watch.current().len());
    Ok(())
}

async fn demonstrate(health: &str, watch: &Watch, call_now: oneshot::Sender<()>) {
    match watch.ready(5 * SECOND).await {
        Ok(found) => println!("client: consul knows {} at {}", found[0].id(), found[0].address()),
        Err(error) => println!("client: {error}"),
    }
    println!("client: health is {}", body(health).await);
    if call_now.send(()).is_ok() {
        sleep(SECOND / 10).await;
    }
}

async fn body(url: &str) -> String {
    let answer = async { reqwest::get(url).await?.text().await };
    answer.await.unwrap_or_else(|error| error.to_string())
}
