//! Each fault of the proxy is seen by a real socket.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::time::Duration;

use seawall_test_support::{FaultProxy, Faults};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Longer than anything that is not held back takes.
const HELD_BACK: Duration = Duration::from_millis(150);

/// A proxy, and the two ends of a connection through it.
struct Path {
    proxy: FaultProxy,
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

impl Path {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = FaultProxy::start_seeded(listener.local_addr().unwrap(), 1).await;
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        Self { proxy, listener, client, server }
    }
}

/// Sends one byte and waits for it at the other end; the time that took.
async fn pass(from: &mut TcpStream, to: &mut TcpStream) -> Duration {
    let start = Instant::now();
    from.write_all(b"x").await.unwrap();
    assert_eq!(to.read_u8().await.unwrap(), b'x');
    start.elapsed()
}

async fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) => return (bytes, Ok(())),
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

async fn becomes(what: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if what() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn bytes_and_ends_pass_and_are_counted() {
    let Path { proxy, mut client, mut server, .. } = Path::new().await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let upload = async {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let ((), (received, end)) = tokio::join!(upload, read_to_end(&mut server));
    end.unwrap();
    assert!(received == sent, "{} of {} bytes, or others", received.len(), sent.len());

    server.write_all(b"answer").await.unwrap();
    drop(server);
    let (answer, end) = read_to_end(&mut client).await;
    end.unwrap();
    assert_eq!(answer, b"answer", "the other direction outlives the first one's end");
    assert!(becomes(|| proxy.open_connections() == 0).await);
    assert_eq!(proxy.connections(), 1);
    assert_eq!((proxy.uploaded_bytes(), proxy.downloaded_bytes()), (1_000_000, 6));
}

#[tokio::test]
async fn resets_pass() {
    let Path { proxy: _proxy, mut client, server, .. } = Path::new().await;
    server.set_zero_linger().unwrap();
    drop(server);
    let (_, end) = read_to_end(&mut client).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn latency_delays_one_direction() {
    let Path { proxy, mut client, mut server, .. } = Path::new().await;
    let latency = Duration::from_millis(200);
    proxy.set_download(Faults { latency, ..Faults::NONE });
    let up = pass(&mut client, &mut server).await;
    let down = pass(&mut server, &mut client).await;
    assert!(up < HELD_BACK && down >= latency, "up {up:?}, down {down:?}");

    // Chunks travel behind each other: ten take one latency, not ten.
    let start = Instant::now();
    for _ in 0..10 {
        server.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    client.read_exact(&mut [0; 10]).await.unwrap();
    let ten = start.elapsed();
    assert!(ten >= latency && ten < 4 * latency, "{ten:?}");

    proxy.heal();
    let down = pass(&mut server, &mut client).await;
    assert!(down < latency, "{down:?}");
}

#[tokio::test]
async fn jitter_spreads_delays_and_keeps_the_order() {
    let Path { proxy, mut client, mut server, .. } = Path::new().await;
    let jitter = Duration::from_millis(40);
    proxy.set_upload(Faults { jitter, ..Faults::NONE });
    let mut times = Vec::new();
    for _ in 0..20 {
        times.push(pass(&mut client, &mut server).await);
    }
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*most - *least > jitter / 4, "between {least:?} and {most:?}");

    for number in 0..50 {
        client.write_u8(number).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut numbers = [0; 50];
    server.read_exact(&mut numbers).await.unwrap();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn bandwidth_bounds_the_rate() {
    let Path { proxy, mut client, mut server, .. } = Path::new().await;
    let bytes_per_second = NonZeroU64::new(100_000);
    proxy.set_upload(Faults { bytes_per_second, ..Faults::NONE });
    let start = Instant::now();
    client.write_all(&[0; 50_000]).await.unwrap();
    server.read_exact(&mut [0; 50_000]).await.unwrap();
    let time = start.elapsed();
    assert!(time >= Duration::from_millis(450), "{time:?}");
    assert!(time < Duration::from_millis(1_500), "{time:?}");
}

#[tokio::test]
async fn a_black_hole_accepts_and_passes_nothing_until_it_is_gone() {
    let Path { proxy, listener, mut client, mut server } = Path::new().await;
    proxy.set_both(Faults::BLACK_HOLE);
    client.write_all(b"a").await.unwrap();
    timeout(HELD_BACK, server.read_u8()).await.unwrap_err();
    server.write_all(b"b").await.unwrap();
    timeout(HELD_BACK, client.read_u8()).await.unwrap_err();

    let mut second = TcpStream::connect(proxy.address()).await.unwrap();
    second.write_all(b"c").await.unwrap();
    drop(client);
    timeout(HELD_BACK, read_to_end(&mut server)).await.expect_err("an end does not pass either");

    proxy.heal();
    let (bytes, end) = read_to_end(&mut server).await;
    // The client left without reading, which resets: the byte for it never arrived.
    assert!(bytes == b"a" || end.is_err(), "{bytes:?}");
    let (mut second_server, _) = listener.accept().await.unwrap();
    assert_eq!(second_server.read_u8().await.unwrap(), b'c');
}

#[tokio::test]
async fn a_reset_breaks_both_sides_now_and_spares_later_connections() {
    let Path { proxy, listener, mut client, mut server } = Path::new().await;
    pass(&mut client, &mut server).await;
    proxy.reset();
    let (_, end) = read_to_end(&mut client).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let (_, end) = read_to_end(&mut server).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    pass(&mut client, &mut server).await;
    proxy.close();
    let (_, end) = read_to_end(&mut client).await;
    end.unwrap();
    let (_, end) = read_to_end(&mut server).await;
    end.unwrap();
}

#[tokio::test]
async fn a_reset_comes_after_exactly_as_many_bytes() {
    let Path { proxy, mut client, mut server, .. } = Path::new().await;
    proxy.set_download(Faults { reset_after_bytes: Some(70_000), ..Faults::NONE });
    server.write_all(&[0; 100_000]).await.unwrap();
    let (bytes, end) = read_to_end(&mut client).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(bytes.len() <= 70_000, "{}", bytes.len());
    assert_eq!(proxy.downloaded_bytes(), 70_000);
}

#[tokio::test]
async fn a_half_close_ends_one_direction() {
    let Path { proxy, mut client, mut server, .. } = Path::new().await;
    proxy.set_download(Faults { half_close_after_bytes: Some(3), ..Faults::NONE });
    server.write_all(b"hello").await.unwrap();
    let (bytes, end) = read_to_end(&mut client).await;
    end.unwrap();
    assert_eq!(bytes, b"hel");
    pass(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_refusal_spares_old_connections_and_ends_on_the_same_port() {
    let Path { proxy, listener, mut client, mut server } = Path::new().await;
    proxy.refuse();
    let error = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    pass(&mut client, &mut server).await;

    proxy.accept();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    pass(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_target_that_refuses_resets_the_client() {
    let Path { proxy, listener, .. } = Path::new().await;
    drop(listener);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (_, end) = read_to_end(&mut client).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_proxy_is_gone_at_once_even_when_time_is_paused() {
    let Path { proxy, mut client, mut server, .. } = Path::new().await;
    pass(&mut client, &mut server).await;
    let address = proxy.address();
    drop(proxy);
    let error = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}
