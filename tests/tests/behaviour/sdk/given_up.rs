//! What one caller does, or what becomes of one table, is no concern of the others: calls that are given up, slow queries, types that
//! panic, keys that are none, tables that may no longer be read, runtimes that end.

use cache_sync::{Client, Error};
use cache_sync_tests::rows::{accounts, close, make_accounts, node_with, open};
use cache_sync_tests::{Database, SOON, wait_until};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

#[derive(Debug, Deserialize)]
struct Slept {
    #[expect(dead_code, reason = "only how long it takes is of interest")]
    slept: String,
}

/// A query that takes so many seconds.
async fn sleep(client: Client, seconds: u32) -> Result<(), Error> {
    let sql = format!("SELECT pg_sleep({seconds})::text AS slept FROM (SELECT count(*) FROM account) a");
    client.query::<Slept>(&sql).depends_on_table("account").assume_complete().fetch().await.map(drop)
}

fn sleeping(db: &Database<'_>) -> String {
    db.psql(
        "SELECT count(*) FROM pg_stat_activity
         WHERE query LIKE '%pg_sleep%' AND state = 'active' AND datname = current_database() AND pid <> pg_backend_pid()",
    )
}

/// A caller leaves while Postgres works for him: the connection does not go back to the others with that, and the work ends.
#[tokio::test]
async fn calls_leave_nothing_behind() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let client = open(Client::builder(&db.dsn()).pool_size(2)).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    for seconds in 1000..1006 {
        let given_up = tokio::time::timeout(Duration::from_millis(150), sleep(client.clone(), seconds)).await;
        assert!(given_up.is_err());
    }
    let begun = Instant::now();
    cache.invalidate(&1);
    cache.get(&1).await.unwrap();
    client.query::<Slept>("SELECT ''::text AS slept").depends_on_table("account").fetch().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    wait_until(SOON, "the server has ended what was given up", async || sleeping(&db) == "0").await;
    close(client).await;
}

/// Queries that take long leave a connection for rows.
#[tokio::test]
async fn slow_queries_do_not_keep_rows_waiting() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).pool_size(3)).await;
    let cache = accounts(&client).await;
    let slow: Vec<_> = (10..16).map(|seconds| tokio::spawn(sleep(client.clone(), seconds))).collect();
    wait_until(SOON, "queries are under way", async || sleeping(&db) == "2").await;
    let begun = Instant::now();
    for _ in 0..10 {
        cache.invalidate(&1);
        cache.get(&1).await.unwrap();
        assert_eq!(sleeping(&db), "2", "they take the connection for rows");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    close(client).await;
}

/// Who misses while all is quiet drives the load himself. That he is not looked after any more, or leaves, is no concern of those who have
/// joined him; and what he has begun is brought to its end, over a connection that is good for the next.
#[tokio::test]
async fn who_leads_a_load_may_stop_or_leave() {
    let (db, client, cache) = node_with(1).await;
    cache.get(&1).await.unwrap();
    let connections = || {
        db.psql(
            "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )
    };
    let begin = || {
        cache.invalidate(&1);
        let mut leader = Box::pin(cache.get(&1));
        assert!((&mut leader).now_or_never().is_none(), "it has begun, and no more");
        leader
    };
    let (before, connected) = (cache.status().loaded_keys, connections());

    let stopped = begin();
    let joined = tokio::time::timeout(SOON, cache.get(&1)).await.expect("who began keeps others waiting");
    assert!(joined.unwrap().is_some());
    assert!(stopped.await.unwrap().is_some());

    let leaves = begin();
    let mut joined = Box::pin(cache.get(&1));
    assert!((&mut joined).now_or_never().is_none());
    drop(leaves);
    assert!(tokio::time::timeout(SOON, joined).await.expect("who leaves keeps others waiting").unwrap().is_some());

    drop(begin());
    wait_until(SOON, "what was begun has ended", async || cache.cached(&1).is_some()).await;
    assert_eq!(cache.status().loaded_keys, before + 3);
    assert_eq!(connections(), connected);
    close(client).await;
}

/// Whoever leads a load and is not looked after keeps no connection when the client has closed.
#[tokio::test]
async fn a_load_that_nobody_goes_on_with_ends_with_its_client() {
    let (db, client, cache) = node_with(1).await;
    let mut leader = Box::pin(cache.get(&1));
    assert!((&mut leader).now_or_never().is_none());
    close(client).await;
    drop(leader);
    let connections = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    wait_until(SOON, "all connections have ended", async || db.psql(connections) == "0").await;
    drop(cache);
}

/// A row of whose value its type thinks that it cannot be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Plain")]
struct Panics {
    name: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Plain {
    name: String,
}

impl From<Plain> for Panics {
    fn from(plain: Plain) -> Panics {
        assert_ne!(plain.name, "name 2", "a name that cannot be");
        Panics { name: plain.name }
    }
}

#[tokio::test]
async fn a_type_that_panics_fails_for_its_row_alone() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    db.psql("CREATE TABLE other (id int PRIMARY KEY, name text); INSERT INTO other VALUES (1, 'x'); SELECT cache_sync.attach('other')");
    let client = open(Client::builder(&db.dsn())).await;
    let cache = client.cache::<i64, Panics>("account").open().await.unwrap();
    let other = client.cache::<i32, Plain>("other").open().await.unwrap();
    for _ in 0..2 {
        let (one, two, three) = tokio::join!(cache.get(&1), cache.get(&2), cache.get(&3));
        assert_eq!(one.unwrap().unwrap().name, "name 1");
        assert_eq!(three.unwrap().unwrap().name, "name 3");
        let error = two.expect_err("it panics");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("a name that cannot be"), "{source}");
        assert_eq!(other.get(&1).await.unwrap().unwrap().name, "x");
    }
    cache.put(1, Panics { name: "new".into() }).await.unwrap().written().await.unwrap();
    db.psql("UPDATE account SET name = 'newer' WHERE id = 2");
    client.catch_up().await.unwrap();
    assert_eq!(cache.get(&2).await.unwrap().unwrap().name, "newer");
    close(client).await;
}

#[tokio::test]
async fn a_key_that_is_none_fails_alone() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE planet AS ENUM ('mars', 'venus', 'earth');
         CREATE TABLE t (id planet PRIMARY KEY, name text NOT NULL);
         INSERT INTO t SELECT p, p FROM unnest(enum_range(NULL::planet)) p; SELECT cache_sync.attach('t')",
    );
    let client = open(Client::builder(&db.dsn())).await;
    let cache = client.cache::<String, Plain>("t").open().await.unwrap();
    let get = async |key: &str| cache.get(&key.to_owned()).await;
    let (mars, pluto, venus, earth) = tokio::join!(get("mars"), get("pluto"), get("venus"), get("earth"));
    for (found, name) in [(mars, "mars"), (venus, "venus"), (earth, "earth")] {
        assert_eq!(found.unwrap().unwrap().name, name);
    }
    assert_eq!(pluto.err().and_then(|error| error.sqlstate().map(str::to_owned)).as_deref(), Some("22P02"));
    close(client).await;
}

/// The feed goes on for the other tables.
#[tokio::test]
async fn a_table_that_may_no_longer_be_read_is_let_go() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    db.psql(
        "CREATE TABLE other (id int PRIMARY KEY, name text); INSERT INTO other VALUES (1, 'x'); SELECT cache_sync.attach('other');
         CREATE ROLE reader_of_two LOGIN IN ROLE cache_sync_user; GRANT SELECT ON account, other TO reader_of_two",
    );
    let client = open(Client::builder(&db.dsn_as("reader_of_two"))).await;
    let cache = accounts(&client).await;
    let other = client.cache::<i32, Plain>("other").open().await.unwrap();
    cache.get(&1).await.unwrap();
    other.get(&1).await.unwrap();
    db.psql("REVOKE SELECT ON account FROM reader_of_two");
    let is_refused = async || cache.get(&1).await.is_err();
    wait_until(SOON, "the table that may not be read is not served", is_refused).await;
    db.psql("UPDATE other SET name = 'y'");
    let is_heard = async || {
        let row = other.get(&1).await.unwrap().unwrap();
        row.name == "y" && client.status().feed_live && other.cached(&1).is_some()
    };
    wait_until(SOON, "the other one is heard", is_heard).await;
    close(client).await;
}

/// As a test does that keeps its client in a static: the next one has another runtime.
#[test]
fn a_client_whose_runtime_has_ended_says_so() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (_db, client, cache) = first.block_on(node_with(1));
    first.block_on(cache.get(&1)).unwrap();
    drop(first);
    runtime().block_on(async {
        let limit = Duration::from_secs(5);
        let said = |error: Error| error.to_string();
        let get = tokio::time::timeout(limit, cache.get(&1)).await.expect("get hangs").map(drop).map_err(said);
        let put = cache.put(1, cache_sync_tests::rows::Account { id: 1, name: "x".into(), balance: 1, note: None });
        let put = tokio::time::timeout(limit, put).await.expect("put hangs").map(drop).map_err(said);
        let flush = tokio::time::timeout(limit, client.flush()).await.expect("flush hangs").map_err(said);
        let catch_up = tokio::time::timeout(limit, client.catch_up()).await.expect("catch_up hangs").map_err(said);
        let cache = client.cache::<i64, cache_sync_tests::rows::Account>("account").open();
        let open = tokio::time::timeout(limit, cache).await.expect("open hangs").map(drop).map_err(said);
        for (call, answer) in [("get", get), ("put", put), ("flush", flush), ("catch_up", catch_up), ("open", open)] {
            let error = answer.expect_err(call);
            assert!(error.contains("the runtime in which this client was made has ended"), "{call}: {error}");
        }
        tokio::time::timeout(limit, client.close(limit)).await.expect("close hangs").ok();
    });
}

/// Whoever gives `close` up and calls it again hears what was not written.
#[tokio::test]
async fn closing_that_is_given_up_goes_on_when_it_is_called_again() {
    let (db, client, cache) = node_with(1).await;
    let console = db.connect().await;
    console.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let receipt = cache.patch(&1, cache_sync::Patch::new().add("balance", 7)).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(100), client.close(SOON)).await;
    assert!(given_up.is_err());
    for _ in 0..2 {
        let unwritten = client.close(Duration::from_millis(100)).await.unwrap();
        assert_eq!(unwritten.iter().map(|patch| &*patch.key).collect::<Vec<_>>(), ["{\"id\":1}"]);
    }
    assert!(receipt.written().await.unwrap_err().is_closed());
}

/// Nobody waits for the outcome, and still it is not lost.
#[tokio::test]
async fn refusals_are_counted_where_nobody_waits_for_them() {
    let (db, client, cache) = node_with(2).await;
    db.psql("ALTER TABLE account ADD CHECK (balance < 5)");
    for id in [1, 2] {
        let _ = cache.patch(&id, cache_sync::Patch::new().add("balance", 3 * id)).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!((client.status().caches[0].rejected, client.status().caches[0].unknown), (1, 0));
    close(client).await;
}
