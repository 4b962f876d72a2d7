//! What is allocated: nothing by a hit, little for an entry, no more by many writes that are one patch than by one, by large rows only
//! so much, and nothing that lasts by calls that are given up. In a process of its own, because it counts what the whole process
//! allocates.

use cache_sync::{Cache, Client, Freshness, Patch};
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, node_with, open};
use cache_sync_tests::{Database, SOON, wait_until};
use futures_util::FutureExt;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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

/// The most that it has held since a test last looked.
static PEAK: AtomicI64 = AtomicI64::new(0);

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came, and what is counted is in memory that is there from the
// thread's start: counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        hold(-(layout.size() as i64));
        // SAFETY: as in `alloc`; the memory came from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        hold(size as i64 - layout.size() as i64);
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn hold(bytes: i64) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

fn held() -> i64 {
    HELD.load(Ordering::Relaxed)
}

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
            assert!(cache.with(key, |account| account.is_some()).await.unwrap());
        }
    };
    // moka makes queues for reads on first use.
    hit().await;
    let (hits, before) = (cache.status().hits, allocations());
    hit().await;
    let allocated = allocations() - before;
    assert_eq!(cache.status().hits - hits, 3 * HITS as u64);
    // Once in thousands of hits one does what moka has put off, which makes an entry in a list of what is to be freed.
    assert!(allocated <= 3 * HITS as u64 / 1000, "{allocated} allocations");
    assert!(before > 0, "nothing is counted");
    close(client).await;
}

/// Of every histogram how much it was told; nothing else.
#[derive(Clone, Default)]
struct Tally(Arc<AtomicU64>);

impl HistogramFn for Tally {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Tally {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

/// Those that are measured, too, whatever the recorder does with it.
#[tokio::test]
async fn a_hit_that_is_measured_allocates_nothing() {
    let _one = ONE.lock().await;
    let tally = Tally::default();
    let _here = set_default_local_recorder(&tally);
    let (_db, client, cache) = node_with(1).await;
    let hit = async || {
        for _ in 0..20 * HITS {
            assert!(cache.get(&1).await.unwrap().is_some());
        }
    };
    // moka makes queues for reads on first use.
    hit().await;
    let (told, before) = (tally.0.load(Ordering::Relaxed), allocations());
    hit().await;
    let (told, allocated) = (tally.0.load(Ordering::Relaxed) - told, allocations() - before);
    assert!(told > 300, "of two histograms, one hit in a thousand each: {told}");
    // Once in thousands of hits one does what moka has put off.
    assert!(allocated < told / 4, "{allocated} allocations by {told} samples");
    close(client).await;
}

/// What a question is made of is only borrowed.
#[tokio::test]
async fn a_hit_of_a_prepared_query_allocates_nothing() {
    let _one = ONE.lock().await;
    let (_db, client, _cache) = node_with(10).await;
    let prepared = client.prepare_query::<i64>("SELECT count(*) FROM account WHERE id = $1 OR name = $2");
    let hit = async || {
        for key in (1..=10_i64).cycle().take(HITS) {
            assert_eq!(*prepared.fetch((key, "nobody")).await.unwrap(), [1]);
        }
    };
    hit().await;
    let (hits, before) = (client.status().query_hits, allocations());
    hit().await;
    let allocated = allocations() - before;
    assert_eq!(client.status().query_hits - hits, HITS as u64);
    // Once in 128 looks into moka it collects what is to be freed.
    assert!(allocated <= HITS as u64 / 100, "{allocated} allocations");
    close(client).await;
}

/// A future is moved as a whole before it is asked, and what a load needs is a lot.
#[tokio::test]
async fn the_future_of_a_read_is_small() {
    let _one = ONE.lock().await;
    let (_db, client, cache) = node_with(1).await;
    let sizes = [
        size_of_val(&cache.get(&1)),
        size_of_val(&cache.lookup(&1, Freshness::Cached)),
        size_of_val(&cache.with(&1, |account| account.is_some())),
        size_of_val(&cache.get_many(&[1])),
    ];
    println!("bytes of the futures of get, read, with, get_many: {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 256), "{sizes:?}");
    close(client).await;
}

/// What moka takes for an entry that says no more than its own number and weight.
fn of_moka_alone(entries: u64) -> i64 {
    let before = held();
    let builder = moka::sync::Cache::builder().max_capacity(2 * entries).weigher(|_, (_, weight): &(u32, u32)| *weight);
    let alone = builder.eviction_listener(|_, _, _| {}).build();
    (0..entries).for_each(|key: u64| alone.insert(key, (key as u32, 1)));
    alone.run_pending_tasks();
    assert_eq!(alone.entry_count(), entries);
    (held() - before) / entries as i64
}

/// Most of it is what moka keeps, whose lists and counts decide what stays.
#[tokio::test]
async fn an_entry_takes_little_beyond_key_and_value() {
    const ENTRIES: usize = 50_000;
    const BEYOND_MAX: i64 = 350;
    const BEYOND_MOKA_MAX: i64 = 110;
    let _one = ONE.lock().await;
    let db = Database::with_extension();
    make_accounts(&db, ENTRIES as i64);
    let client = open(Client::builder(&db.dsn())).await;
    let cache: Cache<i64, Account> = client.cache("account").max_capacity(2 * ENTRIES as u64).open().await.unwrap();
    let keys: Vec<i64> = (1..=ENTRIES as i64).collect();
    let (mut held, mut own) = (Vec::new(), 0);
    for keys in [&keys[..1000], &keys[1000..]] {
        for keys in keys.chunks(1000) {
            for account in cache.get_many(keys).await.unwrap() {
                let account = account.unwrap();
                // As an `Arc` holds it, with its two counts.
                own += size_of_val(&*account) + 2 * size_of::<usize>() + account.name.capacity() + size_of::<i64>();
            }
        }
        // What moka puts off.
        assert!(cache.status().entries > 0);
        held.push((HELD.load(Ordering::Relaxed), own as i64));
    }
    let count = ENTRIES as i64 - 1000;
    let beyond = ((held[1].0 - held[0].0) - (held[1].1 - held[0].1)) / count;
    close(client).await;
    let of_moka = of_moka_alone(ENTRIES as u64);
    println!("bytes of an entry beyond its key and value: {beyond}, of which moka alone takes {of_moka}");
    assert!((0..=BEYOND_MAX).contains(&beyond), "{beyond} bytes");
    assert!((0..=BEYOND_MOKA_MAX).contains(&(beyond - of_moka)), "{of_moka} of {beyond} bytes are moka's");
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
        held.push(self::held());
    }
    let grown = held[1] - held[0];
    assert!(grown < ROOM, "{grown} bytes more are held for twice the writes that are one patch");
    client.flush().await.unwrap();
    last.unwrap().written().await.unwrap();
    assert_eq!(db.psql("SELECT balance FROM account"), WRITES.to_string());
    close(client).await;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Page {
    body: String,
}

const PAGES: i64 = 150;
const PAGE_BYTES: i64 = 200_000;
const ALL: i64 = PAGES * PAGE_BYTES;

/// A table of pages that are large.
fn pages() -> Database<'static> {
    let db = Database::with_extension();
    db.psql(&format!(
        "CREATE TABLE page (id int PRIMARY KEY, body text NOT NULL);
         INSERT INTO page SELECT id, repeat('x', {PAGE_BYTES}) FROM generate_series(1, {PAGES}) id;
         SELECT cache_sync.attach('page')"
    ));
    db
}

/// Entries were bounded by their number alone: 2,000 rows of a megabyte took 3.3 GB. And what a load brought was held whole, as it came
/// and as it was decoded.
#[tokio::test]
async fn large_rows_take_the_room_that_they_are_given_and_are_loaded_one_by_one() {
    const ROOM: i64 = 6 << 20;
    let _one = ONE.lock().await;
    let db = pages();
    let client = open(Client::builder(&db.dsn()).query_results_bytes_max(ROOM as u64)).await;
    let cache = client.cache::<i32, Page>("page").bytes_max(ROOM as u64).open().await.unwrap();
    let keys: Vec<i32> = (1..=PAGES as i32).collect();
    cache.get(&1).await.unwrap();

    let before = held();
    PEAK.store(before, Ordering::Relaxed);
    let rows = cache.get_many(&keys).await.unwrap();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    assert!(rows.iter().all(|row| row.as_ref().is_some_and(|row| row.body.len() as i64 == PAGE_BYTES)));
    assert!(peak < ALL * 3 / 2, "{peak} bytes at a time for {ALL}");
    assert!(peak > ALL, "nothing is counted");
    drop(rows);

    for key in &keys {
        cache.get(key).await.unwrap();
        // A result each, of a page.
        let query = client.query::<Page>("SELECT body FROM page WHERE id = $1").bind(*key);
        assert_eq!(query.depends_on_table("page").fetch().await.unwrap().len(), 1);
    }
    let (cached, results) = (cache.status().entries, client.status().query_results);
    for held in [cached, results] {
        assert!((15..40).contains(&held), "{cached} rows and {results} results are held of {PAGES}");
    }
    let grown = held() - before;
    assert!(grown < 3 * ROOM, "{grown} bytes are held in room for {ROOM} of rows and as much of results");
    close(client).await;
}

/// What is done by no longer waiting for it, so many times: each has begun to wait, and others get their turns.
async fn give_up<F: Future>(times: i64, mut call: impl FnMut(i64) -> F) {
    for time in 0..times {
        drop(call(time).now_or_never());
        tokio::task::yield_now().await;
    }
}

/// A migration held a table for a minute, and reads timed out all the while: 380,000 keys that nobody waited for any more were loaded
/// before the next read got its turn. And somebody asked for a flush all the while.
#[tokio::test]
async fn calls_that_are_given_up_are_forgotten() {
    const CALLS: i64 = 10_000;
    const ROOM: i64 = 2 << 20;
    let _one = ONE.lock().await;
    let (db, client, cache) = node_with(5).await;
    let console = db.connect().await;
    console.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // Some loads are under way, and wait for the lock.
    let first: Vec<i64> = (100..200).collect();
    for key in &first {
        let _ = tokio::time::timeout(Duration::ZERO, cache.get(key)).await.is_ok();
    }
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'account'::regclass";
    wait_until(SOON, "a load waits", async || db.psql(waits) == "t").await;
    let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    let keys: Vec<i64> = (1000..1000 + CALLS).collect();
    let (before, loaded) = (held(), cache.status().loaded_keys);
    give_up(CALLS, |call| cache.get(&keys[call as usize])).await;
    give_up(CALLS, |_| cache.get(&2)).await;
    give_up(CALLS, |_| client.flush()).await;
    let grown = held() - before;
    assert!(grown < ROOM, "{grown} bytes are held for what nobody waits for");
    console.batch_execute("COMMIT").await.unwrap();
    assert_eq!(cache.get(&3).await.unwrap().unwrap().name, "name 3");
    receipt.written().await.unwrap();
    let loaded = cache.status().loaded_keys - loaded;
    assert!(loaded < 1000, "{loaded} keys were loaded for one");
    close(client).await;
}
