//! A cache that is brought into a service that reads Postgres by itself: switched off, looked at, for some of the rows, for all.

use cache_sync::{Cache, CacheBuilder, Client, Durability, Freshness, Mode, Patch, Source};
use cache_sync_tests::document::{blocks_in, read};
use cache_sync_tests::rows::{Account, assert_served, client, close, make_accounts, node, stored};
use cache_sync_tests::{Database, SOON, wait_until};
use std::collections::BTreeSet;
use std::time::Duration;

const ROWS: i64 = 200;
/// Those that are looked at one by one, which takes a connection each.
const SOME: [i64; 5] = [1, 2, 3, 100, 200];
const HOUR: Duration = Duration::from_secs(3600);

type Builder = CacheBuilder<i64, Account>;

async fn node_in(db: &Database<'_>, set: impl FnOnce(Builder) -> Builder) -> (Client, Cache<i64, Account>) {
    let client = client(db).await;
    let cache = set(client.cache("account")).open().await.unwrap();
    (client, cache)
}

fn database() -> Database<'static> {
    let db = Database::with_extension();
    make_accounts(&db, ROWS);
    db
}

async fn balance(cache: &Cache<i64, Account>, id: i64) -> i64 {
    cache.get(&id).await.unwrap().unwrap().balance
}

fn keys() -> Vec<i64> {
    (1..=ROWS).collect()
}

#[tokio::test]
async fn off_asks_for_each_read_and_holds_nothing() {
    let db = database();
    let (client, cache) = node_in(&db, |builder| builder.mode(Mode::Off).stale_while_unavailable(HOUR)).await;
    // What is read so, is read although no change is heard.
    client.mute_feed(true);
    for round in 1..=10 {
        db.psql(&format!("UPDATE account SET balance = {round}"));
        assert_eq!(balance(&cache, 1).await, round);
        assert!(cache.cached(&1).is_none() && cache.entries().is_empty());
        assert_served(&cache, &db, &SOME, "while it is off").await;
        let read = cache.lookup(&2, Freshness::AtMost(HOUR)).await.unwrap();
        assert_eq!((read.source, read.value.unwrap().balance), (Source::Postgres, round));
    }
    let status = cache.status();
    assert_eq!((status.mode, status.entries, status.hits), (Mode::Off, 0, 0), "{status:?}");
    assert_eq!(status.verified_equal + status.verified_behind + status.unverified + status.violations, 0);
    close(client).await;
}

/// As with SQL: who has written, has written it; and nobody's change is lost to somebody else's of the same process.
#[tokio::test]
async fn writes_of_what_is_not_served_are_committed_when_they_return() {
    let db = database();
    for mode in [Mode::Off, Mode::Shadow, Mode::Canary(0.0)] {
        let (client, cache) = node_in(&db, |builder| builder.mode(mode).flush_interval(HOUR)).await;
        db.psql("UPDATE account SET name = 'name', balance = 0, note = NULL");
        let _ = cache.patch(&1, Patch::new().add("balance", 5)).await.unwrap();
        assert_eq!(stored(&db, 1), "1|name|5|", "{mode:?}");
        let changes = (0..20).map(|_| cache.update(&2, |row| row.name.push('x')));
        for receipt in futures_util::future::join_all(changes).await {
            let _ = receipt.unwrap();
        }
        assert_eq!(stored(&db, 2), format!("2|name{}|0|", "x".repeat(20)), "{mode:?}");
        let _ = cache.put(3, Account { id: 3, name: "put".into(), balance: 0, note: None }).await.unwrap();
        let _ = cache.delete(&4).await.unwrap();
        assert_eq!(stored(&db, 3), "3|put|0|");
        assert_eq!(stored(&db, 4), "");
        assert!(cache.get(&4).await.unwrap().is_none());
        let modify = |row: &mut Account| {
            row.note = Some("modified".into());
            Ok::<_, cache_sync::Error>(())
        };
        cache.modify(&3, modify).await.unwrap();
        assert_eq!(stored(&db, 3), "3|put|0|modified");
        db.psql("DELETE FROM account WHERE id = 3; INSERT INTO account VALUES (4, 'name')");
        close(client).await;
    }
}

#[tokio::test]
async fn shadow_answers_as_postgres_does_and_fills_the_cache() {
    let db = database();
    let (client, cache) = node_in(&db, |builder| builder.mode(Mode::Shadow)).await;
    cache.get_many(&keys()).await.unwrap();
    let filled = cache.status();
    assert_eq!((filled.entries, filled.verified_equal, filled.hits), (ROWS as u64, 0, 0), "{filled:?}");
    assert!(cache.cached(&1).is_none(), "nothing is served");
    assert_served(&cache, &db, &SOME, "in the shadow").await;
    assert_eq!(cache.status().verified_equal, SOME.len() as u64);
    let read = cache.lookup(&1, Freshness::Cached).await.unwrap();
    assert_eq!((read.source, read.stale_for), (Source::Postgres, None));
    db.psql("UPDATE account SET balance = 1");
    assert_served(&cache, &db, &SOME, "after a change").await;
    client.catch_up().await.unwrap();
    cache.get_many(&keys()).await.unwrap();
    assert_served(&cache, &db, &SOME, "once it was heard").await;
    let status = cache.status();
    assert_eq!((status.violations, status.hits, status.mode), (0, 0, Mode::Shadow), "{status:?}");
    // What it holds is there when it is to be served.
    cache.set_mode(Mode::On).unwrap();
    let held = cache.entries().len();
    assert!(held >= ROWS as usize - SOME.len(), "all but those that were shown otherwise meanwhile: {held}");
    cache.get_many(&keys()).await.unwrap();
    assert_eq!(cache.status().hits, held as u64);
    assert_served(&cache, &db, &SOME, "once it is on").await;
    close(client).await;
}

/// The keys that are served from memory, of those that all are held.
fn served(cache: &Cache<i64, Account>) -> BTreeSet<i64> {
    keys().into_iter().filter(|key| cache.cached(key).is_some()).collect()
}

#[tokio::test]
async fn canaries_are_the_same_on_each_node_and_stay_so_as_their_share_grows() {
    let db = database();
    let (one, here) = node_in(&db, |builder| builder.mode(Mode::Canary(0.3))).await;
    let (other, there) = node_in(&db, |builder| builder.mode(Mode::Canary(0.3))).await;
    here.get_many(&keys()).await.unwrap();
    there.get_many(&keys()).await.unwrap();
    let some = served(&here);
    assert_eq!(some, served(&there));
    assert!((30..=90).contains(&some.len()), "{}", some.len());
    let listed: BTreeSet<_> = here.entries().into_iter().map(|(key, _)| key).collect();
    assert_eq!(listed, some);
    // They are served, and no others.
    let before = here.status();
    here.get_many(&keys()).await.unwrap();
    let after = here.status();
    assert_eq!(after.hits - before.hits, some.len() as u64);
    assert_eq!(after.verified_equal - before.verified_equal, ROWS as u64 - some.len() as u64);
    one.mute_feed(true);
    db.psql("UPDATE account SET balance = 7");
    for key in keys() {
        assert_eq!(balance(&here, key).await, if some.contains(&key) { 0 } else { 7 }, "{key}");
    }
    let mut before = some;
    for share in [0.31, 0.6, 0.99, 1.0] {
        there.set_mode(Mode::Canary(share)).unwrap();
        there.get_many(&keys()).await.unwrap();
        let more = served(&there);
        assert!(more.is_superset(&before), "{share}");
        before = more;
    }
    assert_eq!(before.len(), ROWS as usize);
    there.set_mode(Mode::Canary(0.0)).unwrap();
    assert!(served(&there).is_empty());
    close(one).await;
    close(other).await;
}

/// A write that was buffered is not overtaken by one that is not, nor lost.
#[tokio::test]
async fn what_is_buffered_when_the_mode_changes_is_written_in_its_order() {
    let db = database();
    let (client, cache) = node_in(&db, |builder| builder.flush_interval(HOUR)).await;
    let mut expected = 0;
    for mode in [Mode::Off, Mode::Shadow, Mode::Canary(0.5), Mode::On, Mode::Off] {
        cache.set_mode(Mode::On).unwrap();
        let mut receipts = Vec::new();
        for key in keys() {
            receipts.push(cache.patch(&key, Patch::new().set("name", "first").add("balance", 1)).await.unwrap());
        }
        cache.set_mode(mode).unwrap();
        assert_eq!(cache.mode(), mode);
        for key in keys() {
            assert_eq!(balance(&cache, key).await, expected + 1, "{mode:?}: what was written shows");
        }
        for key in keys() {
            receipts.push(cache.patch(&key, Patch::new().set("name", "second").add("balance", 1)).await.unwrap());
        }
        client.flush().await.unwrap();
        for receipt in receipts {
            assert!(receipt.written().await.unwrap().is_written());
        }
        expected += 2;
        assert_eq!(db.psql("SELECT DISTINCT name, balance FROM account"), format!("second|{expected}"), "{mode:?}");
    }
    close(client).await;
}

#[tokio::test]
async fn who_watches_is_shown_what_happens_in_each_mode() {
    let db = database();
    let (client, cache) = node_in(&db, |builder| builder.mode(Mode::Off)).await;
    let mut watch = cache.watch(&1);
    let mut shown = -1;
    for (round, mode) in [Mode::Off, Mode::Shadow, Mode::On, Mode::Canary(0.5), Mode::Shadow].into_iter().enumerate() {
        cache.set_mode(mode).unwrap();
        db.psql(&format!("UPDATE account SET balance = {round} WHERE id = 1"));
        while shown != round as i64 {
            let item = tokio::time::timeout(SOON, watch.next()).await.expect("it is shown").unwrap().unwrap();
            let next = item.value.unwrap().balance;
            assert!(next >= shown, "{mode:?}: it goes back");
            shown = next;
        }
    }
    close(client).await;
}

/// What the guide has people type works as it stands there, and its table takes the guide's cache through all steps.
#[tokio::test]
async fn the_guide_goes_from_one_to_the_next() {
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Profile {
        name: String,
        visits: i64,
    }
    let db = Database::with_extension();
    let blocks = blocks_in(&read("docs/guide/rollout.md"), "sql");
    assert_eq!(blocks.len(), 1);
    db.psql(&blocks[0]);
    let client = client(&db).await;
    let open = client.cache::<i64, Profile>("profile").mode(Mode::Off).verify(0.001).retreat_after(1).open();
    let profiles = open.await.unwrap();
    let ann = Profile { name: "Ann".into(), visits: 1 };
    let _ = profiles.put(1, ann.clone()).await.unwrap();
    for mode in [Mode::Off, Mode::Shadow, Mode::Canary(0.01), Mode::Canary(0.5), Mode::On, Mode::Shadow, Mode::Off] {
        profiles.set_mode(mode).unwrap();
        assert_eq!(profiles.get(&1).await.unwrap().as_deref(), Some(&ann), "{mode:?}");
    }
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.check_tables()"), "0");
    db.psql("SELECT cache_sync.detach('profile')");
    close(client).await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let db = database();
    let (client, cache) = node(&db).await;
    assert_eq!(cache.mode(), Mode::On);
    for share in [-0.5, 1.5, f64::NAN] {
        let refused = cache.set_mode(Mode::Canary(share)).unwrap_err().to_string();
        assert!(refused.contains("must be from 0 to 1"), "{refused}");
    }
    assert_eq!(cache.mode(), Mode::On);
    drop(cache);
    let open = async |set: fn(Builder) -> Builder| set(client.cache("account")).open().await.unwrap_err().to_string();
    for (refused, expected) in [
        (
            open(|builder| builder.mode(Mode::Canary(2.0))).await,
            "the share of Mode::Canary is 2; it must be from 0 to 1",
        ),
        (open(|builder| builder.verify(1.5)).await, "verify is 1.5; it must be a share from 0 to 1"),
        (open(|builder| builder.verify(f64::NAN)).await, "verify is NaN"),
        (open(|builder| builder.retreat_after(0)).await, "retreat_after is 0; it must be 1 at least"),
        (open(|builder| builder.retreat_after(1)).await, "retreat_after needs verify where the mode is On"),
    ] {
        assert!(refused.contains(expected), "{refused}");
    }
    close(client).await;
}

/// He looks while the cache is on, and another one is quicker when it is off already: what he has made of the older row must not be written over that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_changes_a_row_while_the_mode_changes_loses_nothing() {
    for room in [10, 0] {
        let db = database();
        let (client, cache) = node_in(&db, |builder| builder.max_capacity(room)).await;
        cache.get(&1).await.unwrap();
        let mut looks = 0;
        let append = |row: &mut Account, what: &str| row.name.push_str(what);
        let written = cache.update(&1, |row| {
            looks += 1;
            if looks == 1 && room > 0 {
                cache.set_mode(Mode::Off).unwrap();
                let other = async { cache.update(&1, |row| append(row, " b")).await.unwrap().written().await.unwrap() };
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(other));
            }
            append(row, " a");
        });
        assert!(written.await.unwrap().written().await.unwrap().is_written());
        let (expected, times) = if room > 0 { ("name 1 b a", 2) } else { ("name 1 a", 1) };
        assert_eq!((db.psql("SELECT name FROM account WHERE id = 1").as_str(), looks), (expected, times));
        close(client).await;
    }
}

/// A change that leaves the row as it was has a version all the same.
#[tokio::test]
async fn versions_do_not_go_back_when_it_is_switched_on() {
    let db = database();
    let (client, cache) = node_in(&db, |builder| builder.mode(Mode::Shadow)).await;
    let held = cache.lookup(&1, Freshness::Cached).await.unwrap().version;
    client.mute_feed(true);
    db.psql("UPDATE account SET name = name WHERE id = 1");
    let shown = cache.lookup(&1, Freshness::Cached).await.unwrap().version;
    assert!(shown > held && cache.status().verified_equal == 1, "{shown} after {held}: {:?}", cache.status());
    cache.set_mode(Mode::On).unwrap();
    assert_eq!(cache.lookup(&1, Freshness::Cached).await.unwrap().version, shown);
    client.mute_feed(false);
    close(client).await;
}

/// Who reads a version that somebody has written is not shown an older one, in whatever mode.
#[tokio::test]
async fn a_version_that_is_asked_for_is_there_or_is_missed() {
    let db = database();
    let (client, cache) = node_in(&db, |builder| builder.durability(Durability::Database)).await;
    let written = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap().written().await.unwrap().version;
    for mode in [Mode::Off, Mode::Shadow, Mode::On] {
        cache.set_mode(mode).unwrap();
        for _ in 0..2 {
            let read = cache.lookup(&1, Freshness::AtLeast(written)).await.unwrap();
            assert!(read.version >= written, "{mode:?}");
            let later = cache_sync::Version(written.0 + 1);
            let refused = cache.lookup(&1, Freshness::AtLeast(later)).await.unwrap_err();
            assert!(refused.is_unavailable(), "{mode:?}: {refused}");
        }
    }
    wait_until(SOON, "all is quiet", async || client.status().buffered == 0).await;
    close(client).await;
}
