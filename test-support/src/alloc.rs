//! Counting heap allocations, to prove that a request path makes none.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

thread_local! {
    // Const-initialised and without a destructor, so that reaching it never allocates itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts the allocations of each thread.
///
/// # Examples
///
/// ```
/// use seawall_test_support::{CountingAllocator, allocations};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator::new();
///
/// let mut numbers = Vec::with_capacity(1);
/// assert_eq!(allocations(|| numbers.push(1)), 0);
/// assert_eq!(allocations(|| numbers.push(2)), 1);
/// ```
#[derive(Debug, Default)]
pub struct CountingAllocator(());

impl CountingAllocator {
    /// An allocator for `#[global_allocator]`.
    pub const fn new() -> Self {
        Self(())
    }
}

fn count() {
    // A thread that is ending may have lost its counter already; nobody reads that one again.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every method passes its arguments on to `System`, which keeps the contract of
// `GlobalAlloc`; counting neither allocates nor unwinds.
#[allow(unsafe_code, reason = "a global allocator cannot be written without")]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// How often `work` allocates on this thread; growing a block counts as one, freeing as none.
///
/// Work that is done lazily once, such as the first use of a thread-local, counts too: do it once
/// before measuring.
///
/// # Panics
///
/// When [`CountingAllocator`] is not the program's global allocator.
#[track_caller]
pub fn allocations<T>(work: impl FnOnce() -> T) -> u64 {
    let idle = read();
    drop(black_box(Box::new(0_u8)));
    assert!(
        read() > idle,
        "nothing is counted: declare `#[global_allocator] static ALLOCATOR: CountingAllocator = \
         CountingAllocator::new();` in this test"
    );
    // The proof is not the caller's: an outer measurement does not see it.
    ALLOCATIONS.with(|allocations| allocations.set(idle));
    let value = work();
    let counted = read() - idle;
    drop(value);
    counted
}

fn read() -> u64 {
    ALLOCATIONS.with(Cell::get)
}
