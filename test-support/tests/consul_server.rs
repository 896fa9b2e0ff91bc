//! A real Consul agent that is killed, hung and restarted.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use seawall_test_support::{ConsulServer, Data};

/// Sends one request and returns the status line, head and body.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(1_500)))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn services(consul: &ConsulServer) -> String {
    ask(consul.address(), "GET", "/v1/catalog/services", "").unwrap()
}

#[tokio::test]
async fn an_agent_keeps_its_data_through_a_kill_if_asked_and_is_gone_when_dropped() {
    let consul = ConsulServer::start().await;
    let http = consul.address();
    let put = ask(http, "PUT", "/v1/kv/key", "value").unwrap();
    assert!(put.ends_with("true\n") || put.ends_with("true"), "{put}");
    let service = r#"{"ID": "web-1", "Name": "web", "Address": "127.0.0.1", "Port": 80}"#;
    let put = ask(http, "PUT", "/v1/agent/service/register", service).unwrap();
    assert!(put.starts_with("HTTP/1.0 200"), "{put}");
    assert!(services(&consul).contains("web"), "{}", services(&consul));

    consul.kill();
    let error = ask(http, "GET", "/v1/status/leader", "").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");

    consul.restart(Data::Keep).await;
    assert!(ask(http, "GET", "/v1/kv/key?raw", "").unwrap().ends_with("value"));
    assert!(services(&consul).contains("web"), "{}", services(&consul));

    consul.restart(Data::Lose).await;
    assert!(ask(http, "GET", "/v1/kv/key", "").unwrap().starts_with("HTTP/1.0 404"));
    assert!(!services(&consul).contains("web"), "{}", services(&consul));

    drop(consul);
    let error = ask(http, "GET", "/v1/status/leader", "").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}

#[tokio::test]
async fn a_paused_agent_answers_nothing_until_resumed() {
    let consul = ConsulServer::start().await;
    consul.pause();
    let error = ask(consul.address(), "GET", "/v1/status/leader", "").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    consul.resume();
    let leader = ask(consul.address(), "GET", "/v1/status/leader", "").unwrap();
    assert!(leader.starts_with("HTTP/1.0 200"), "{leader}");
}

#[tokio::test]
async fn the_agent_answers_dns_and_takes_configuration() {
    let config = r#"{"services": [{"name": "web", "port": 80}]}"#;
    let consul = ConsulServer::builder().config(config).start().await;
    assert!(consul.http_url().starts_with("http://127.0.0.1:"));
    let agent = ask(consul.address(), "GET", "/v1/agent/services", "").unwrap();
    assert!(agent.contains("\"web\""), "{agent}");

    // A query of type A for consul.service.consul.
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
                  \x06consul\x07service\x06consul\x00\x00\x01\x00\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send_to(query, consul.dns_address()).unwrap();
    let mut answer = [0; 512];
    let (length, _) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[..2], b"\x12\x34", "the answer to this question");
    assert!(length > query.len(), "the answer holds a record");
}

#[tokio::test]
async fn a_cluster_knows_one_leader_and_elects_another() {
    let mut servers = ConsulServer::cluster(3).await;
    let leader = |server: &ConsulServer| {
        let answer = ask(server.address(), "GET", "/v1/status/leader", "").unwrap();
        answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned()
    };
    let first = leader(&servers[0]);
    assert!(servers.iter().all(|server| leader(server) == first), "{first}");
    assert!(first.contains("127.0.0.1:"), "{first}");
    let leads = |server: &ConsulServer| {
        let own = ask(server.address(), "GET", "/v1/agent/self", "").unwrap();
        own.contains("\"leader\":\"true\"")
    };
    let place = servers.iter().position(leads).unwrap();
    servers.remove(place);
    let mut second = first.clone();
    for _ in 0..200 {
        second = leader(&servers[0]);
        if second != first && second.contains(':') {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(second != first && second.contains(':'), "{second}");
}
