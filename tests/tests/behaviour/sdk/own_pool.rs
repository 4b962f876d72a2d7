//! An application that has a pool already lends its connections: the client leaves them as they were.

use cache_sync::{Client, Patch};
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use deadpool_postgres::{Manager, Pool};
use std::time::Duration;
use tokio_postgres::NoTls;

const SHOW: &str =
    "SELECT current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only'),
    current_setting('statement_timeout')";

fn pool(dsn: &str, connections: usize) -> Pool {
    let manager = Manager::new(dsn.parse().unwrap(), NoTls);
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
    for size in [1, 2] {
        let builder = Client::builder(&db.dsn()).pool(pool(&other.dsn(), size));
        let error = builder.connect().await.expect_err("it is another database");
        assert!(error.to_string().contains("not of the database of the DSN") && !error.is_unavailable(), "{error}");
    }
}
