//! TLS to real servers: what they are called, what their certificates are for, and how long
//! connections are kept.
#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Client, Request};
use seawall_core::{Endpoint, EndpointId};
use seawall_load_balance::{
    Config, EndpointSet, EndpointState,
    reqwest::{HttpBalancer, MakeClient, balance},
    tonic::{MakeChannel, balance_with},
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, Faults, GrpcServer, HttpServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
    server::TlsStream,
};
use tonic::transport::{Certificate, ClientTlsConfig};
use tower::ServiceExt;

const SERVICE: &str = "orders.test";
const LONG: Duration = Duration::from_secs(5);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a front has seen of its clients.
#[derive(Default)]
struct Seen {
    /// The name in each handshake that succeeded.
    names: Vec<Option<String>>,
    /// All that was sent to the server, in plain text.
    sent: Vec<u8>,
}

/// Ends TLS in front of a server in plain text.
struct Front {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    /// With a certificate for `name` alone, and for no address.
    async fn start(target: SocketAddr, by: &Authority, name: &str, protocol: &[u8]) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = CertificateDer::from(params.signed_by(&key, by).unwrap().der().to_vec());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Seen>>::default());
        let sees = seen.clone();
        let work = async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), sees.clone());
                tokio::spawn(async move {
                    // An error is a client that does not like the certificate.
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let name = stream.get_ref().1.server_name().map(str::to_owned);
                        seen.lock().unwrap().names.push(name);
                        let _ = pass(stream, target, &seen).await;
                    }
                });
            }
        };
        Self { address, seen, task: tokio::spawn(work).abort_handle() }
    }

    fn names(&self) -> Vec<Option<String>> {
        self.seen.lock().unwrap().names.clone()
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().sent).into_owned()
    }
}

async fn pass(
    client: TlsStream<TcpStream>,
    target: SocketAddr,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = TcpStream::connect(target).await?.into_split();
    let up = async {
        let mut chunk = vec![0; 4096];
        loop {
            let read = from_client.read(&mut chunk).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            seen.lock().unwrap().sent.extend_from_slice(&chunk[..read]);
            to_server.write_all(&chunk[..read]).await?;
        }
    };
    let down = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}

fn endpoint(id: &str, address: SocketAddr) -> Endpoint {
    Endpoint::new(id, address.try_into().unwrap())
}

fn make_client(by: &Authority) -> MakeClient {
    make_client_with(by, |client| client)
}

fn make_client_with(
    by: &Authority,
    change: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
) -> MakeClient {
    let root = reqwest::Certificate::from_pem(by.pem().as_bytes()).unwrap();
    MakeClient::new(SERVICE)
        .configure(move |_| change(Client::builder().no_proxy().tls_certs_only([root.clone()])))
}

async fn get(balancer: &HttpBalancer, path: &str) -> reqwest::Response {
    let url = format!("https://{SERVICE}{path}").parse().unwrap();
    balancer.clone().oneshot(Request::new(Method::GET, url)).await.unwrap()
}

#[tokio::test]
async fn host_server_name_and_url_of_http_calls_are_those_of_the_service() {
    let (one, two) = (HttpServer::start().await, HttpServer::start().await);
    let ours = authority();
    let fronts = [
        Front::start(one.address(), &ours, SERVICE, b"http/1.1").await,
        Front::start(two.address(), &ours, SERVICE, b"http/1.1").await,
    ];
    let set = EndpointSet::from_endpoints([
        endpoint("one", fronts[0].address),
        endpoint("two", fronts[1].address),
    ]);
    let balancer = balance(set, make_client(&ours), Config::builder()).unwrap();
    let mut servers = HashSet::new();
    for _ in 0..30 {
        let response = get(&balancer, "/ok?x=1").await;
        assert_eq!(response.url().as_str(), "https://orders.test/ok?x=1");
        servers.insert(response.headers()["x-server"].clone());
        assert_eq!(response.text().await.unwrap(), "ok");
    }
    assert_eq!(servers.len(), 2);
    for front in &fronts {
        assert_eq!(front.names(), [Some(SERVICE.to_owned())], "one connection, kept alive");
        let sent = front.sent();
        assert!(sent.starts_with("GET /ok?x=1 HTTP/1.1\r\n"), "{sent}");
        let hosts = sent.lines().filter(|line| line.starts_with("host:"));
        assert!(hosts.clone().count() > 5 && hosts.clone().all(|host| host == "host: orders.test"));
    }
}

#[tokio::test]
async fn a_server_with_the_certificate_of_another_service_gets_no_http_call() {
    let (well, wrong) = (HttpServer::start().await, HttpServer::start().await);
    let ours = authority();
    let right = Front::start(well.address(), &ours, SERVICE, b"http/1.1").await;
    let other = Front::start(wrong.address(), &ours, "bills.test", b"http/1.1").await;
    let set = EndpointSet::from_endpoints([
        endpoint("right", right.address),
        endpoint("wrong", other.address),
    ]);
    let balancer = balance(set, make_client(&ours), Config::builder()).unwrap();
    for _ in 0..30 {
        assert_eq!(get(&balancer, "/ok").await.status(), 200);
    }
    assert_eq!((well.calls(), wrong.calls()), (30, 0));
    let snapshot = balancer.snapshot();
    assert_eq!(snapshot.endpoints[1].state, EndpointState::Ejected, "{snapshot:?}");
}

#[tokio::test]
async fn how_long_http_connections_are_kept_is_passed_through() {
    let server = HttpServer::start().await;
    let ours = authority();
    let front = Front::start(server.address(), &ours, SERVICE, b"http/1.1").await;
    let set = EndpointSet::from_endpoints([endpoint("a", front.address)]);
    let make = make_client_with(&ours, |client| client.pool_max_idle_per_host(0));
    let balancer = balance(set, make, Config::builder()).unwrap();
    for _ in 0..3 {
        get(&balancer, "/ok").await.text().await.unwrap();
    }
    assert_eq!(front.names().len(), 3, "none is kept");
}

fn make_channel(by: &Authority) -> MakeChannel {
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(by.pem())).domain_name(SERVICE);
    MakeChannel::https().configure(move |_, channel| Ok(channel.tls_config(tls.clone())?))
}

#[tokio::test]
async fn grpc_calls_go_over_tls_to_servers_of_that_name_and_no_others() {
    let servers = [GrpcServer::start().await, GrpcServer::start().await, GrpcServer::start().await];
    let ours = authority();
    let fronts = [
        Front::start(servers[0].address(), &ours, SERVICE, b"h2").await,
        Front::start(servers[1].address(), &ours, SERVICE, b"h2").await,
        Front::start(servers[2].address(), &ours, "bills.test", b"h2").await,
    ];
    let set: EndpointSet = (0..3).map(|at| endpoint(&at.to_string(), fronts[at].address)).collect();
    let channel = balance_with(set, make_channel(&ours), Config::builder()).unwrap();
    let mut client = EchoClient::new(channel.clone());
    for _ in 0..50 {
        client.unary(EchoRequest::default()).await.unwrap();
    }
    assert_eq!(servers[2].calls(), 0);
    assert!(servers[0].calls() > 10 && servers[1].calls() > 10);
    for front in &fronts[..2] {
        assert_eq!(front.names(), [Some(SERVICE.to_owned())]);
    }
    let snapshot = channel.inner().snapshot();
    assert_eq!(snapshot.endpoints[2].state, EndpointState::Ejected, "{snapshot:?}");
}

#[tokio::test]
async fn a_warm_up_ends_with_the_handshake() {
    let server = GrpcServer::start().await;
    let ours = authority();
    let right = Front::start(server.address(), &ours, SERVICE, b"h2").await;
    let wrong = Front::start(server.address(), &ours, "bills.test", b"h2").await;
    let set = EndpointSet::from_endpoints([
        endpoint("right", right.address),
        endpoint("wrong", wrong.address),
    ]);
    let config = Config::builder().warm_up(Duration::from_secs(60));
    let channel = balance_with(set, make_channel(&ours), config).unwrap();
    let state = |id: &str| {
        let snapshot = channel.inner().snapshot();
        snapshot.endpoints.into_iter().find(|e| e.id == EndpointId::from(id)).unwrap().state
    };
    let connected = async {
        while state("right") != EndpointState::In {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, connected).await.unwrap();
    assert_eq!(state("wrong"), EndpointState::Connecting);
    for _ in 0..20 {
        EchoClient::new(channel.clone()).unary(EchoRequest::default()).await.unwrap();
    }
    assert_eq!((server.calls(), right.names().len()), (20, 1));
}

#[tokio::test]
async fn keep_alive_of_grpc_channels_is_passed_through_and_finds_a_dead_connection() {
    let server = GrpcServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let ours = authority();
    let front = Front::start(proxy.address(), &ours, SERVICE, b"h2").await;
    let set = EndpointSet::from_endpoints([endpoint("a", front.address)]);
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ours.pem()))
        .domain_name(SERVICE);
    let make = MakeChannel::https().configure(move |_, channel| {
        let channel = channel.tls_config(tls.clone())?;
        Ok(channel
            .http2_keep_alive_interval(Duration::from_millis(50))
            .keep_alive_timeout(Duration::from_millis(50))
            .keep_alive_while_idle(true))
    });
    let channel = balance_with(set, make, Config::builder()).unwrap();
    let mut client = EchoClient::new(channel.clone());
    client.unary(EchoRequest::default()).await.unwrap();
    let before = proxy.uploaded_bytes();
    let pinged = async {
        while proxy.uploaded_bytes() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, pinged).await.expect("the idle connection is pinged");
    proxy.set_both(Faults::BLACK_HOLE);
    // Nothing else would ever end this call.
    let ended = timeout(LONG, client.unary(EchoRequest::default())).await;
    ended.expect("the keep-alive ends the call").unwrap_err();
    assert_eq!(channel.inner().snapshot().endpoints[0].in_flight, 0);
}
