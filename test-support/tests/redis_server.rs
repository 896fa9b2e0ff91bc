//! A real redis-server that is killed, hung and restarted.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use seawall_test_support::{Data, RedisServer};

/// Sends one inline command and returns the first chunk of the answer.
fn ask(address: SocketAddr, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

#[tokio::test]
async fn a_server_answers_and_is_gone_when_dropped() {
    let redis = RedisServer::start().await;
    let address = redis.address();
    assert_eq!(redis.url(), format!("redis://{address}/"));
    assert_eq!(ask(address, "PING").unwrap(), "+PONG\r\n");
    drop(redis);
    let error = ask(address, "PING").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}

#[tokio::test]
async fn a_kill_refuses_connections_and_a_restart_keeps_the_data_if_asked() {
    let redis = RedisServer::start().await;
    assert_eq!(ask(redis.address(), "SET key value").unwrap(), "+OK\r\n");
    redis.kill();
    assert_eq!(redis.process_id(), None);
    let error = ask(redis.address(), "PING").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");

    redis.restart(Data::Keep).await;
    assert_eq!(ask(redis.address(), "GET key").unwrap(), "$5\r\nvalue\r\n");

    redis.restart(Data::Lose).await;
    assert_eq!(ask(redis.address(), "GET key").unwrap(), "$-1\r\n");
}

#[tokio::test]
async fn a_paused_server_answers_nothing_until_resumed() {
    let redis = RedisServer::start().await;
    redis.pause();
    let error = ask(redis.address(), "PING").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    redis.resume();
    assert_eq!(ask(redis.address(), "PING").unwrap(), "+PONG\r\n");
    // A second pause must wait for its own stop, and a paused server can be killed.
    redis.pause();
    redis.kill();
    redis.restart(Data::Keep).await;
    assert_eq!(ask(redis.address(), "PING").unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn arguments_reach_the_server() {
    let redis = RedisServer::builder().arg("--requirepass").arg("secret").start().await;
    assert!(ask(redis.address(), "PING").unwrap().starts_with("-NOAUTH"));
}

#[tokio::test]
async fn a_server_that_does_not_start_shows_its_log() {
    let error = RedisServer::builder().arg("--no-such-option").arg("1").try_start().await;
    let message = error.unwrap_err().to_string();
    assert!(message.contains("redis-server did not start"), "{message}");
    assert!(message.contains("FATAL CONFIG FILE ERROR"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_keep_a_server_from_starting() {
    let before = tokio::time::Instant::now();
    let redis = RedisServer::start().await;
    assert_eq!(tokio::time::Instant::now(), before, "starting takes none of the test's time");
    assert_eq!(ask(redis.address(), "PING").unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn servers_that_start_at_once_get_ports_of_their_own() {
    let starts = (0..6).map(|_| tokio::spawn(RedisServer::start()));
    let servers: Vec<_> = futures_util::future::join_all(starts).await;
    let mut ports: Vec<_> =
        servers.iter().map(|redis| redis.as_ref().unwrap().address().port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 6);
}

#[tokio::test]
async fn a_promoted_replica_holds_what_its_primary_held() {
    let primary = RedisServer::start().await;
    assert_eq!(ask(primary.address(), "SET key value").unwrap(), "+OK\r\n");
    let replica = primary.replica().await;
    assert!(ask(replica.address(), "SET key other").unwrap().starts_with("-READONLY"));
    primary.kill();
    replica.promote().await;
    assert_eq!(ask(replica.address(), "GET key").unwrap(), "$5\r\nvalue\r\n");
    assert_eq!(ask(replica.address(), "SET key other").unwrap(), "+OK\r\n");
}

#[tokio::test]
async fn a_cluster_spreads_its_slots_and_replaces_a_dead_primary() {
    let nodes = RedisServer::cluster(3).await;
    // The first primary does not hold this key and says who does.
    let moved = ask(nodes[0].address(), "GET key").unwrap();
    let owner = nodes[..3].iter().position(|node| moved.contains(&node.address().to_string()));
    let owner = owner.unwrap_or_else(|| panic!("{moved}"));
    nodes[owner].kill();
    let heir = nodes[owner + 3].address();
    let mut answer = String::new();
    for _ in 0..200 {
        answer = ask(heir, "SET key value").unwrap();
        if answer == "+OK\r\n" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the replica never took over: {answer}");
}
