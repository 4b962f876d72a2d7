//! An application that has a pool already lends its connections: the client leaves them as they were.

use cache_sync::{Client, Patch};
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use deadpool_postgres::{Manager, Pool};
use std::time::Duration;
use tokio_postgres::{Config, NoTls};

const SHOW: &str =
    "SELECT current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only'),
    current_setting('statement_timeout')";

fn pool(dsn: &str, connections: usize) -> Pool {
    pool_of(dsn.parse().unwrap(), connections)
}

fn pool_of(config: Config, connections: usize) -> Pool {
    let manager = Manager::new(config, NoTls);
    Pool::builder(manager).max_size(connections).build().unwrap()
}

async fn settings(connection: &deadpool_postgres::Object) -> [String; 3] {
    let row = connection.query_one(SHOW, &[]).await.unwrap();
    std::array::from_fn(|place| row.get(place))
}

#[tokio::test]
async fn is_used_beside_the_applications_own_work_and_outlives_the_client() {
    let db = Database::with_extension();
    make_accounts(&db, 50);
    let pool = pool(&db.dsn(), 2);
    {
        let connection = pool.get().await.unwrap();
        let set = "SET default_transaction_isolation = 'serializable'; SET statement_timeout = '7s'";
        connection.batch_execute(set).await.unwrap();
    }
    let client = open(Client::builder(&db.dsn()).pool(pool.clone())).await;
    let cache = accounts(&client).await;
    let own_work = async {
        for _ in 0..50 {
            let connection = pool.get().await.unwrap();
            let written = connection.execute("UPDATE account SET note = note WHERE id = 50", &[]).await;
            assert_eq!(written.unwrap(), 1, "it is no connection for reading");
        }
    };
    let reads = async {
        for id in 1..=50 {
            assert!(cache.get(&id).await.unwrap().is_some());
        }
        let count = client.query::<i64>("SELECT count(*) FROM account").fetch().await.unwrap();
        assert_eq!(count.as_slice(), [50]);
    };
    tokio::join!(own_work, reads);
    let receipt = cache.patch(&1, Patch::new().add("balance", 5)).await.unwrap();
    assert!(receipt.written().await.unwrap().is_written());
    let connections =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(db.psql(connections), "4", "two of the pool, feed and flusher");
    close(client).await;
    let (one, other) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let mut both = [settings(&one).await, settings(&other).await];
    both.sort();
    assert_eq!(both, [["read committed", "off", "0"], ["serializable", "off", "7s"]], "they are as they were");
}

/// In a transaction of somebody else's a load would see what was there when that began.
#[tokio::test]
async fn connections_that_come_in_a_transaction_are_not_used() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let pool = pool(&db.dsn(), 3);
    let client = open(Client::builder(&db.dsn()).pool(pool.clone())).await;
    let cache = accounts(&client).await;
    cache.get(&2).await.unwrap();
    let connections = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    for (connection, left) in connections.iter().zip(["SELECT count(*) FROM account", "SELECT 1/0", "SELECT 1"]) {
        connection.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        let _ = connection.batch_execute(left).await;
    }
    drop(connections);
    db.psql("UPDATE account SET name = 'new' WHERE id = 1");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().name, "new");
    close(client).await;
}

/// The work that somebody has left in a transaction is not ours to commit.
#[tokio::test]
async fn nothing_is_committed_that_was_left_there() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let pool = pool(&db.dsn(), 2);
    for _ in 0..2 {
        let connection = pool.get().await.unwrap();
        connection.batch_execute("BEGIN; INSERT INTO account SELECT max(id) + 1, 'left' FROM account").await.unwrap();
        if connection.query_one("SELECT count(*) FROM account", &[]).await.is_err() {
            break;
        }
    }
    let client = open(Client::builder(&db.dsn()).pool(pool.clone())).await;
    assert!(accounts(&client).await.get(&1).await.unwrap().is_some());
    close(client).await;
    assert_eq!(db.psql("SELECT count(*) FROM account"), "1");
    let mark = "SELECT current_setting('cache_sync_sdk.mark', true)";
    let left: Option<String> = pool.get().await.unwrap().query_one(mark, &[]).await.unwrap().get(0);
    assert_eq!(left.unwrap_or_default(), "");
}

/// What one of them shows is held for everybody.
#[tokio::test]
async fn connections_that_are_set_otherwise_are_not_used() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    db.psql("CREATE SCHEMA tenant; CREATE TABLE tenant.account (LIKE account INCLUDING ALL)");
    let pool = pool(&db.dsn(), 2);
    let client = open(Client::builder(&db.dsn()).pool(pool.clone())).await;
    let cache = accounts(&client).await;
    for set in ["SET search_path = tenant", "SET ROLE pg_monitor", "SET DateStyle = 'SQL, DMY'"] {
        let connections = [pool.get().await.unwrap(), pool.get().await.unwrap()];
        for connection in &connections {
            connection.batch_execute(set).await.unwrap();
        }
        drop(connections);
        cache.invalidate(&1);
        assert!(cache.get(&1).await.unwrap().is_some(), "{set}");
        let count = client.query::<i64>("SELECT count(*) FROM account WHERE id > 0").fetch().await.unwrap();
        assert_eq!(count.as_slice(), [2], "{set}");
    }
    close(client).await;
    let mut otherwise: Config = db.dsn().parse().unwrap();
    otherwise.options("-c search_path=tenant");
    let error = Client::builder(&db.dsn())
        .pool(pool_of(otherwise, 2))
        .connect()
        .await
        .expect_err("all are set otherwise")
        .to_string();
    assert!(error.contains("search_path tenant") && error.contains("in place of"), "{error}");
}

/// That the application has none left is no outage.
#[tokio::test]
async fn an_empty_pool_is_no_outage() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let pool = pool(&db.dsn(), 2);
    let client = open(Client::builder(&db.dsn()).pool(pool.clone()).query_timeout(Duration::from_millis(600))).await;
    let cache = accounts(&client).await;
    let connections = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    let error = cache.get(&1).await.expect_err("there is no connection");
    assert!(error.is_overloaded() && !error.is_unavailable(), "{error}");
    drop(connections);
    assert!(cache.get(&1).await.unwrap().is_some());
    close(client).await;
    assert!(!pool.is_closed());
}

/// What a caller has given up must not return to the application with our settings.
#[tokio::test]
async fn nothing_returns_that_was_given_up() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let pool = pool(&db.dsn(), 2);
    let client = open(Client::builder(&db.dsn()).pool(pool.clone())).await;
    for microseconds in [0, 50, 100, 200, 400, 800, 1600, 5000] {
        let slow = client.query::<i64>("SELECT count(*) FROM account, pg_sleep(0.1)").fetch();
        let _ = tokio::time::timeout(Duration::from_micros(microseconds), slow).await;
    }
    wait_until(SOON, "all are back", async || pool.status().available == pool.status().size).await;
    let connections = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    for connection in &connections {
        assert_eq!(settings(connection).await, ["read committed", "off", "0"]);
    }
    drop(connections);
    close(client).await;
}

#[tokio::test]
async fn of_another_database_is_refused() {
    let (db, other) = (Database::with_extension(), Database::with_extension());
    for (size, why) in [(1, "two connections at least"), (2, "not of the database of the DSN")] {
        let builder = Client::builder(&db.dsn()).pool(pool(&other.dsn(), size));
        let error = builder.connect().await.expect_err("it is another database");
        assert!(error.to_string().contains(why) && !error.is_unavailable(), "{error}");
    }
}
