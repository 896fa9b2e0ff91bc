//! What a million keys cost in memory, in our keyed limiter and in governor's:
//! `cargo run --release -p seawall-benches --features keyed_memory --bin keyed_memory`.
//!
//! Each limiter is built, asked once for each key, and weighed by the bytes that it then holds on the
//! heap, as its allocator counts them. The keys that it is asked with are not counted. `peak` is the
//! most that it held on the way, such as two tables while one grows into the other.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    error::Error,
    hash::Hash,
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use seawall_rate_limit::{KeyedLimiter, Quota};

const KEYS: usize = 1_000_000;

/// The system's allocator, which counts the bytes that are held.
struct Weighing;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Weighing = Weighing;

// SAFETY: every method passes its arguments on to `System`, which keeps the contract of
// `GlobalAlloc`; counting neither allocates nor unwinds.
#[allow(unsafe_code, reason = "a global allocator cannot be written without")]
unsafe impl GlobalAlloc for Weighing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Prints what `build` holds at the end, and held at most.
fn weigh<T>(name: &str, build: impl FnOnce() -> T) -> T {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let limiter = build();
    let held = HELD.load(Relaxed) - before;
    let peak = PEAK.load(Relaxed) - before;
    let megabytes = held as f64 / 1e6;
    println!(
        "| {name} | {:.1} | {megabytes:.1} MB | {:.1} MB |",
        held as f64 / KEYS as f64,
        peak as f64 / 1e6
    );
    limiter
}

fn compare<K>(kind: &str, key: impl Fn(usize) -> K) -> Result<(), Box<dyn Error>>
where
    K: Hash + Eq + Clone,
{
    let quota = Quota::per_hour(100);
    let ours = weigh(&format!("seawall, {kind}"), || {
        let limiter = KeyedLimiter::<K>::new(quota, KEYS)?;
        for number in 0..KEYS {
            let _ = limiter.check(&key(number));
        }
        Ok::<_, Box<dyn Error>>(limiter)
    })?;
    let lost = ours.times_full();
    drop(ours);
    weigh(&format!("governor, {kind}"), || {
        let quota = governor::Quota::per_hour(NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN));
        let limiter = governor::RateLimiter::keyed(quota);
        for number in 0..KEYS {
            let _ = limiter.check_key(&key(number));
        }
        limiter
    });
    // About ten in a million, as the documentation says.
    if lost > KEYS as u64 / 10_000 {
        return Err(format!("{lost} keys found no place").into());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "Bytes on the heap for {KEYS} keys that were asked for once, printed by `keyed_memory`:\n"
    );
    println!("| limiter | bytes per key | in all | peak |");
    println!("|---|---:|---:|---:|");
    compare("u64", |number| number as u64)?;
    compare("String", |number| format!("customer-{number:09}"))
}
