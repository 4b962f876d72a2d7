//! A server that has not preloaded the library. Before PostgreSQL 17 writers NOTIFY (`notify`); from then on the first backend that
//! needs the ring makes it; what becomes of it in a crash is in `freshness::kills`.

use cache_sync::{Cache, Client, FeedKind};
use cache_sync_cluster::{Cluster, Options, Variant};
use cache_sync_kit::Dice;
use cache_sync_tests::feed::Feed;
use cache_sync_tests::rows::{Account, accounts, assert_held, client, close, make_accounts, node, shown, stored};
use cache_sync_tests::{
    Database, SOON, cluster_without_preloading, notifies_without_preloading, start, unsynced, wait_until,
};
use futures_util::future::join_all;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// The server is restarted with the library preloaded, and without it again: the node goes on.
#[tokio::test]
async fn it_is_chosen_anew_with_each_connection() {
    let cluster = start(unsynced().preload(false));
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let (client, cache) = node(&db).await;
    let bare = if notifies_without_preloading(&cluster) { FeedKind::Notify } else { FeedKind::Stream };
    for (round, (kind, next)) in [
        (bare, "SET shared_preload_libraries = cache_sync"),
        (FeedKind::Stream, "RESET shared_preload_libraries"),
        (bare, "RESET shared_preload_libraries"),
    ]
    .into_iter()
    .enumerate()
    {
        wait_until(SOON, "the row is served", async || {
            cache.get(&1).await.is_ok() && cache.cached(&1).is_some() && client.catch_up().await.is_ok()
        })
        .await;
        assert_eq!(client.status().feed_kind, Some(kind));
        assert_eq!(db.psql("SELECT cache_sync_internal.is_preloaded()"), if round == 1 { "t" } else { "f" });
        cache.update(&1, |row| row.balance += 1).await.unwrap().written().await.unwrap();
        db.psql(&format!("UPDATE account SET note = 'round {round}'"));
        client.catch_up().await.unwrap();
        assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
        db.psql(&format!("ALTER SYSTEM {next}"));
        cluster.restart_immediate().unwrap();
    }
    assert_eq!(db.psql("SELECT balance FROM account"), "3");
    close(client).await;
}

/// Eight connections write for a while, with rollbacks; two nodes read. `catch_up` covers what was replied before,
/// and in the end every entry is its row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nothing_is_missed() {
    const ROWS: i64 = 200;
    const LASTING: Duration = Duration::from_secs(4);
    let db = Database::with_extension_in(cluster_without_preloading());
    make_accounts(&db, ROWS);
    let clients = [client(&db).await, client(&db).await];
    let caches = [accounts(&clients[0]).await, accounts(&clients[1]).await];
    let end = Instant::now() + LASTING;
    let writers = (1..=8_u64).map(|seed| write(&db, seed, end));
    let readers = caches
        .iter()
        .zip(&clients)
        .enumerate()
        .map(|(seed, (cache, client))| read(cache, client, &db, seed as u64 + 100, end));
    let (commits, checks) = tokio::join!(join_all(writers), join_all(readers));
    let (commits, checks) = (commits.iter().sum::<u64>(), checks.iter().sum::<u64>());
    assert!(commits > 200 && checks > 20, "{commits} commits, {checks} checks");
    for (client, cache) in clients.iter().zip(&caches) {
        client.flush().await.unwrap();
        client.catch_up().await.unwrap();
        assert_held(cache, &db, 1..=ROWS);
    }
    for client in clients {
        assert_eq!(client.status().feed_connects, 1);
        close(client).await;
    }
}

async fn write(db: &Database<'_>, seed: u64, end: Instant) -> u64 {
    let (connection, mut dice, mut commits) = (db.connect().await, Dice::new(seed), 0);
    while Instant::now() < end {
        let (id, few) = (dice.below(200) + 1, dice.below(5));
        let last = if dice.below(10) == 0 { "ROLLBACK" } else { "COMMIT" };
        connection
            .batch_execute(&format!(
                "BEGIN; UPDATE account SET balance = balance + 1 WHERE id = {id};
                 UPDATE account SET note = 'by {seed}' WHERE id = {}; {last}",
                id + few
            ))
            .await
            .unwrap();
        commits += u64::from(last == "COMMIT");
    }
    commits
}

async fn read(cache: &Cache<i64, Account>, client: &Client, db: &Database<'_>, seed: u64, end: Instant) -> u64 {
    let (connection, mut dice, mut checks) = (db.connect().await, Dice::new(seed), 0);
    while Instant::now() < end {
        let id = dice.below(200) as i64 + 1;
        let row = connection.query_one("SELECT balance FROM account WHERE id = $1", &[&id]).await.unwrap();
        client.catch_up().await.unwrap();
        let read = cache.get(&id).await.unwrap().unwrap();
        assert!(read.balance >= row.get(0), "row {id} is older than what was committed before");
        checks += 1;
        for _ in 0..20 {
            cache.get(&(dice.below(200) as i64 + 1)).await.unwrap();
        }
    }
    checks
}

/// A server of its own that has a ring although it has not preloaded the library; `None` where there is none.
fn with_segment(options: Options) -> Option<Cluster> {
    let shared = cluster_without_preloading();
    let has_ring = !notifies_without_preloading(shared);
    assert_eq!(
        Database::with_extension_in(shared).psql("SELECT cache_sync_internal.feed_kind()") == "stream",
        has_ring
    );
    has_ring.then(|| start(options.fsync(false).preload(false)))
}

#[tokio::test]
async fn the_ring_is_there_all_the_same() {
    let Some(cluster) = with_segment(Options::default()) else { return };
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY)");
    let said = db.client("psql").args(["-Xqc", "SELECT cache_sync.attach('t')"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    assert_eq!(db.psql("SELECT s -> 'preloaded', s -> 'feed_kind' FROM cache_sync.status() s"), "false|\"stream\"");
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.check_tables()"), "0");
    assert_eq!(db.psql("SELECT ring_size FROM cache_sync.feed_stats"), "65536");
    make_accounts(&db, 1);
    let (client, cache) = node(&db).await;
    cache.get(&1).await.unwrap();
    assert_eq!((client.status().feed_kind, client.status().feed_live), (Some(FeedKind::Stream), true));
    // With versions, which take a clock in common.
    let loaded = cache.status().loaded_keys;
    cache.update(&1, |row| row.balance += 1).await.unwrap().written().await.unwrap();
    client.catch_up().await.unwrap();
    assert!(cache.cached(&1).is_some(), "the node knows its own write by its version");
    assert_eq!(cache.status().loaded_keys, loaded);
    close(client).await;
}

/// What the configuration says of the ring's size is for a library that is preloaded. Elsewhere each session that used an attached
/// table was warned of a parameter that is not known.
#[test]
fn sizes_in_the_configuration_are_no_matter_for_sessions() {
    let sizes =
        unsynced().preload(false).setting("cache_sync.ring_size", "2048").setting("cache_sync.max_listeners", "7");
    let cluster = start(sizes);
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY)");
    db.psql("SELECT cache_sync.attach('t')");
    let said = db.client("psql").args(["-Xqc", "INSERT INTO t VALUES (1)"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    let log = std::fs::read_to_string(cluster.log_file()).unwrap();
    assert!(!log.contains("configuration parameter"), "{log}");
    // They are shown as they stand there, and have no effect.
    let shown = "SELECT cache_sync.epoch() > 0, current_setting('cache_sync.ring_size'), current_setting('cache_sync.max_listeners')";
    assert_eq!(db.psql(shown), "t|2048|7");
    let held = if notifies_without_preloading(&cluster) { "0" } else { "65536" };
    assert_eq!(db.psql("SELECT ring_size FROM cache_sync.feed_stats"), held);
    let refused = db.psql_error("LOAD 'cache_sync'; SET cache_sync.ring_size = 4096");
    assert!(refused.contains("55P02"), "{refused}");
}

/// Connections that have never called anything of ours write at once, on a server that has just started: none of them misses the ring
/// that another one makes.
#[tokio::test]
async fn the_first_ones_all_get_the_same() {
    const ROWS: i64 = 24;
    let Some(cluster) = with_segment(Options::default()) else { return };
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, ROWS);
    for round in 0..8 {
        cluster.stop("fast").unwrap();
        cluster.launch().unwrap();
        let writers = join_all((0..ROWS).map(|_| db.connect())).await;
        let sql = |id: usize| format!("UPDATE account SET note = 'round {round}' WHERE id = {}", id + 1);
        let write = writers.iter().enumerate().map(|(id, writer)| async move { writer.batch_execute(&sql(id)).await });
        join_all(write).await.into_iter().for_each(|written| written.unwrap());
        assert_eq!(db.psql("SELECT feed_position FROM cache_sync.feed_head()"), ROWS.to_string());
        assert_eq!(db.psql("SELECT published FROM cache_sync.feed_stats"), ROWS.to_string());
    }
}

/// Files were replaced while the server runs, and only later connections have the new library: they must not write into memory that
/// they read otherwise, nor keep from others what they change.
#[tokio::test]
async fn another_build_is_refused() {
    let Some(cluster) = with_segment(Options::default().variant(Variant::TestFaults)) else { return };
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let mut feed = Feed::open(&db).await;
    let older = db.connect().await;
    older.batch_execute("UPDATE account SET note = 'before'").await.unwrap();
    db.psql(&format!("ALTER DATABASE {} SET cache_sync.other_build = on", db.name()));
    for sql in ["UPDATE account SET note = 'lost'", "SELECT * FROM cache_sync.changes()", "CALL cache_sync.stream()"] {
        let refused = db.psql_error(sql);
        assert!(refused.contains("CS007") && refused.contains("Restart the server"), "{sql}: {refused}");
    }
    // What concerns no attached table goes on.
    db.psql("CREATE TABLE mine (id int); ALTER TABLE mine ADD v int; DROP TABLE mine");
    assert!(db.psql_error("ALTER TABLE account ADD lost int").contains("CS007"));
    // What tells what is wrong can be asked.
    assert_eq!(
        db.psql("SELECT cache_sync_internal.is_preloaded(), library = script FROM cache_sync.versions()"),
        "f|t"
    );
    older.batch_execute("UPDATE account SET note = 'after'").await.unwrap();
    assert_eq!(db.psql("SELECT note FROM account"), "after");
    let head: i64 = older.query_one("SELECT feed_position FROM cache_sync.feed_head()", &[]).await.unwrap().get(0);
    assert_eq!(feed.changes_up_to(head as u64).await.len(), 2);
    cluster.stop("fast").unwrap();
    cluster.launch().unwrap();
    db.psql("UPDATE account SET note = 'all have the other one now'");
}

/// Feeds that are ended leave their places, and others are woken as before.
#[tokio::test]
async fn feeds_come_and_go() {
    let Some(cluster) = with_segment(Options::default().setting("min_dynamic_shared_memory", "16MB")) else { return };
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let since = db.psql("SELECT pg_postmaster_start_time()");
    let mut stays = Feed::open(&db).await;
    for how in ["pg_terminate_backend", "pg_cancel_backend"].repeat(4) {
        let goes = Feed::open(&db).await;
        assert_eq!(db.psql("SELECT count(*) FROM cache_sync.listeners"), "2");
        db.psql(&format!("SELECT {how}({})", goes.pid));
        wait_until(SOON, "its place is free", async || db.psql("SELECT count(*) FROM cache_sync.listeners") == "1")
            .await;
        db.psql(&format!("UPDATE account SET note = 'without {}'", goes.pid));
        let head = db.psql("SELECT feed_position FROM cache_sync.feed_head()").parse().unwrap();
        assert_eq!(stays.changes_up_to(head).await.len(), 1);
    }
    assert_eq!(db.psql("SELECT pg_postmaster_start_time()"), since);
    let log = std::fs::read_to_string(cluster.log_file()).unwrap();
    assert!(!log.contains("was terminated by signal"), "{log}");
}

/// What could not be told is not written, and all else goes on; once there is memory again, that too.
#[tokio::test]
async fn without_memory_nothing_is_written() {
    let Some(cluster) = with_segment(Options::default().setting("dynamic_shared_memory_type", "mmap")) else { return };
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    cluster.stop("fast").unwrap();
    cluster.launch().unwrap();
    let allow = |mode| {
        let dir = cluster.data_dir().join("pg_dynshmem");
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Postgres' registry itself is there, made for another extension.
    db.psql("CREATE EXTENSION pg_prewarm; SELECT autoprewarm_dump_now()");
    allow(0o500);
    for _ in 0..2 {
        let refused = db.psql_error("UPDATE account SET note = 'untold'");
        assert!(refused.contains("53200") && refused.contains("shared_preload_libraries"), "{refused}");
        assert_eq!(db.psql("SELECT library = script FROM cache_sync.versions()"), "t");
        db.psql("CREATE TABLE mine (id int); ALTER TABLE mine ADD v int; DROP TABLE mine");
    }
    assert_eq!(db.psql("SELECT note IS NULL FROM account"), "t");
    allow(0o700);
    db.psql("UPDATE account SET note = 'told'");
    assert_eq!(db.psql("SELECT published FROM cache_sync.feed_stats"), "1");
}
