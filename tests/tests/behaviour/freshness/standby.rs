//! Rows are loaded from a hot standby, which may be behind, away, or of another history than the feed's server.

use cache_sync::{Client, ClientBuilder, Freshness, Mode, Patch, Version};
use cache_sync_cluster::Cluster;
use cache_sync_kit::Dice;
use cache_sync_tests::rows::{Account, accounts, assert_held, close, make_accounts, open, shown, stored};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const ROWS: i64 = 200;

fn primary() -> Cluster {
    start(unsynced())
}

fn of(db: &Database<'_>, standby: &Cluster) -> ClientBuilder {
    Client::builder(&db.dsn()).standby(&standby.dsn(db.name()))
}

/// Waits until the standby has replayed what the primary has written.
async fn catch_up(db: &Database<'_>, standby: &Cluster) {
    let lsn = db.psql("SELECT pg_current_wal_insert_lsn()");
    let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
    wait_until(SOON, "the standby has replayed everything", async || {
        standby.psql(db.name(), &reached).is_ok_and(|answer| answer == "t")
    })
    .await;
}

/// Holds the standby up where it is.
async fn pause(standby: &Cluster) {
    standby.psql("postgres", "SELECT pg_wal_replay_pause()").unwrap();
    wait_until(SOON, "replay is paused", async || {
        standby.psql("postgres", "SELECT pg_get_wal_replay_pause_state()").unwrap() == "paused"
    })
    .await;
}

/// A primary's standby, and a database with accounts that both have.
async fn with_accounts(primary: &Cluster) -> (Database<'_>, Cluster) {
    let db = Database::with_extension_in(primary);
    make_accounts(&db, ROWS);
    let standby = primary.standby(&[]).unwrap();
    catch_up(&db, &standby).await;
    (db, standby)
}

#[tokio::test]
async fn it_counts_only_if_it_has_replayed_all_that_was_heard() {
    let primary = primary();
    let (db, standby) = with_accounts(&primary).await;
    let client = open(of(&db, &standby)).await;
    let cache = accounts(&client).await;
    let loads = || (client.status().standby_loads, client.status().standby_passed_over);
    catch_up(&db, &standby).await;
    assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
    assert_eq!(loads(), (1, 0), "it is up to date");
    assert!(cache.cached(&1).is_some(), "what it brings is held");
    db.psql("UPDATE account SET note = 'changed' WHERE id = 1");
    catch_up(&db, &standby).await;
    client.catch_up().await.unwrap();
    assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
    assert_eq!(loads(), (2, 0));

    pause(&standby).await;
    assert_eq!(shown(cache.get(&2).await.unwrap().as_deref()), stored(&db, 2));
    assert_eq!(loads(), (3, 0), "nothing was heard that it has not replayed");
    db.psql("UPDATE account SET note = 'not replayed' WHERE id = 3");
    client.catch_up().await.unwrap();
    for id in [3, 4] {
        assert_eq!(shown(cache.get(&id).await.unwrap().as_deref()), stored(&db, id));
        assert!(cache.cached(&id).is_some());
    }
    assert_eq!(loads(), (3, 2), "it is behind");

    standby.psql("postgres", "SELECT pg_wal_replay_resume()").unwrap();
    catch_up(&db, &standby).await;
    assert_eq!(shown(cache.get(&5).await.unwrap().as_deref()), stored(&db, 5));
    assert_eq!(loads(), (4, 2));
    standby.stop("immediate").unwrap();
    assert_eq!(shown(cache.get(&6).await.unwrap().as_deref()), stored(&db, 6), "it is away");
    assert_eq!(loads(), (4, 3));
    standby.launch().unwrap();
    catch_up(&db, &standby).await;
    let mut id = 6;
    wait_until(SOON, "it is asked again", async || {
        id += 1;
        cache.get(&id).await.unwrap();
        loads().0 == 5
    })
    .await;
    close(client).await;
}

/// Another table has the name by now, and the standby has replayed that before it was heard: its rows are not the cache's.
#[tokio::test]
async fn rows_of_another_table_of_the_name_do_not_count() {
    let primary = primary();
    let (db, standby) = with_accounts(&primary).await;
    db.psql("CREATE TABLE other (LIKE account INCLUDING ALL); INSERT INTO other SELECT id, 'of the other', 0, 0 FROM account");
    let client = open(of(&db, &standby).feed_timeout(Duration::from_secs(600))).await;
    let cache = accounts(&client).await;
    catch_up(&db, &standby).await;
    cache.get(&50).await.unwrap();
    assert_eq!(client.status().standby_loads, 1, "it is asked");
    client.mute_feed(true);
    db.psql("BEGIN; ALTER TABLE account RENAME TO before; ALTER TABLE other RENAME TO account; COMMIT");
    catch_up(&db, &standby).await;
    let error = cache.get(&2).await.expect_err("a row of another table");
    assert!(error.to_string().contains("open it again"), "{error}");
    client.mute_feed(false);
    close(client).await;
}

/// One's own batch is done, and neither heard of nor replayed.
#[tokio::test]
async fn own_writes_are_read_though_it_is_behind() {
    let primary = primary();
    let (db, standby) = with_accounts(&primary).await;
    let client = open(of(&db, &standby).feed_timeout(Duration::from_secs(600))).await;
    let cache = accounts(&client).await;
    catch_up(&db, &standby).await;
    cache.get(&50).await.unwrap();
    assert_eq!(client.status().standby_loads, 1, "it is asked");
    // The feed tells nobody anything, so that only the number of the batch is left to tell.
    client.mute_feed(true);
    pause(&standby).await;
    for id in 1..=20 {
        let receipt = cache.patch(&id, Patch::new().add("balance", id)).await.unwrap();
        receipt.written().await.unwrap();
        assert_eq!(cache.get(&id).await.unwrap().unwrap().balance, id);
    }
    assert_eq!((client.status().standby_loads, client.status().standby_passed_over), (1, 20));
    close(client).await;
}

/// In the shadow readers were shown a change that the feed had not told; what was held was let go for that, and loaded from a standby without it.
#[tokio::test]
async fn what_was_shown_in_the_shadow_does_not_go_back() {
    // What differs is looked into when the feed has come on: not within this test.
    let primary = start(unsynced().setting("cache_sync.heartbeat_interval", "60s"));
    let (db, standby) = with_accounts(&primary).await;
    let client = open(of(&db, &standby).feed_timeout(Duration::from_secs(600))).await;
    let cache = client.cache::<i64, Account>("account").mode(Mode::Shadow).open().await.unwrap();
    catch_up(&db, &standby).await;
    cache.lookup(&1, Freshness::Latest).await.unwrap();
    client.mute_feed(true);
    pause(&standby).await;
    db.psql("UPDATE account SET balance = 7 WHERE id = 1");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 7);
    cache.set_mode(Mode::On).unwrap();
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 7, "it was shown before");
    let others = client.status().standby_loads;
    cache.get(&2).await.unwrap();
    assert_eq!(client.status().standby_loads, others + 1, "of other rows nobody was shown more than it has");
    client.mute_feed(false);
    close(client).await;
}

/// A standby of a server that is no longer the one that the feed speaks to: its log may be ahead and yet another one.
#[tokio::test]
async fn another_history_does_not_count() {
    let primary = primary();
    let db = Database::with_extension_in(&primary);
    make_accounts(&db, ROWS);
    let (former, promoted) = (primary.standby(&[]).unwrap(), primary.standby(&[]).unwrap());
    for standby in [&former, &promoted] {
        catch_up(&db, standby).await;
    }
    promoted.psql("postgres", "SELECT pg_promote()").unwrap();
    let dsn = promoted.dsn(db.name());
    // What the old primary still takes reaches the standby that follows it, and makes its log the longer one.
    db.psql("UPDATE account SET note = 'of the old primary'; UPDATE account SET name = 'x'");
    catch_up(&db, &former).await;
    let ahead = former.psql("postgres", "SELECT pg_last_wal_replay_lsn()").unwrap();
    let is_longer = format!("SELECT '{ahead}' > pg_current_wal_insert_lsn()");
    assert_eq!(promoted.psql("postgres", &is_longer).unwrap(), "t");
    let client = open(Client::builder(&dsn).standby(&former.dsn(db.name()))).await;
    let cache = accounts(&client).await;
    for id in 1..=5 {
        assert_eq!(cache.get(&id).await.unwrap().unwrap().note, None);
    }
    // And a primary is no standby.
    let other = open(Client::builder(&dsn).standby(&dsn)).await;
    assert_eq!(accounts(&other).await.get(&1).await.unwrap().unwrap().note, None);
    for client in [client, other] {
        assert_eq!(client.status().standby_loads, 0);
        close(client).await;
    }
    assert!(Client::builder(&dsn).standby("no DSN").connect().await.is_err());
}

/// The same server's standby, but another database, with a table of the same name under the same number.
#[tokio::test]
async fn another_database_does_not_count() {
    let primary = primary();
    let (db, other) = (Database::with_extension_in(&primary), Database::with_extension_in(&primary));
    for db in [&db, &other] {
        make_accounts(db, ROWS);
    }
    other.psql("UPDATE account SET note = 'of another database'");
    let standby = primary.standby(&[]).unwrap();
    catch_up(&db, &standby).await;
    let client = open(Client::builder(&db.dsn()).standby(&standby.dsn(other.name()))).await;
    let cache = accounts(&client).await;
    assert_eq!(cache.get(&1).await.unwrap().unwrap().note, None);
    assert_eq!((client.status().standby_loads, client.status().standby_passed_over), (0, 1));
    close(client).await;
}

/// What the primary has shown of a row, or somebody says has changed, is not taken back by a standby that is behind, though the
/// feed has yet to tell of it.
#[tokio::test]
async fn what_was_seen_is_not_taken_back() {
    let primary = primary();
    let (db, standby) = with_accounts(&primary).await;
    let client = open(of(&db, &standby).feed_timeout(Duration::from_secs(600))).await;
    // So small that entries go at once.
    let cache: cache_sync::Cache<i64, cache_sync_tests::rows::Account> =
        client.cache("account").max_capacity(1).open().await.unwrap();
    catch_up(&db, &standby).await;
    cache.get(&1).await.unwrap();
    assert_eq!(client.status().standby_loads, 1, "it is asked");
    client.mute_feed(true);
    pause(&standby).await;
    db.psql("UPDATE account SET note = 'new'");
    cache.invalidate(&2);
    assert_eq!(cache.get(&2).await.unwrap().unwrap().note.as_deref(), Some("new"), "the primary is asked");
    for _ in 0..20 {
        assert_eq!(cache.get(&2).await.unwrap().unwrap().note.as_deref(), Some("new"));
        cache.get(&3).await.unwrap();
    }
    close(client).await;
}

/// There is no feed on a standby, so nothing is kept in step with what it replays.
#[tokio::test]
async fn a_standby_is_no_primary() {
    let primary = primary();
    let db = Database::with_extension_in(&primary);
    make_accounts(&db, ROWS);
    let preloaded = primary.standby(&[]).unwrap();
    let bare = primary.standby(&[("shared_preload_libraries", "")]).unwrap();
    for standby in [&preloaded, &bare] {
        catch_up(&db, standby).await;
        let error = Client::connect(&standby.dsn(db.name())).await.err().unwrap();
        assert!(error.is_retryable() && error.to_string().contains("connect to the primary"), "{error}");
        for sql in [
            "CALL cache_sync.stream()",
            "SELECT cache_sync.changes()",
            "SELECT cache_sync.feed_head()",
            "SELECT cache_sync.listen_state(NULL)",
        ] {
            let refused = standby.psql(db.name(), sql).unwrap_err().to_string();
            assert!(refused.contains("CS008"), "{sql}: {refused}");
        }
    }
}

/// Writers write, the standby is held up and let go, and a node reads: never anything older than what was committed before
/// `catch_up`, and in the end every entry is its row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nothing_old_is_held() {
    const LASTING: Duration = Duration::from_secs(4);
    let primary = primary();
    let (db, standby) = with_accounts(&primary).await;
    let client = open(of(&db, &standby)).await;
    let cache = accounts(&client).await;
    let end = Instant::now() + LASTING;
    // How often the reader has looked: the others keep step with it, and end with it.
    let (looked, looks) = watch::channel(0_u64);
    let (writer, disturber) = (write(&db, looks.clone()), disturb(&standby, looks));
    let reader = async {
        let (connection, mut dice) = (db.connect().await, Dice::new(8));
        while Instant::now() < end {
            let id = dice.below(ROWS as u64) as i64 + 1;
            let row = connection.query_one("SELECT balance FROM account WHERE id = $1", &[&id]).await.unwrap();
            client.catch_up().await.unwrap();
            if dice.below(10) == 0 {
                let receipt = cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap();
                receipt.written().await.unwrap();
            }
            assert!(cache.get(&id).await.unwrap().unwrap().balance >= row.get(0));
            looked.send_modify(|looks| *looks += 1);
        }
        let looks = *looked.borrow();
        drop(looked);
        looks
    };
    let ((), checks, ()) = tokio::join!(writer, reader, disturber);
    client.catch_up().await.unwrap();
    assert_held(&cache, &db, 1..=ROWS);
    let status = client.status();
    assert!(checks > 100 && status.standby_loads > 20 && status.standby_passed_over > 20, "{checks} {status:?}");
    close(client).await;
}

/// Writes with each look.
async fn write(db: &Database<'_>, mut looks: watch::Receiver<u64>) {
    let (connection, mut dice) = (db.connect().await, Dice::new(7));
    while looks.changed().await.is_ok() {
        let id = dice.below(ROWS as u64) + 1;
        connection.batch_execute(&format!("UPDATE account SET balance = balance + 1 WHERE id = {id}")).await.unwrap();
    }
}

/// Holds the standby up and lets it go, with every thirty looks.
async fn disturb(standby: &Cluster, mut looks: watch::Receiver<u64>) {
    let connection = cache_sync_tests::connect(&standby.dsn("postgres")).await;
    for what in ["pause", "resume"].into_iter().cycle() {
        connection.batch_execute(&format!("SELECT pg_wal_replay_{what}()")).await.unwrap();
        let next = *looks.borrow() + 30;
        if looks.wait_for(|looks| *looks >= next).await.is_err() {
            break;
        }
    }
}

/// Who asks for more than the feed has told asks the primary.
#[tokio::test]
async fn it_is_not_asked_for_the_latest() {
    let primary = primary();
    let (db, standby) = with_accounts(&primary).await;
    let client = open(of(&db, &standby).feed_timeout(Duration::from_secs(600))).await;
    let cache = accounts(&client).await;
    catch_up(&db, &standby).await;
    cache.get(&50).await.unwrap();
    assert_eq!(client.status().standby_loads, 1, "it is asked");
    client.mute_feed(true);
    pause(&standby).await;
    for id in [1, 2] {
        cache.get(&id).await.unwrap();
    }
    assert_eq!(client.status().standby_loads, 3, "as far as anybody has heard it has everything");
    let versions = db.psql("UPDATE account SET note = 'not replayed' WHERE id <= 2 RETURNING cs_version");
    let version = versions.lines().map(|version| version.parse().unwrap()).min().map(Version).unwrap();
    for (id, freshness) in [(1, Freshness::Latest), (2, Freshness::AtLeast(version))] {
        let found = cache.lookup(&id, freshness).await.unwrap();
        assert_eq!(shown(found.value.as_deref()), stored(&db, id), "{freshness:?}");
    }
    client.mute_feed(false);
    close(client).await;
}
