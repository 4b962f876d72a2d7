//! The mode of a cache changes all the time, while everybody reads, writes and watches: nothing is lost, nothing is shown too late, nothing
//! goes back.

use cache_sync::{Cache, CacheStatus, Client, Mode, Patch};
use cache_sync_kit::Dice;
use cache_sync_tests::rows::{Account, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, wait_until};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ROWS: i64 = 8;
const BOUND: Duration = Duration::from_secs(1);
/// Machines may be busy.
const LONG: Duration = Duration::from_secs(90);
/// So much has to happen in each mode.
const ENOUGH: u64 = 200;

type Accounts = Cache<i64, Account>;

/// What was confirmed of each row, when, as a number that only grows: in its name.
#[derive(Default)]
struct Confirmed(Mutex<BTreeMap<i64, Vec<(Instant, i64)>>>);

impl Confirmed {
    fn note(&self, id: i64, number: i64) {
        self.0.lock().unwrap().entry(id).or_default().push((Instant::now(), number));
    }

    /// What a read that began then shows at least.
    fn least(&self, id: i64, begun: Instant) -> i64 {
        let all = self.0.lock().unwrap();
        let old = all.get(&id).into_iter().flatten().filter(|(at, _)| *at + BOUND < begun);
        old.map(|(_, number)| *number).max().unwrap_or(0)
    }
}

fn number(row: &Account) -> i64 {
    row.name.parse().unwrap()
}

async fn writes_sql(db: tokio_postgres::Client, confirmed: Arc<Confirmed>, is_over: Arc<AtomicBool>) {
    let (mut dice, mut next) = (Dice::new(1), 0);
    while !is_over.load(Ordering::Acquire) {
        let id = 1 + dice.below(ROWS as u64) as i64;
        next += 1;
        db.batch_execute(&format!("UPDATE account SET name = '{next}' WHERE id = {id}")).await.unwrap();
        confirmed.note(id, next);
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

/// Adds to rows, and reads each at once; returns how often each was added to.
async fn writes_behind(cache: Accounts, is_over: Arc<AtomicBool>) -> BTreeMap<i64, i64> {
    let (mut dice, mut added) = (Dice::new(2), BTreeMap::new());
    while !is_over.load(Ordering::Acquire) {
        let id = 1 + dice.below(ROWS as u64) as i64;
        let _ = cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap();
        let count = added.entry(id).or_insert(0);
        *count += 1;
        let shown = cache.get(&id).await.unwrap().unwrap().balance;
        assert_eq!(shown, *count, "in {:?}: one's own write shows", cache.mode());
        tokio::time::sleep(Duration::from_micros(dice.below(3000))).await;
    }
    added
}

async fn reads(cache: Accounts, seed: u64, confirmed: Arc<Confirmed>, is_over: Arc<AtomicBool>) -> u64 {
    let (mut dice, mut last, mut reads) = (Dice::new(seed), BTreeMap::new(), 0);
    while !is_over.load(Ordering::Acquire) {
        let id = 1 + dice.below(ROWS as u64) as i64;
        let (begun, mode) = (Instant::now(), cache.mode());
        let shown = number(&cache.get(&id).await.unwrap().unwrap());
        let least = confirmed.least(id, begun);
        assert!(shown >= least, "in {mode:?}: {shown} is shown, and {least} was confirmed long ago");
        let before = last.insert(id, shown).unwrap_or(0);
        assert!(shown >= before, "in {mode:?}: {shown} is shown after {before}");
        reads += 1;
        tokio::time::sleep(Duration::from_micros(dice.below(500))).await;
    }
    reads
}

/// What has happened in which mode.
#[derive(Debug, Default)]
struct Tally {
    switches: u64,
    hits_of_all: u64,
    hits_of_some: u64,
    compared_in_shadow: u64,
}

impl Tally {
    fn is_enough(&self) -> bool {
        [self.switches, self.hits_of_all, self.hits_of_some, self.compared_in_shadow]
            .iter()
            .all(|count| *count >= ENOUGH)
    }
}

/// Until enough has happened in each mode.
async fn switches(cache: Accounts) -> Tally {
    let (mut dice, mut tally) = (Dice::new(3), Tally::default());
    let compared = |status: &CacheStatus| status.verified_equal + status.verified_behind + status.unverified;
    wait_until(LONG, "enough has happened in each mode", async || {
        let mode = match dice.below(4) {
            0 => Mode::Off,
            1 => Mode::Shadow,
            2 => Mode::Canary(dice.fraction()),
            _ => Mode::On,
        };
        cache.set_mode(mode).unwrap();
        let before = cache.status();
        tokio::time::sleep(Duration::from_millis(dice.below(40))).await;
        let after = cache.status();
        tally.switches += 1;
        match mode {
            Mode::On => tally.hits_of_all += after.hits - before.hits,
            Mode::Canary(_) => tally.hits_of_some += after.hits - before.hits,
            Mode::Shadow => tally.compared_in_shadow += compared(&after) - compared(&before),
            _ => {}
        }
        tally.is_enough()
    })
    .await;
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_lose_nothing_and_show_nothing_too_late() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, ROWS);
    db.psql("UPDATE account SET name = '0'");
    let client = open(Client::builder(&db.dsn()).feed_timeout(BOUND)).await;
    let cache: Accounts = client.cache("account").verify(0.1).open().await.unwrap();
    let (confirmed, is_over) = (Arc::new(Confirmed::default()), Arc::new(AtomicBool::new(false)));
    let sql = tokio::spawn(writes_sql(db.connect().await, confirmed.clone(), is_over.clone()));
    let behind = tokio::spawn(writes_behind(cache.clone(), is_over.clone()));
    let readers: Vec<_> =
        (10..13).map(|seed| tokio::spawn(reads(cache.clone(), seed, confirmed.clone(), is_over.clone()))).collect();
    let (mut watch, shown) = (cache.watch(&1), Arc::new(Mutex::new((-1, -1))));
    let seen = shown.clone();
    let watcher = tokio::spawn(async move {
        while let Some(item) = watch.next().await {
            let (row, mut last) = (item.unwrap().value.unwrap(), seen.lock().unwrap());
            assert!(number(&row) >= last.0 && row.balance >= last.1, "{row:?} is shown after {last:?}");
            *last = (number(&row), row.balance);
        }
    });
    let tally = switches(cache.clone()).await;
    is_over.store(true, Ordering::Release);
    sql.await.unwrap();
    let added = behind.await.unwrap();
    for reader in readers {
        let read = reader.await.unwrap();
        assert!(read > 100, "{read}");
    }
    tokio::time::timeout(SOON, client.flush()).await.expect("writes end").unwrap();
    for id in 1..=ROWS {
        let stored = db.psql(&format!("SELECT balance FROM account WHERE id = {id}"));
        assert_eq!(stored, added.get(&id).unwrap_or(&0).to_string(), "row {id}");
    }
    let last = db.psql("SELECT name || '|' || balance FROM account WHERE id = 1");
    wait_until(SOON, "who watches is shown the last state", async || {
        let (name, balance) = *shown.lock().unwrap();
        format!("{name}|{balance}") == last
    })
    .await;
    assert!(!watcher.is_finished(), "nothing that was shown went back");
    watcher.abort();
    let status = cache.status();
    assert_eq!(status.violations, 0, "{tally:?}: {status:?}");
    close(client).await;
}
