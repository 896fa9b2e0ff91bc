//! An adaptive throttle: `cargo run --example throttle`.
//!
//! The callee serves a hundred calls a second for ten seconds, then thirty, then a hundred again. It
//! knows nothing of priorities; the throttle sheds prefetching first.

use std::time::Duration;

use seawall_circuit_breaker::{
    Clock,
    throttle::{Config, Priority, Throttle},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Time that runs as fast as the program; leave the clock out in one of your own.
    let (clock, hand) = Clock::manual();
    let config = Config::builder().window(Duration::from_secs(8)).build()?;
    let throttle = Throttle::builder(config).named("stock").clock(clock).build();

    println!("second | callee serves | critical: sent, accepted | sheddable: sent, accepted");
    for second in 0..60 {
        let capacity = if (10..30).contains(&second) { 30 } else { 100 };
        let (mut left, mut sent, mut accepted) = (capacity, [0, 0], [0, 0]);
        for call in 0..100 {
            let which = call % 2;
            let priority = [Priority::Critical, Priority::Sheddable][which];
            if let Ok(permit) = throttle.admit(priority) {
                sent[which] += 1;
                if left > 0 {
                    left -= 1;
                    accepted[which] += 1;
                    permit.accepted();
                } else {
                    permit.refused();
                }
            }
            hand.advance(Duration::from_millis(10));
        }
        if second % 4 == 0 {
            println!(
                "{second:6} | {capacity:13} | {:14}, {:8} | {:15}, {:8}",
                sent[0], accepted[0], sent[1], accepted[1]
            );
        }
    }
    Ok(())
}
