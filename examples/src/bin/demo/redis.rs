//! Whether a Redis answers. The shared limiter that would use it is not there yet.

use std::{io, time::Duration};

use reqwest::Url;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A Redis that takes longer is of no use to a limiter.
const LIMIT: Duration = Duration::from_secs(2);

/// One line that says why the demo does not run with this Redis.
pub(crate) async fn refusal(url: &Url) -> String {
    let place = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(6379));
    let answer = timeout(LIMIT, ping(&place)).await;
    match answer.unwrap_or_else(|_| Err(io::Error::other("no answer within 2 s"))) {
        Ok(()) => "--redis: this version has no shared limiter yet; leave the flag out".to_owned(),
        Err(error) => format!("redis at {place} is unreachable: {error}"),
    }
}

async fn ping(place: &str) -> io::Result<()> {
    let mut connection = TcpStream::connect(place).await?;
    connection.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).await?;
    match &answer {
        // The second one asks for a password first, as only a Redis does.
        b"+PONG" | b"-NOAU" => Ok(()),
        _ => Err(io::Error::other("what answers is no Redis")),
    }
}
