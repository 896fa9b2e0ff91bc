//! The gRPC health service of a server.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use crate::{ServerHealth, lease::LeaseView};

impl ServerHealth {
    /// The service `grpc.health.v1.Health` for a tonic server, to add beside its own: SERVING while
    /// the server is passing or warning, else NOT_SERVING.
    ///
    /// One health for the whole server: it is the same whatever service is asked for. A stream of
    /// `Watch` ends when the server stops, so that it does not keep it from draining.
    ///
    /// ```
    /// use seawall_discovery::ServerHealth;
    ///
    /// let health = ServerHealth::default();
    /// let server = tonic::transport::Server::builder().add_service(health.grpc());
    /// # let _ = server;
    /// ```
    pub fn grpc(&self) -> HealthServer<GrpcHealth> {
        HealthServer::new(GrpcHealth(self.clone()))
    }

    fn status(&self) -> HealthCheckResponse {
        let status =
            if self.is_serving() { ServingStatus::Serving } else { ServingStatus::NotServing };
        HealthCheckResponse { status: status.into() }
    }
}

/// Answers for one server; see [`ServerHealth::grpc`].
#[derive(Clone, Debug)]
pub struct GrpcHealth(ServerHealth);

#[tonic::async_trait]
impl Health for GrpcHealth {
    type WatchStream = Statuses;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(self.0.status()))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        let (told, statuses) = mpsc::channel(1);
        tokio::spawn(tell(self.0.clone(), told));
        Ok(Response::new(Statuses(statuses)))
    }
}

/// The answers to one `Watch`: the status, and then each change of it.
#[derive(Debug)]
pub struct Statuses(mpsc::Receiver<Result<HealthCheckResponse, Status>>);

impl Stream for Statuses {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

async fn tell(health: ServerHealth, told: mpsc::Sender<Result<HealthCheckResponse, Status>>) {
    let mut last = None;
    let mut lease = None;
    loop {
        let stopping = health.word() == "stopping";
        let now = health.status();
        if last.as_ref() != Some(&now) {
            if told.send(Ok(now)).await.is_err() {
                return;
            }
            last = Some(now);
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = changed(&health, &mut lease) => {}
            () = told.closed() => return,
        }
    }
}

/// Waits until the health may have changed. `lease` is kept between the calls, because it knows
/// what was seen of it.
async fn changed(health: &ServerHealth, lease: &mut Option<LeaseView>) {
    if let Some(lease) = lease {
        return lease.changed().await;
    }
    let followed = health.followed.notified();
    tokio::pin!(followed);
    // Before the look, so that a lease that comes between the two is not missed.
    followed.as_mut().enable();
    *lease = health.lease();
    if lease.is_none() {
        followed.await;
    }
}
