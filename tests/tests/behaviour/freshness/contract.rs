//! How fresh an answer is to be is said with the question, and what is known of it with the answer.

use cache_sync::{Cache, Client, Freshness, Lookup, Source, Token, Version};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, node, node_with, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::sync::atomic::Ordering;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

async fn look(cache: &Cache<i64, Account>, freshness: Freshness) -> (i64, Source) {
    let Lookup { value, source, .. } = cache.lookup(&1, freshness).await.unwrap();
    (value.expect("the row is there").balance, source)
}

/// What the feed does not tell is seen by who asks for it, and only by them.
#[tokio::test]
async fn is_kept_by_asking_postgres_where_the_feed_is_too_slow() {
    let (db, client, cache) = node_with(1).await;
    assert_eq!(look(&cache, Freshness::Cached).await, (0, Source::Postgres));
    client.mute_feed(true);
    db.psql("UPDATE account SET balance = 1");
    assert_eq!(look(&cache, Freshness::Cached).await, (0, Source::Memory));
    assert_eq!(look(&cache, Freshness::AtMost(LONG)).await, (0, Source::Memory));
    assert_eq!(look(&cache, Freshness::Latest).await, (1, Source::Postgres));
    // What was loaded for one is held for all.
    assert_eq!(look(&cache, Freshness::Cached).await, (1, Source::Memory));

    let version = db.psql("UPDATE account SET balance = 2 RETURNING cs_version").lines().next().unwrap().parse();
    let version = version.map(Version).unwrap();
    assert_eq!(look(&cache, Freshness::Cached).await, (1, Source::Memory));
    assert_eq!(look(&cache, Freshness::AtLeast(version)).await, (2, Source::Postgres));
    assert_eq!(look(&cache, Freshness::AtLeast(version)).await, (2, Source::Memory));
    let never = cache.lookup(&1, Freshness::AtLeast(Version(version.0 + 1))).await.unwrap_err();
    assert!(never.is_unavailable() && never.to_string().contains(&version.to_string()), "{never}");
    db.psql("DELETE FROM account");
    let gone = cache.lookup(&1, Freshness::AtLeast(Version(version.0 + 1))).await.unwrap();
    assert!(gone.value.is_none(), "it is gone, whatever its version was");
    close(client).await;
}

/// A row that is gone has no version, whatever this client is about to write in its place.
#[tokio::test]
async fn is_kept_where_the_row_is_gone_and_made_anew() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).flush_interval(LONG)).await;
    let cache = accounts(&client).await;
    let account = Account { id: 7, name: "new".to_owned(), balance: 0, note: None };
    let _ = cache.put(7, account).await.unwrap();
    let found = cache.lookup(&7, Freshness::AtLeast(Version(1))).await.unwrap();
    assert_eq!(found.value.unwrap().name, "new");
    client.flush().await.unwrap();
    close(client).await;
}

/// Silence makes an answer older, by the moment; who takes less asks Postgres, and who takes more is told how old it is.
#[tokio::test]
async fn is_a_matter_of_age() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(1))).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    proxy.cut_feed().await;
    // It has been confirmed at some time in the last second and a bit.
    let age = Duration::from_millis(1500);
    let held = cache.lookup(&1, Freshness::AtMost(age)).await.unwrap();
    assert!(held.source == Source::Memory && held.age <= age, "{held:?}");
    wait_until(SOON, "it is in doubt", async || cache.cached(&1).is_none()).await;
    let held = cache.lookup(&1, Freshness::AtMost(LONG)).await.unwrap();
    assert!(held.source == Source::Memory && held.age >= Duration::from_secs(1), "{held:?}");
    assert_eq!(held.stale_for, Some(held.age));
    let loaded = cache.lookup(&1, Freshness::AtMost(Duration::from_millis(500))).await.unwrap();
    assert!(loaded.source == Source::Postgres && loaded.stale_for.is_none(), "{loaded:?}");
    assert!(loaded.age < Duration::from_millis(500), "{loaded:?}");
    close(client).await;
}

/// However old an answer may be, it is none that the feed has said to be wrong.
#[tokio::test]
async fn is_never_what_is_known_to_have_changed() {
    let (db, client, cache) = node_with(1).await;
    for change in ["TRUNCATE account", "INSERT INTO account VALUES (1, 'again', 7)", "UPDATE account SET balance = 8"] {
        let _ = cache.get(&1).await.unwrap();
        db.psql(change);
        client.wait_for(&client.token().await.unwrap()).await.unwrap();
        let found = cache.lookup(&1, Freshness::AtMost(LONG)).await.unwrap();
        assert_eq!(found.source, Source::Postgres, "after {change}");
    }
    close(client).await;
}

/// Who wants the latest at the same moment shares a load, and who comes later does not.
#[tokio::test]
async fn is_kept_by_one_load_for_all() {
    let (_db, client, cache) = node_with(1).await;
    cache.get(&1).await.unwrap();
    let before = cache.status().load_statements;
    let latest = (0..1000).map(|_| cache.lookup(&1, Freshness::Latest));
    let all = futures_util::future::join_all(latest).await;
    assert!(all.into_iter().all(|found| found.unwrap().source == Source::Postgres));
    let loads = cache.status().load_statements - before;
    assert!((1..=3).contains(&loads), "{loads} loads");
    cache.lookup(&1, Freshness::Latest).await.unwrap();
    assert_eq!(cache.status().load_statements, before + loads + 1);
    close(client).await;
}

/// A load that is under way may have been sent before what is asked for was committed.
#[tokio::test]
async fn is_not_kept_by_what_was_sent_before() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db))).await;
    let cache = accounts(&client).await;
    client.mute_feed(true);
    proxy.faults.set(|faults| &faults.hold_loads, true);
    proxy.faults.loads_to_hold.store(1, Ordering::Release);
    let early = cache.clone();
    let early = tokio::spawn(async move { early.get(&1).await });
    let is_held = async || proxy.faults.loads_to_hold.load(Ordering::Acquire) == 0;
    wait_until(SOON, "the answer is under way", is_held).await;
    db.psql("UPDATE account SET balance = 1");
    let latest = tokio::time::timeout(SOON, look(&cache, Freshness::Latest)).await.expect("a load of its own");
    assert_eq!(latest, (1, Source::Postgres));
    proxy.faults.set(|faults| &faults.hold_loads, false);
    early.await.unwrap().unwrap();
    assert_eq!(look(&cache, Freshness::Cached).await, (1, Source::Memory));
    close(client).await;
}

/// A cache may serve what is stale while others of the client do not; who asks for more than that gets nothing less.
#[tokio::test]
async fn is_chosen_by_the_cache() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    db.psql("CREATE TABLE plain (id bigint PRIMARY KEY, balance bigint NOT NULL); SELECT cache_sync.attach('plain')");
    db.psql("INSERT INTO plain VALUES (1, 5)");
    let client = open(Client::builder(&db.dsn()).feed_timeout(Duration::from_secs(1))).await;
    let strict = accounts(&client).await;
    let lenient = client.cache("plain").stale_while_unavailable(LONG).stale_after(Duration::from_millis(100));
    let lenient: Cache<i64, Balance> = lenient.open().await.unwrap();
    strict.get(&1).await.unwrap();
    lenient.get(&1).await.unwrap();
    let plain = lenient.lookup(&1, Freshness::AtLeast(Version(1))).await.unwrap_err();
    assert!(plain.is_rule_violation(), "{plain}");
    cluster.stop("fast").unwrap();
    wait_until(SOON, "the feed is silent", async || !client.status().feed_live).await;
    assert!(strict.get(&1).await.unwrap_err().is_unavailable());
    assert_eq!(lenient.get(&1).await.unwrap().unwrap().balance, 5);
    assert!(lenient.lookup(&1, Freshness::Cached).await.unwrap().stale_for.is_some());
    assert!(lenient.lookup(&1, Freshness::Latest).await.unwrap_err().is_unavailable());
    assert!(lenient.lookup(&1, Freshness::AtMost(Duration::from_millis(1))).await.unwrap_err().is_unavailable());
    close(client).await;
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Balance {
    balance: i64,
}

/// What one node has seen, another one waits for, however late it hears.
#[tokio::test]
async fn is_handed_on_by_tokens() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let (here, cache) = node(&db).await;
    let proxy = Proxy::start(db.cluster().port()).await;
    let there = open(Client::builder(&proxy.dsn(&db))).await;
    let others = accounts(&there).await;
    for late in [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(300)] {
        others.get(&1).await.unwrap();
        proxy.faults.feed_late_millis.store(late.as_millis() as u64, Ordering::Release);
        let written = cache.update(&1, |row| row.balance += 1).await.unwrap().written().await.unwrap();
        let token: Token = here.token().await.unwrap().to_string().parse().unwrap();
        there.wait_for(&token).await.unwrap();
        let held = others.lookup(&1, Freshness::Cached).await.unwrap();
        assert!(held.version >= written.version, "{late:?}: {held:?}");
    }
    // What somebody has made up, or kept from before another server, is no trap.
    for token in ["0-0", "1-ffffffffffffffff"] {
        there.wait_for(&token.parse().unwrap()).await.unwrap();
    }
    let ahead = here.token().await.unwrap().to_string();
    let (epoch, _) = ahead.split_once('-').unwrap();
    let made_up: Token = format!("{epoch}-ffffffffffffffff").parse().unwrap();
    tokio::time::timeout(SOON, there.wait_for(&made_up)).await.expect("it ends").unwrap();
    for no_token in ["", "-", "1", "g-1", "1-2-3", "+1-1", "1ffffffffffffffff-1"] {
        assert!(no_token.parse::<Token>().is_err(), "{no_token}");
    }
    close(here).await;
    close(there).await;
}
