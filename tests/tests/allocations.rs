//! A hit allocates nothing. In a process of its own, because it counts what the whole process allocates.

use cache_sync_tests::rows::{close, node_with};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

const HITS: usize = 10_000;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came, and what is counted is in memory that is there from the
// thread's start: counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; the memory came from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    // A thread that ends has no counter any more, and nobody asks for it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[tokio::test]
async fn a_hit_allocates_nothing() {
    let (_db, client, cache) = node_with(10).await;
    let keys: Vec<i64> = (1..=10).collect();
    cache.get_many(&keys).await.unwrap();
    let hit = async || {
        for key in keys.iter().cycle().take(HITS) {
            assert!(cache.get(key).await.unwrap().is_some());
            assert!(cache.cached(key).is_some());
        }
    };
    // moka notes reads in queues that it makes on first use.
    hit().await;
    let (hits, before) = (cache.status().hits, allocations());
    hit().await;
    let after = allocations();
    assert_eq!(cache.status().hits - hits, 2 * HITS as u64);
    assert_eq!(after - before, 0);
    assert!(before > 0, "nothing is counted");
    close(client).await;
}
