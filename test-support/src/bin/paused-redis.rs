//! Stands for a test that is killed while its server hangs: prints the server's process and log, and
//! waits for its end.

use seawall_test_support::RedisServer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let redis = RedisServer::start().await;
    redis.pause();
    let process = redis.process_id().expect("it was just started");
    println!("redis {process} {}", redis.log_path().display());
    std::future::pending::<()>().await;
}
