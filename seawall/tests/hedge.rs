//! A second attempt beside a slow one, with real servers.

use std::time::Duration;

use seawall::{
    grpc::GrpcClient,
    policy::{Hedge, Policy, RetryBudget},
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tokio::time::Instant;

fn client(servers: &[&GrpcServer], policy: Policy) -> (EchoClient<GrpcClient>, GrpcClient) {
    let addresses = servers.iter().map(|server| server.address().to_string());
    let channel =
        seawall::grpc("echo").endpoints(addresses).policy(policy).build().expect("it is valid");
    (EchoClient::new(channel.clone()), channel)
}

fn hedged(hedge: Hedge) -> Policy {
    Policy::new().idempotent(["/seawall.test.Echo/*"]).hedge(hedge)
}

fn soon() -> Hedge {
    Hedge::new().after(Duration::from_millis(20)).budget(RetryBudget::new(100, 0))
}

fn hung() -> Option<EchoRequest> {
    Some(EchoRequest { hang: true, ..EchoRequest::default() })
}

#[tokio::test]
async fn another_server_answers_and_the_hung_one_is_told_to_stop() {
    let (bad, good) = (GrpcServer::start().await, GrpcServer::start().await);
    bad.set_script(hung());
    let (client, channel) = client(&[&bad, &good], hedged(soon()));
    let begun = Instant::now();
    while bad.calls() < 3 {
        let answer = client.clone().unary(EchoRequest::default()).await.unwrap().into_inner();
        assert_eq!(answer.server, good.address().to_string());
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let cancelled = async {
        while bad.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), cancelled).await.expect("the loser is cancelled");
    assert!(channel.snapshot().endpoints.iter().all(|e| e.in_flight == 0));
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_not_hedged() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let policy = Policy::new().hedge(soon());
    let (mut client, _) = client(&[&a, &b], policy);
    let slow = EchoRequest { delay_ms: 100, ..EchoRequest::default() };
    client.unary(slow).await.unwrap();
    assert_eq!(a.calls() + b.calls(), 1);
}

#[tokio::test]
async fn servers_that_are_all_slow_get_no_more_than_the_budget() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let (client, _) = client(&[&a, &b], hedged(soon().budget(RetryBudget::new(10, 0))));
    let slow = EchoRequest { delay_ms: 40, ..EchoRequest::default() };
    let calls = (0..100).map(|_| {
        let (mut client, slow) = (client.clone(), slow.clone());
        async move { client.unary(slow).await.unwrap() }
    });
    futures::future::join_all(calls).await;
    assert_eq!(a.calls() + b.calls(), 110);
}
