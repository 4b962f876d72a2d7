//! Rows that others change: what is served until they are loaded again, and who loads them.

use cache_sync::{Cache, CacheBuilder, Client, Freshness, Patch, Source};
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::rows::{Account, client, close, make_accounts};
use cache_sync_tests::{Database, SOON, wait_until};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const HOUR: Duration = Duration::from_secs(3600);
/// Who waits for a lock has not come back after this.
const A_MOMENT: Duration = Duration::from_millis(100);

type Builder = CacheBuilder<i64, Account>;

async fn node(db: &Database<'_>, set: impl FnOnce(Builder) -> Builder) -> (Client, Cache<i64, Account>) {
    let client = client(db).await;
    let cache = set(client.cache("account")).open().await.unwrap();
    (client, cache)
}

async fn name(read: impl Future<Output = Result<Option<std::sync::Arc<Account>>, cache_sync::Error>>) -> String {
    timeout(SOON, read).await.expect("nobody waits").unwrap().unwrap().name.clone()
}

/// A table that nobody can read, once row 1 has changed and that has been heard.
async fn changed_and_locked(db: &Database<'_>, cache: &Cache<i64, Account>) -> tokio_postgres::Client {
    let lock = db.connect().await;
    cache.get(&1).await.unwrap();
    db.psql("UPDATE account SET name = 'new' WHERE id = 1");
    wait_until(SOON, "it is heard", async || cache.cached(&1).is_none()).await;
    lock.batch_execute("BEGIN; LOCK TABLE account").await.unwrap();
    lock
}

/// Who reads what has changed once waited for its load, however often it changed.
#[tokio::test]
async fn who_takes_what_was_before_does_not_wait_and_all_others_do() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let (client, cache) = node(&db, |builder| builder.stale_while_refreshing(HOUR)).await;
    let lock = changed_and_locked(&db, &cache).await;
    assert_eq!(name(cache.get(&1)).await, "name 1");
    let before = cache.lookup(&1, Freshness::Cached).await.unwrap();
    assert_eq!((before.source, before.stale_for.is_some()), (Source::Memory, true));
    until_waiting(&db, 1).await;
    // One's own write shows in it.
    let receipt = cache.patch(&1, Patch::new().add("balance", 5)).await.unwrap();
    let read = timeout(SOON, cache.get(&1)).await.expect("nobody waits").unwrap().unwrap();
    assert_eq!((read.name.as_str(), read.balance), ("name 1", 5));
    for freshness in [Freshness::AtMost(HOUR), Freshness::Latest] {
        assert!(timeout(A_MOMENT, cache.lookup(&1, freshness)).await.is_err(), "{freshness:?}");
    }
    let mut watch = cache.watch(&1);
    assert!(timeout(A_MOMENT, watch.next()).await.is_err(), "who watches is shown what is, or that nothing is known");
    lock.batch_execute("COMMIT").await.unwrap();
    assert_eq!(timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap().value.unwrap().name, "new");
    receipt.written().await.unwrap();
    wait_until(SOON, "it is loaded", async || name(cache.get(&1)).await == "new").await;
    let status = cache.status();
    assert!(status.replaced_served >= 3 && status.stale_served == 0, "{status:?}");
    close(client).await;
}

#[tokio::test]
async fn it_is_served_no_longer_than_is_allowed() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let (client, cache) = node(&db, |builder| builder.stale_while_refreshing(Duration::from_millis(400))).await;
    let lock = changed_and_locked(&db, &cache).await;
    let changed = Instant::now();
    while let Ok(read) = timeout(A_MOMENT, cache.lookup(&1, Freshness::Cached)).await {
        let read = read.unwrap();
        assert_eq!(read.value.unwrap().name, "name 1");
        assert!(read.stale_for.unwrap() < Duration::from_millis(3400), "the feed's bound and this one");
        assert!(changed.elapsed() < Duration::from_secs(3), "it was heard before");
        tokio::task::yield_now().await;
    }
    lock.batch_execute("COMMIT").await.unwrap();
    assert_eq!(name(cache.get(&1)).await, "new");
    close(client).await;
}

/// Old values were once written again by who thought that they were new, or taken for what he wanted already.
#[tokio::test]
async fn who_changes_a_row_changes_what_it_is() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    db.psql("UPDATE account SET note = 'open'");
    let (client, cache) = node(&db, |builder| builder.stale_while_refreshing(HOUR)).await;
    cache.get(&1).await.unwrap();
    db.psql("UPDATE account SET note = 'closed', name = 'new'");
    wait_until(SOON, "it is heard", async || cache.cached(&1).is_none()).await;
    let receipt = cache.update(&1, |row| row.note = Some("open".to_owned())).await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(cache_sync::Verdict::Applied));
    assert_eq!(db.psql("SELECT name, note FROM account"), "new|open");
    close(client).await;
}

/// Whoever has waited for a change sees it.
#[tokio::test]
async fn nobody_is_shown_it_who_has_caught_up() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let (client, cache) = node(&db, |builder| builder.stale_while_refreshing(HOUR)).await;
    let (there, _) = node(&db, |builder| builder).await;
    for round in 1..=10 {
        cache.get(&1).await.unwrap();
        db.psql(&format!("UPDATE account SET name = 'round {round}'"));
        match round % 2 {
            0 => client.catch_up().await.unwrap(),
            _ => client.wait_for(&there.token().await.unwrap()).await.unwrap(),
        }
        assert_eq!(name(cache.get(&1)).await, format!("round {round}"));
    }
    close(there).await;
    close(client).await;
}

/// Nobody asks for it.
#[tokio::test]
async fn what_is_read_is_loaded_again_as_it_changes() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let (client, cache) = node(&db, |builder| builder.refresh_on_change(true)).await;
    cache.get_many(&[1, 2]).await.unwrap();
    cache.get(&1).await.unwrap();
    for round in 1..=20 {
        db.psql(&format!("UPDATE account SET name = 'round {round}'"));
        let is_here = || cache.cached(&1).flatten().is_some_and(|row| row.name == format!("round {round}"));
        wait_until(SOON, "it is loaded", async || is_here()).await;
    }
    assert!(cache.cached(&2).is_none(), "nobody has read it again");
    let status = cache.status();
    assert_eq!(status.misses, 2, "{status:?}");
    assert!((23..=29).contains(&status.loaded_keys), "seven times at most what nobody reads: {status:?}");
    close(client).await;
}

/// What is changed while it is being loaded again is loaded once more: else its next reader would wait after all.
#[tokio::test]
async fn a_load_that_was_overtaken_is_followed_by_another_one() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let (client, cache) = node(&db, |builder| builder.refresh_on_change(true)).await;
    for _ in 0..2 {
        cache.get(&1).await.unwrap();
    }
    let writer = db.connect().await;
    for round in 1..=50 {
        for name in ["first", "second", "third"] {
            writer.batch_execute(&format!("UPDATE account SET name = '{name} of {round}'")).await.unwrap();
        }
        let is_here = || cache.cached(&1).flatten().is_some_and(|row| row.name == format!("third of {round}"));
        wait_until(SOON, "the last one is loaded", async || is_here()).await;
    }
    assert_eq!(cache.status().misses, 1, "and nobody has asked for it");
    close(client).await;
}

/// A row of a few bytes may be a big thing in memory, which only its user knows.
#[tokio::test]
async fn entries_weigh_what_their_user_says() {
    let db = Database::with_extension();
    make_accounts(&db, 100);
    let keys: Vec<i64> = (1..=100).collect();
    let held = async |weigh: fn(&i64, &Account) -> u64| {
        let (client, cache) = node(&db, |builder| builder.bytes_max(10 << 20).weigher(weigh)).await;
        cache.get_many(&keys).await.unwrap();
        let entries = cache.status().entries;
        close(client).await;
        entries
    };
    assert_eq!(held(|_, _| 0).await, 100);
    let of_a_mebibyte = held(|_, _| 1 << 20).await;
    assert!((5..=10).contains(&of_a_mebibyte), "{of_a_mebibyte}");
    assert_eq!(held(|_, _| u64::MAX).await, 0, "what is larger than all is not held");
    assert_eq!(held(|id, _| panic!("row {id} cannot be weighed")).await, 100);
}
