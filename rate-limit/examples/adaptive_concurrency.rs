//! Two limits find what a server can do, and follow it when that changes.
//!
//! The server works on eight calls at once, 10 ms each, and queues what comes beside; after some
//! seconds it has room for three only. Forty clients call as often as they are let.

use std::{sync::Arc, time::Duration};

use seawall_rate_limit::concurrency::{
    Aimd, ConcurrencyLayer, ConcurrencyLimit, Config, Gradient, Limit,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};

const WORK: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("limit      workers  limit  in flight  waiting  latency");
    watch("none", 1_000.into()).await?;
    watch("aimd", Aimd::new(WORK * 2).into()).await?;
    watch("gradient", Gradient::new().into()).await?;
    Ok(())
}

/// Runs the clients against a server behind `limit`, and prints how it stands each second.
async fn watch(name: &str, limit: Limit) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::builder(limit).queue(100, Duration::from_secs(1)).build()?;
    let limit = ConcurrencyLimit::of(config).named("server");
    let workers = Arc::new(Semaphore::new(8));
    let server = service_fn({
        let workers = workers.clone();
        move |()| serve(workers.clone())
    });
    let service = ConcurrencyLayer::new(limit.clone()).layer(server);
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut service = service.clone();
            tokio::spawn(async move {
                loop {
                    if let Ok(service) = service.ready().await {
                        // A refusal is no news here: the table shows what the limit does.
                        let _ = service.call(()).await;
                    }
                }
            })
        })
        .collect();

    for second in 1..=6 {
        sleep(Duration::from_secs(1)).await;
        if second == 3 {
            // In turn, as whoever calls, and for good.
            workers.acquire_many(5).await?.forget();
        }
        let start = Instant::now();
        let _ = serve(workers.clone()).await;
        let (seen, latency) = (limit.snapshot(), start.elapsed().as_millis());
        let busy = if second < 3 { 8 } else { 3 };
        println!(
            "{name:<10} {busy:>7} {:>6} {:>10} {:>8} {latency:>5} ms",
            seen.limit, seen.in_flight, seen.waiting
        );
    }
    for client in clients {
        client.abort();
    }
    Ok(())
}

async fn serve(workers: Arc<Semaphore>) -> Result<(), std::io::Error> {
    let _worker = workers.acquire().await.map_err(std::io::Error::other)?;
    sleep(WORK).await;
    Ok(())
}
