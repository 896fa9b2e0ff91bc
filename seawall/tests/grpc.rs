//! A generated client over `seawall::grpc`, and real servers that die, hang and fail.

use std::{error::Error, time::Duration};

use futures::{StreamExt, stream};
use seawall::{
    core::{Endpoint, Reason, Rejection},
    discovery::{Memory, Publisher, Registrar, Registration, Resolver, Watch},
    grpc::{GrpcBuilder, GrpcClient},
    policy::{CircuitBreaker, LoadBalance, Policy, RateLimit, Retries, RetryOn},
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, Faults, GrpcServer};
use tonic::Code;

const UNARY: &str = "/seawall.test.Echo/Unary";

fn builder(servers: &[&GrpcServer]) -> GrpcBuilder {
    seawall::grpc("echo").endpoints(servers.iter().map(|server| server.address().to_string()))
}

fn client(builder: GrpcBuilder, policy: Policy) -> (EchoClient<GrpcClient>, GrpcClient) {
    let channel = builder.policy(policy).build().expect("the policy is valid");
    (EchoClient::new(channel.clone()), channel)
}

/// Retries whatever may be retried, of calls that may be done twice.
fn survive() -> Policy {
    Policy::new().idempotent(["/seawall.test.Echo/*"]).retries(
        Retries::new().attempts(3).per_try_timeout(Duration::from_millis(300)).retry_on([
            RetryOn::ConnectFailure,
            RetryOn::RefusedStream,
            RetryOn::Reset,
            RetryOn::DeadlineExceeded,
            RetryOn::Unavailable,
        ]),
    )
}

fn hello() -> EchoRequest {
    EchoRequest { message: "hello".into(), ..Default::default() }
}

fn rejection(status: &tonic::Status) -> Option<&Rejection> {
    Rejection::find(status)
}

#[tokio::test]
async fn calls_are_spread_over_the_endpoints() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let (client, channel) = client(builder(&[&a, &b]), Policy::new());
    for _ in 0..100 {
        let answer = client.clone().unary(hello()).await.unwrap().into_inner();
        assert_eq!(answer.message, "hello");
    }
    assert_eq!(a.calls() + b.calls(), 100);
    assert!(a.calls() > 20 && b.calls() > 20, "{} and {}", a.calls(), b.calls());
    let snapshot = channel.snapshot();
    assert_eq!(snapshot.endpoints.iter().map(|e| e.calls).sum::<u64>(), 100, "{snapshot:?}");
    assert!(snapshot.endpoints.iter().all(|e| e.in_flight == 0 && e.errors == 0), "{snapshot:?}");
}

#[tokio::test]
async fn no_caller_notices_a_killed_server() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let (client, _) = client(builder(&[&a, &b]), survive());
    for call in 0..200 {
        if call == 50 {
            a.kill();
        }
        client.clone().unary(hello()).await.unwrap_or_else(|s| panic!("call {call}: {s:?}"));
    }
    assert!(b.calls() >= 150);
}

#[tokio::test]
async fn calls_in_flight_move_elsewhere_when_their_server_dies() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let (client, _) = client(builder(&[&a, &b]), survive());
    let slow = EchoRequest { delay_ms: 100, ..hello() };
    let calls = stream::iter(0..20).map(|_| {
        let mut client = client.clone();
        let slow = slow.clone();
        async move { client.unary(slow).await }
    });
    let kill = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        a.kill();
    };
    let (results, ()) = tokio::join!(calls.buffer_unordered(20).collect::<Vec<_>>(), kill);
    for result in results {
        result.unwrap();
    }
}

#[tokio::test]
async fn no_caller_notices_a_hung_server() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let proxy = FaultProxy::start(a.address()).await;
    let addresses = [proxy.address().to_string(), b.address().to_string()];
    let policy = survive().circuit_breaker(CircuitBreaker::new().failure_threshold(2));
    let (client, channel) = client(seawall::grpc("echo").endpoints(addresses), policy);
    for _ in 0..20 {
        client.clone().unary(hello()).await.unwrap();
    }
    proxy.set_both(Faults::BLACK_HOLE);
    for call in 0..40 {
        client.clone().unary(hello()).await.unwrap_or_else(|s| panic!("call {call}: {s:?}"));
    }
    let snapshot = channel.snapshot();
    let hung = proxy.address().to_string();
    let hung = snapshot.endpoints.iter().find(|e| e.id.as_str() == hung).unwrap();
    assert_eq!(hung.state, "open", "{snapshot:?}");
    assert!(hung.abandoned >= 2, "{snapshot:?}");
}

#[tokio::test]
async fn a_call_that_may_not_be_done_twice_is_done_once() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let policy = survive().idempotent(Vec::<String>::new());
    let (client, _) = client(builder(&[&a, &b]), policy);
    let failing = EchoRequest { code: Code::Unavailable as i32, ..hello() };
    let status = client.clone().unary(failing).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(a.calls() + b.calls(), 1);
}

#[tokio::test]
async fn a_call_that_never_left_is_sent_again_whatever_it_is() {
    let (dead, live) = (GrpcServer::start().await, GrpcServer::start().await);
    dead.kill();
    let (client, _) = client(builder(&[&dead, &live]), Policy::new());
    for _ in 0..20 {
        client.clone().unary(hello()).await.unwrap();
    }
    assert_eq!(live.calls(), 20);
}

#[tokio::test]
async fn an_idempotent_call_is_tried_on_another_endpoint() {
    let (bad, good) = (GrpcServer::start().await, GrpcServer::start().await);
    bad.set_script(Some(EchoRequest { code: Code::Unavailable as i32, ..hello() }));
    let policy = survive().idempotent([UNARY]);
    let (client, _) = client(builder(&[&bad, &good]), policy);
    for _ in 0..20 {
        client.clone().unary(hello()).await.unwrap();
    }
    assert_eq!(good.calls(), 20);
}

#[tokio::test]
async fn a_stream_that_fails_before_its_first_message_is_tried_again() {
    let (bad, good) = (GrpcServer::start().await, GrpcServer::start().await);
    let fails = EchoRequest { trailer_code: Code::Unavailable as i32, messages: 0, ..hello() };
    bad.set_script(Some(fails));
    let (client, _) = client(builder(&[&bad, &good]), survive());
    for _ in 0..20 {
        let request = EchoRequest { messages: 3, ..hello() };
        let stream = client.clone().server_stream(request).await.unwrap().into_inner();
        let messages: Vec<_> = stream.collect().await;
        assert_eq!(messages.len(), 3);
        assert!(messages.into_iter().all(|message| message.is_ok()));
    }
}

#[tokio::test]
async fn a_stream_that_fails_later_is_the_callers() {
    let server = GrpcServer::start().await;
    let (client, channel) = client(builder(&[&server]), survive());
    let request = EchoRequest { messages: 2, trailer_code: Code::Unavailable as i32, ..hello() };
    let mut stream = client.clone().server_stream(request).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(server.calls(), 1);
    let endpoint = &channel.snapshot().endpoints[0];
    assert_eq!((endpoint.errors, endpoint.in_flight), (1, 0));
}

#[tokio::test]
async fn what_a_client_streamed_is_streamed_again() {
    let (bad, good) = (GrpcServer::start().await, GrpcServer::start().await);
    bad.set_script(Some(EchoRequest { code: Code::Unavailable as i32, ..hello() }));
    let (client, _) = client(builder(&[&bad, &good]), survive());
    for _ in 0..10 {
        let requests = stream::iter(vec![hello(); 5]);
        let answer = client.clone().client_stream(requests).await.unwrap().into_inner();
        assert_eq!(answer.number, 5);
    }
}

#[tokio::test]
async fn an_empty_set_is_unavailable_in_bounded_time() {
    let wait = LoadBalance::new().wait_for_endpoints(Duration::from_millis(50));
    let builder = seawall::grpc("echo").resolver(Memory::new());
    let (mut client, _) = client(builder, Policy::new().load_balance(wait));
    let call = tokio::time::timeout(Duration::from_secs(5), client.unary(hello()));
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(rejection(&status).map(Rejection::reason), Some(Reason::NoEndpoint));
}

#[tokio::test]
async fn a_limit_is_resource_exhausted_and_says_when() {
    let server = GrpcServer::start().await;
    let one = 1.try_into().unwrap();
    let policy = Policy::new().rate_limit(RateLimit::per_second(one));
    let (client, channel) = client(builder(&[&server]), policy);
    client.clone().unary(hello()).await.unwrap();
    let status = client.clone().unary(hello()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert!((1..=1000).contains(&pushback.to_str().unwrap().parse::<u64>().unwrap()));
    assert!(rejection(&status).unwrap().retry_after().is_some());
    assert_eq!(server.calls(), 1);
    let limiter = channel.snapshot().limiter.unwrap();
    assert_eq!((limiter.allowed, limiter.rejected), (1, 1));
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let server = GrpcServer::start().await;
    let policy = Policy::new().timeout(Duration::from_millis(100));
    let (mut client, channel) = client(builder(&[&server]), policy);
    let hung = EchoRequest { hang: true, ..hello() };
    let call = tokio::time::timeout(Duration::from_secs(5), client.unary(hung));
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.source().is_some());
    assert_eq!(channel.snapshot().endpoints[0].in_flight, 0);
}

#[tokio::test]
async fn a_registry_moves_calls_to_where_a_service_went() {
    let (old, new) = (GrpcServer::start().await, GrpcServer::start().await);
    let registry = Memory::new();
    let at = |server: &GrpcServer| {
        Registration::builder("echo", server.address().try_into().unwrap()).build().unwrap()
    };
    let first = registry.register(at(&old)).await.unwrap();
    let (client, channel) = client(seawall::grpc("echo").resolver(registry.clone()), survive());
    client.clone().unary(hello()).await.unwrap();
    assert_eq!(old.calls(), 1);

    let _second = registry.register(at(&new)).await.unwrap();
    first.shutdown().await.unwrap();
    let moved = async {
        while channel.snapshot().endpoints.iter().any(|e| e.address.port() == old.address().port())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), moved).await.unwrap();
    client.clone().unary(hello()).await.unwrap();
    assert_eq!((old.calls(), new.calls()), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_built_is_refused() {
    let error = seawall::grpc("echo").build().unwrap_err();
    assert!(error.to_string().contains("endpoints"), "{error}");
    let error = seawall::grpc("echo").endpoints(["nowhere"]).build().unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    let policy = Policy::new().timeout(Duration::ZERO);
    let error = seawall::grpc("echo").endpoints(["a:1"]).policy(policy).build().unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
    let policy = Policy::new().circuit_breaker(CircuitBreaker::new().max_requests(0));
    let error = seawall::grpc("echo").endpoints(["a:1"]).policy(policy).build().unwrap_err();
    assert!(error.to_string().contains("circuit_breaker"), "{error}");
}

/// A registry that is as old as it was until it is asked anew.
struct Old {
    publisher: Publisher,
    new: Endpoint,
}

impl Resolver for Old {
    fn watch(&self, _: &str) -> Watch {
        self.publisher.subscribe()
    }

    fn resolve_now(&self, service: &str) {
        assert_eq!(service, "echo");
        self.publisher.publish(vec![self.new.clone()]);
    }
}

#[tokio::test]
async fn the_registry_is_asked_anew_when_an_endpoint_cannot_be_reached() {
    let (gone, server) = (GrpcServer::start().await, GrpcServer::start().await);
    let endpoint = |server: &GrpcServer| {
        let address = server.address();
        Endpoint::new(address.to_string(), address.try_into().unwrap())
    };
    let (publisher, new) = (Publisher::new(), endpoint(&server));
    publisher.publish(vec![endpoint(&gone)]);
    gone.kill();
    let client = seawall::grpc("echo").resolver(Old { publisher, new }).build().unwrap();
    let mut client = EchoClient::new(client);
    // The first one may be lost: there is nobody else while it looks.
    let _ = client.unary(hello()).await;
    let answer = client.unary(hello()).await.unwrap().into_inner();
    assert_eq!(answer.server, server.address().to_string());
}
