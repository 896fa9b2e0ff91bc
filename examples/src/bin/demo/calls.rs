//! The two clients under test: a generated tonic client and a reqwest client, both over seawall.

use std::num::NonZeroU32;

use reqwest_middleware::ClientWithMiddleware;
use seawall::{
    Snapshot,
    core::{Reason, Rejection, reqwest::rejection},
    grpc::GrpcClient,
    http::HttpClient,
    policy::{Policy, RateLimit},
};
use seawall_examples::orders::{GetRequest, Order, orders_client::OrdersClient};
use tonic::Status;

use crate::{
    library::{Breaker, Client, Endpoint, Limiter},
    load::Call,
    meter::Ending,
};

/// The policy of both clients, as the reader finds it.
const POLICY: &str = include_str!("../../../demo-policy.yaml");

/// The policy of both clients, each of which is asked for `calls` a second: that of the file, with a
/// limit that fits.
pub(crate) fn policy(calls: u32) -> Policy {
    let policy = Policy::from_yaml(POLICY).expect("a unit test reads it");
    let limit = NonZeroU32::new(calls.saturating_mul(3) / 2).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(limit.get() / 5).unwrap_or(NonZeroU32::MIN);
    policy.rate_limit(RateLimit::per_second(limit).burst(burst))
}

/// Asks for orders over gRPC.
#[derive(Clone, Debug)]
pub(crate) struct Grpc(pub(crate) OrdersClient<GrpcClient>);

impl Call for Grpc {
    async fn call(&self, id: u64) -> Ending {
        match self.0.clone().get(GetRequest { id }).await {
            Ok(order) => answered(id, order.into_inner()),
            Err(status) => grpc_failure(&status),
        }
    }
}

fn grpc_failure(status: &Status) -> Ending {
    match Rejection::find(status) {
        Some(refusal) if refusal.reason() == Reason::LimitReached => Ending::Refused,
        _ => Ending::Failed(format!("{:?}: {}", status.code(), status.message())),
    }
}

/// Asks for orders over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) client: ClientWithMiddleware,
    pub(crate) service: String,
}

impl Http {
    pub(crate) fn new(client: &HttpClient, service: &str) -> Self {
        Self { client: client.client(), service: service.to_owned() }
    }

    async fn get(&self, id: u64) -> Result<Order, reqwest_middleware::Error> {
        let url = format!("http://{}/orders/{id}", self.service);
        let body = self.client.get(url).send().await?.error_for_status()?.bytes().await?;
        serde_json::from_slice(&body).map_err(reqwest_middleware::Error::middleware)
    }
}

impl Call for Http {
    async fn call(&self, id: u64) -> Ending {
        match self.get(id).await {
            Ok(order) => answered(id, order),
            Err(error) => match rejection(&error) {
                Some(refusal) if refusal.reason() == Reason::LimitReached => Ending::Refused,
                _ => Ending::Failed(chain(&error)),
            },
        }
    }
}

fn answered(asked: u64, order: Order) -> Ending {
    if order.id == asked {
        Ending::Answered(order.served_by)
    } else {
        Ending::Failed(format!("asked for order {asked} and got {}", order.id))
    }
}

/// An error and its causes on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line
}

impl From<Snapshot> for Client {
    fn from(snapshot: Snapshot) -> Self {
        let endpoints = snapshot.endpoints.into_iter().map(|endpoint| {
            let breaker = match endpoint.state {
                "open" => Breaker::Open,
                "closed" => Breaker::Closed,
                _ => Breaker::HalfOpen,
            };
            let seen = Endpoint {
                address: endpoint.address.to_string(),
                weight: endpoint.weight,
                in_flight: endpoint.in_flight,
                calls: endpoint.calls,
                // Nobody but the time-out of an attempt gives up on one here.
                errors: endpoint.errors + endpoint.abandoned,
                ejections: endpoint.ejections,
                breaker,
            };
            // Consul's endpoints name their node where two nodes use the same id.
            let id = endpoint.id.as_str();
            (id.split_once('@').map_or(id, |(id, _)| id).to_owned(), seen)
        });
        let limiter = snapshot
            .limiter
            .map(|limiter| Limiter { allowed: limiter.allowed, rejected: limiter.rejected });
        Self { endpoints: endpoints.collect(), limiter: limiter.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_that_readers_copy_is_a_sound_one() {
        let from_file = Policy::from_yaml(POLICY).unwrap();
        from_file.check().unwrap();
        let by_default = 400 / 2;
        assert_eq!(policy(by_default), from_file);
        for calls in [1, 10_000] {
            policy(calls).check().unwrap();
        }
    }

    #[test]
    fn an_answer_to_another_question_is_a_failure() {
        let order = |id| Order { id, item: String::new(), served_by: "a".into() };
        assert_eq!(answered(7, order(7)), Ending::Answered("a".into()));
        assert!(matches!(answered(7, order(8)), Ending::Failed(_)));
    }
}
