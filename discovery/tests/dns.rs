//! What real packets from a name server do to a watch.

#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, SRV},
    },
};
use seawall_discovery::{Dns, DnsBuilder, Resolver as _, Watch};
use tokio::{net::UdpSocket, time::timeout};

const TTL: Duration = Duration::from_millis(20);

#[derive(Clone)]
enum Reply {
    Records(Vec<RData>),
    Code(ResponseCode),
    Silence,
}

/// A name server that says what it is told to, and NXDOMAIN to all else.
#[derive(Clone)]
struct NameServer {
    address: SocketAddr,
    replies: Arc<Mutex<HashMap<(String, RecordType), Reply>>>,
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let server = Self { address, replies: Arc::default() };
        let replies = Arc::clone(&server.replies);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = question.queries[0].clone();
                let key = (query.name().to_string(), query.query_type());
                let reply = replies.lock().unwrap().get(&key).cloned();
                let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
                answer.metadata.recursion_available = true;
                answer.add_query(query.clone());
                match reply.unwrap_or(Reply::Code(ResponseCode::NXDomain)) {
                    Reply::Records(records) => {
                        for data in records {
                            answer.add_answer(Record::from_rdata(query.name().clone(), 0, data));
                        }
                    }
                    Reply::Code(code) => answer.metadata.response_code = code,
                    Reply::Silence => continue,
                }
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        server
    }

    fn says(&self, name: &str, kind: RecordType, reply: Reply) {
        self.replies.lock().unwrap().insert((name.to_owned(), kind), reply);
    }

    fn addresses(&self, name: &str, addresses: &[&str]) {
        let of = |v6| {
            let of_family = addresses.iter().filter(move |a| a.contains(':') == v6);
            Reply::Records(of_family.map(|a| record(a)).collect())
        };
        self.says(name, RecordType::A, of(false));
        self.says(name, RecordType::AAAA, of(true));
    }

    fn dns(&self) -> DnsBuilder {
        let grace = Duration::from_millis(300);
        Dns::builder().name_server(self.address).ttl_min(TTL).ttl_max(TTL).empty_grace(grace)
    }
}

fn record(address: &str) -> RData {
    match address.parse().unwrap() {
        std::net::IpAddr::V4(ip) => RData::A(A(ip)),
        std::net::IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(target).unwrap()))
}

/// Waits until the watch shows these endpoints, and whether they are fresh.
async fn shows(watch: &Watch, expected: &[&str], fresh: bool) {
    let seen = || -> (Vec<String>, bool) {
        let set = watch.current();
        (set.iter().map(|e| e.id().to_string()).collect(), watch.state().is_fresh())
    };
    let wait = async {
        while seen() != (expected.iter().map(|id| (*id).to_owned()).collect(), fresh) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(Duration::from_secs(10), wait).await;
    assert!(waited.is_ok(), "{:?}, {}, in place of {expected:?}", seen().0, watch.state());
}

#[tokio::test]
async fn each_address_of_either_family_is_an_endpoint() {
    let server = NameServer::start().await;
    server.addresses("orders.test.", &["10.0.0.2", "10.0.0.1", "fd00::1"]);
    let watch = server.dns().build().unwrap().watch("orders.test.:80");
    shows(&watch, &["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"], true).await;
    server.addresses("orders.test.", &["10.0.0.3"]);
    shows(&watch, &["10.0.0.3:80"], true).await;
}

#[tokio::test]
async fn srv_records_bring_port_weight_and_priority() {
    let server = NameServer::start().await;
    let name = "_grpc._tcp.orders.test.";
    let records = vec![
        srv(0, 7, 50_051, "a.test."),
        srv(1, 0, 50_052, "b.test."),
        srv(0, 1, 1, "gone.test."),
        srv(0, 1, 1, "."),
    ];
    server.says(name, RecordType::SRV, Reply::Records(records));
    server.addresses("a.test.", &["10.0.0.1"]);
    server.addresses("b.test.", &["10.0.0.2"]);
    let watch = server.dns().build().unwrap().watch(name);
    shows(&watch, &["10.0.0.1:50051", "10.0.0.2:50052"], true).await;
    let set = watch.current();
    let seen: Vec<_> = set.iter().map(|e| (e.weight(), e.priority())).collect();
    assert_eq!(seen, [(7, 0), (1, 1)]);

    // That a target cannot be asked for now is no reason to lose it.
    server.says("b.test.", RecordType::A, Reply::Code(ResponseCode::ServFail));
    shows(&watch, &["10.0.0.1:50051", "10.0.0.2:50052"], false).await;
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_believed_after_a_while_and_a_failure_never() {
    let server = NameServer::start().await;
    server.addresses("orders.test.", &["10.0.0.1"]);
    let dns = server.dns().timeout(Duration::from_millis(200)).build().unwrap();
    let watch = dns.watch("orders.test.:80");
    shows(&watch, &["10.0.0.1:80"], true).await;
    for reply in
        [Reply::Code(ResponseCode::ServFail), Reply::Code(ResponseCode::Refused), Reply::Silence]
    {
        server.says("orders.test.", RecordType::A, reply.clone());
        server.says("orders.test.", RecordType::AAAA, reply);
        shows(&watch, &["10.0.0.1:80"], false).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        shows(&watch, &["10.0.0.1:80"], false).await;
        server.addresses("orders.test.", &["10.0.0.1"]);
        shows(&watch, &["10.0.0.1:80"], true).await;
    }
    server.says("orders.test.", RecordType::A, Reply::Code(ResponseCode::NXDomain));
    server.says("orders.test.", RecordType::AAAA, Reply::Code(ResponseCode::NXDomain));
    shows(&watch, &["10.0.0.1:80"], false).await;
    shows(&watch, &[], true).await;
}

#[tokio::test]
async fn when_one_family_cannot_be_asked_for_its_last_addresses_stay() {
    let server = NameServer::start().await;
    server.addresses("orders.test.", &["10.0.0.1", "fd00::1"]);
    let watch = server.dns().build().unwrap().watch("orders.test.:80");
    shows(&watch, &["10.0.0.1:80", "[fd00::1]:80"], true).await;
    server.addresses("orders.test.", &["10.0.0.2"]);
    server.says("orders.test.", RecordType::AAAA, Reply::Code(ResponseCode::ServFail));
    shows(&watch, &["10.0.0.2:80", "[fd00::1]:80"], false).await;
}

#[tokio::test]
async fn a_wish_finds_a_new_address_long_before_the_ttl_ends() {
    let server = NameServer::start().await;
    server.addresses("orders.test.", &["10.0.0.1"]);
    let hour = Duration::from_secs(3_600);
    // The records' TTL of 0 is raised to the hour's half.
    let dns = server.dns().ttl_max(hour).build().unwrap();
    let slow = server.dns().ttl_max(hour).ttl_min(hour).build().unwrap();
    let (watch, unasked) = (dns.watch("orders.test.:80"), slow.watch("orders.test.:80"));
    shows(&watch, &["10.0.0.1:80"], true).await;
    shows(&unasked, &["10.0.0.1:80"], true).await;
    server.addresses("orders.test.", &["10.0.0.2"]);
    dns.resolve_now("orders.test.:80");
    slow.resolve_now("orders.test.:80");
    shows(&watch, &["10.0.0.2:80"], true).await;
    shows(&unasked, &["10.0.0.1:80"], true).await;
}

#[tokio::test]
async fn a_service_that_is_no_name_says_so_and_an_address_is_itself() {
    let server = NameServer::start().await;
    let dns = server.dns().build().unwrap();
    let watch = dns.watch("no port");
    assert!(watch.state().to_string().contains("`service` is no port"), "{}", watch.state());
    shows(&dns.watch("10.9.8.7:80"), &["10.9.8.7:80"], true).await;
}
