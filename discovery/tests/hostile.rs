//! Answers that are too large, or not as long as they say.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod scripted;

use std::time::Duration;

use axum::body::{Body, Bytes};
use scripted::{Answer, Scripted, instances, until};
use seawall_discovery::{Consul, Resolver as _, Watch};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const MIB: usize = 1 << 20;
const HUNDRED_MB: usize = 100_000_000;
const LIMIT: usize = 8 * MIB;

fn watch(url: &str) -> Watch {
    let ms = Duration::from_millis;
    let consul = Consul::builder(url).backoff(ms(5), ms(20)).max_answer_bytes(LIMIT);
    consul.build().unwrap().watch("orders")
}

fn ids(watch: &Watch) -> Vec<String> {
    watch.current().iter().map(|endpoint| endpoint.id().to_string()).collect()
}

/// The most memory that this process ever had, in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_answer_of_a_hundred_megabytes_costs_no_more_than_its_limit_and_no_endpoint() {
    // Valid to its last byte, for nothing but its size is wrong.
    let stream = || {
        let chunk = Bytes::from(vec![b' '; 64 << 10]);
        let chunks = futures::stream::iter(0..HUNDRED_MB / chunk.len());
        let spaces =
            futures::StreamExt::map(chunks, move |_| Ok::<_, std::io::Error>(chunk.clone()));
        let list = futures::stream::iter([Ok(Bytes::from("[]"))]);
        Body::from_stream(futures::StreamExt::chain(spaces, list))
    };
    let size = HUNDRED_MB / (64 << 10) * (64 << 10) + 2;
    let server = Scripted::start(move |number, _| match number {
        0 => Answer::list(1, &["a"]),
        // Says how long it is, and does not.
        1 => Answer::json(stream()).header("X-Consul-Index", 2).header("Content-Length", size),
        2 => Answer::json(stream()).header("X-Consul-Index", 2),
        3 => Answer::list(3, &["b"]).after(Duration::from_millis(200)),
        _ => Answer::never(),
    })
    .await;
    let watch = watch(&server.url());
    watch.ready(Duration::from_secs(5)).await.unwrap();
    let before = peak();
    server.requests(4).await;
    until("told", || watch.state().to_string().contains("larger than 8388608 bytes")).await;
    assert_eq!(ids(&watch), ["a"]);
    let grown = peak() - before;
    println!("two answers of 100 MB with a limit of 8 MiB: {grown} MiB more");
    // A buffer that grows holds its old half beside the new one.
    assert!(grown < 4 * LIMIT / MIB, "{grown} MiB");
    until("well again", || ids(&watch) == ["b"] && watch.state().is_fresh()).await;
}

#[tokio::test]
async fn no_length_that_lies_costs_memory_or_an_endpoint() {
    // More than there is memory, more than comes, less than comes, and no number.
    for length in ["99999999999", "8000000", "20", "-1", "many"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let list = instances(&["a"]);
                let told = if number == 0 { list.len().to_string() } else { length.to_owned() };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Consul-Index: {}\r\nConnection: close\r\n\
                     Content-Length: {told}\r\n\r\n",
                    number + 1,
                );
                let _ = stream.write_all((head + &list).as_bytes()).await;
            }
        });
        let watch = watch(&url);
        watch.ready(Duration::from_secs(5)).await.unwrap();
        until("stale", || !watch.state().is_fresh()).await;
        assert_eq!(ids(&watch), ["a"], "{length}: {}", watch.state());
        server.abort();
    }
}
