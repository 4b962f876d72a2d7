//! What is allocated: nothing by a hit, and no more by many writes that are one patch than by one. In a process of its own, because it
//! counts what the whole process allocates.

use cache_sync::{Client, Patch};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{accounts, close, make_accounts, node_with, open};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

const HITS: usize = 10_000;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// What is counted is counted for one test at a time.
static ONE: Mutex<()> = Mutex::const_new(());

/// The bytes that the process holds.
static HELD: AtomicI64 = AtomicI64::new(0);

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came, and what is counted is in memory that is there from the
// thread's start: counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        HELD.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as in `alloc`; the memory came from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        HELD.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
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
    let _one = ONE.lock().await;
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

/// Nothing is written for an hour, and a counter is counted up all the time.
#[tokio::test]
async fn writes_that_are_one_patch_take_no_more_room_the_more_they_are() {
    const WRITES: i64 = 200_000;
    const ROOM: i64 = 4 << 20;
    let _one = ONE.lock().await;
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_secs(3600))).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    let (mut last, mut held) = (None, Vec::new());
    for _ in 0..2 {
        for _ in 0..WRITES / 2 {
            last = Some(cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap());
        }
        // What moka puts off.
        let _ = cache.status();
        held.push(HELD.load(Ordering::Relaxed));
    }
    let grown = held[1] - held[0];
    assert!(grown < ROOM, "{grown} bytes more are held for twice the writes that are one patch");
    client.flush().await.unwrap();
    last.unwrap().written().await.unwrap();
    assert_eq!(db.psql("SELECT balance FROM account"), WRITES.to_string());
    close(client).await;
}
