//! The counting allocator counts this thread's allocations, all of them and no others.

use std::hint::black_box;

use seawall_test_support::{CountingAllocator, allocations};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

#[test]
fn each_way_to_allocate_counts_as_one() {
    assert_eq!(allocations(|| ()), 0);
    assert_eq!(allocations(|| black_box(Box::new(1))), 1);
    assert_eq!(allocations(|| black_box(vec![0_u8; 64])), 1, "zeroed");
    let mut grown = Vec::with_capacity(1);
    grown.push(1_u8);
    assert_eq!(allocations(|| grown.push(2)), 1, "grown");
    assert_eq!(allocations(|| drop(grown)), 0, "freed");
}

#[test]
fn allocations_of_other_threads_do_not_count() {
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        receive.recv().unwrap();
        drop(black_box(vec![1_u8; 1 << 20]));
        done.send(()).unwrap();
    });
    // Each channel allocates a block at its first message; a spin would starve a single core.
    send.send(()).unwrap();
    let counted = allocations(|| finished.recv().unwrap());
    thread.join().unwrap();
    assert!(counted <= 2, "{counted}: only what waiting on a channel itself allocates");
}

#[test]
fn counts_nest() {
    let outer = allocations(|| {
        let inner = allocations(|| black_box(Box::new(1)));
        assert_eq!(inner, 1);
    });
    assert_eq!(outer, 1);
}
