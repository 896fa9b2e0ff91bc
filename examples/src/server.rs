//! One of the servers, in a process of its own: gRPC and HTTP on one port.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::orders::{
    GetRequest, Order,
    orders_server::{self, OrdersServer},
};
use axum::{
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
    serve::ListenerExt as _,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
};
use tonic::{Request, Response, Status, service::Routes};

/// What an order takes when nothing is wrong.
const WORK: Duration = Duration::from_millis(1);

/// Serves on `port`, 0 for any, until standard input ends, which it does when the parent dies, in
/// whatever way.
///
/// The first line on standard output is the port. Each line on standard input is a number: by how
/// many milliseconds to be slow from now on.
///
/// # Errors
///
/// When the port cannot be bound, and when a line is no number.
pub async fn serve(name: String, port: u16) -> io::Result<()> {
    // A stopped process does not notice the end of its input. No other system can do this; there
    // the orphaned process group gets SIGHUP and SIGCONT.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("{}", listener.local_addr()?.port());
    let orders = Orders { name: name.into(), slow_by_millis: Arc::default() };
    let routes = Routes::new(OrdersServer::new(orders.clone())).into_axum_router();
    let router = routes.merge(
        axum::Router::new()
            .route("/orders/{id}", get(order))
            .route("/health", get(async || "ok"))
            .with_state(orders.clone()),
    );
    let listener = listener.tap_io(|connection| {
        // Small answers are not to wait for an acknowledgement.
        let _ = connection.set_nodelay(true);
    });
    tokio::select! {
        served = axum::serve(listener, router) => served,
        commanded = obey(&orders) => commanded,
    }
}

async fn obey(orders: &Orders) -> io::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let millis = line.trim().parse().map_err(io::Error::other)?;
        // Relaxed: nothing else is read on the strength of it.
        orders.slow_by_millis.store(millis, Relaxed);
    }
    Ok(())
}

#[derive(Clone, Debug)]
struct Orders {
    name: Arc<str>,
    slow_by_millis: Arc<AtomicU64>,
}

impl Orders {
    async fn work(&self, id: u64) -> Order {
        let slow_by = Duration::from_millis(self.slow_by_millis.load(Relaxed));
        tokio::time::sleep(WORK + slow_by).await;
        Order { id, item: "sea wall, 3 m".to_owned(), served_by: self.name.to_string() }
    }
}

#[tonic::async_trait]
impl orders_server::Orders for Orders {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Order>, Status> {
        Ok(Response::new(self.work(request.into_inner().id).await))
    }
}

async fn order(State(orders): State<Orders>, Path(id): Path<u64>) -> impl IntoResponse {
    match serde_json::to_string(&orders.work(id).await) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
