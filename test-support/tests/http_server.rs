//! A real HTTP server answers as its paths say.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::io;
use std::time::Duration;

use seawall_test_support::HttpServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What was read of an answer, and how the connection ended.
struct Answer {
    text: String,
    end: io::Result<()>,
}

async fn ask(server: &HttpServer, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    Answer { text: String::from_utf8(bytes).unwrap(), end }
}

async fn get(server: &HttpServer, path: &str) -> String {
    let answer = ask(server, "GET", path, "").await;
    answer.end.unwrap();
    answer.text
}

#[tokio::test]
async fn statuses_and_bodies_are_those_of_the_path() {
    let server = HttpServer::start().await;
    let ok = get(&server, "/ok").await;
    assert!(ok.starts_with("HTTP/1.1 200 OK\r\n") && ok.ends_with("\r\n\r\nok"), "{ok}");
    assert!(ok.contains(&format!("x-server: {}\r\n", server.address())), "{ok}");
    assert!(get(&server, "/status/503").await.starts_with("HTTP/1.1 503 "));
    assert!(get(&server, "/nothing").await.starts_with("HTTP/1.1 404 "));
    assert!(get(&server, "/status/99").await.starts_with("HTTP/1.1 400 "));

    let bytes = get(&server, "/bytes/1000").await;
    assert!(bytes.contains("content-length: 1000\r\n"), "{bytes}");
    assert!(bytes.ends_with(&format!("\r\n\r\n{}", "x".repeat(1000))), "{bytes}");
    let stream = get(&server, "/stream/3").await;
    assert!(stream.contains("transfer-encoding: chunked\r\n"), "{stream}");
    assert_eq!(stream.matches("seawall\n").count(), 3, "{stream}");

    let empty = get(&server, "/empty").await;
    assert!(empty.starts_with("HTTP/1.1 204 ") && empty.ends_with("\r\n\r\n"), "{empty}");
    let echo = ask(&server, "POST", "/echo", "hello").await;
    assert!(echo.text.ends_with("hello") || echo.text.contains("\r\nhello\r\n"), "{}", echo.text);
    assert_eq!((server.calls(), server.in_flight()), (8, 0));
}

#[tokio::test]
async fn head_gets_the_head_alone() {
    let server = HttpServer::start().await;
    let head = ask(&server, "HEAD", "/bytes/1000", "").await;
    head.end.unwrap();
    assert!(head.text.contains("content-length: 1000\r\n"), "{}", head.text);
    assert!(head.text.ends_with("\r\n\r\n"), "{}", head.text);
}

#[tokio::test]
async fn a_body_is_reset_or_closed_half_way() {
    let server = HttpServer::start().await;
    for (path, sent) in
        [("/reset-after/10", 10), ("/reset-after/0", 0), ("/reset-after/99999", 99_999)]
    {
        let answer = ask(&server, "GET", path, "").await;
        assert_eq!(answer.end.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "{path}");
        let (_, body) = answer.text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), sent, "{path}");
    }
    let answer = ask(&server, "GET", "/close-after/10", "").await;
    answer.end.unwrap();
    let (head, body) = answer.text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 1010"), "{head}");
    assert_eq!(body, "xxxxxxxxxx");
}

#[tokio::test]
async fn delays_and_stalls_take_their_time() {
    let server = HttpServer::start().await;
    let short = Duration::from_millis(50);
    tokio::time::timeout(short, get(&server, "/delay/10000")).await.unwrap_err();
    tokio::time::timeout(short, get(&server, "/trickle/2/10000")).await.unwrap_err();
    tokio::time::timeout(short, get(&server, "/hang")).await.unwrap_err();
    assert!(get(&server, "/delay/1").await.ends_with("ok"));
    assert_eq!(get(&server, "/trickle/2/1").await.matches("seawall\n").count(), 2);

    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /stall HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut head = [0; 1024];
    let read = stream.read(&mut head).await.unwrap();
    assert!(head[..read].ends_with(b"\r\n\r\n"));
    tokio::time::timeout(short, stream.read(&mut head)).await.unwrap_err();
    drop(stream);
    for _ in 0..500 {
        if server.in_flight() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("requests whose client went away stay in flight");
}

#[tokio::test]
async fn a_set_path_overrides_the_requests() {
    let server = HttpServer::start().await;
    server.set_path(Some("/status/500"));
    assert!(get(&server, "/ok").await.starts_with("HTTP/1.1 500 "));
    server.set_path(None);
    assert!(get(&server, "/ok").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_killed_server_refuses_connections_and_comes_back_at_its_address() {
    let server = HttpServer::start().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    while server.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.kill();
    assert_eq!(server.in_flight(), 0);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    let error = TcpStream::connect(server.address()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    server.restart().await;
    assert!(get(&server, "/ok").await.starts_with("HTTP/1.1 200 "));
}
