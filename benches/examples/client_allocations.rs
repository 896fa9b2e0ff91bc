//! How often a call allocates in each of the stacks that the bench `client` times:
//! `cargo run --release -p seawall-benches --example client_allocations`.

#[path = "../benches/client/stack.rs"]
mod stack;

use seawall_benches::{Bare, call_now};
use seawall_test_support::{CountingAllocator, allocations};
use tower::Service;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

const CALLS: u64 = 10_000;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let _context = runtime.enter();
    println!("| stack | allocations per call |\n|---|---:|");
    show("bare", Bare);
    show("seawall_same_four", stack::seawall_same_four());
    show("seawall_full", stack::seawall_full());
    show("tower_resilience_four", stack::tower_resilience_four());
    Ok(())
}

fn show<S: Service<u32>>(name: &str, mut service: S) {
    // What is made at the first call is no part of the others.
    let mut calls = |count: u64| {
        for _ in 0..count {
            assert!(call_now(&mut service, 1).is_ok(), "nothing fails here");
        }
    };
    calls(CALLS);
    let made = allocations(|| calls(CALLS));
    println!("| `{name}` | {:.2} |", made as f64 / CALLS as f64);
}
