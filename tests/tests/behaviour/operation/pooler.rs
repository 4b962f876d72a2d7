//! pgbouncer between: in session mode everything works; in the other modes the SDK says why it does not, and SQL works.

use cache_sync::{Client, Patch, Verdict};
use cache_sync_tests::feed::Feed;
use cache_sync_tests::pooler::Pooler;
use cache_sync_tests::rows::{accounts, close, make_accounts, open, shown, stored};
use cache_sync_tests::{Database, SOON, cluster, cluster_without_preloading, connect, wait_until};
use futures_util::future::join_all;

const SETTINGS: &str =
    "SELECT current_setting('transaction_isolation') AS isolation, current_setting('statement_timeout') AS timeout";

#[derive(serde::Deserialize)]
struct Settings {
    isolation: String,
    timeout: String,
}

#[tokio::test]
async fn in_session_mode_everything_works() {
    for cluster in [cluster(), cluster_without_preloading()] {
        let db = Database::with_extension_in(cluster);
        make_accounts(&db, 10);
        db.psql(&format!("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'", db.name()));
        let pooler = Pooler::start(cluster, "session", 20);
        let client = open(Client::builder(&pooler.dsn(&db))).await;
        let cache = accounts(&client).await;
        cache.get_many(&(1..=10).collect::<Vec<_>>()).await.unwrap();
        let receipt = cache.patch(&1, Patch::new().add("balance", 5).set("note", "pooled")).await.unwrap();
        assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
        db.psql("UPDATE account SET name = 'by SQL' WHERE id IN (1, 2)");
        client.catch_up().await.unwrap();
        for id in 1..=10 {
            assert_eq!(shown(cache.get(&id).await.unwrap().as_deref()), stored(&db, id));
            assert!(cache.cached(&id).is_some());
        }
        // The connections have what the SDK needs of them, although a pooler takes no start-up options.
        let settings = client.query::<Settings>(SETTINGS).depends_on_table("account").fetch().await.unwrap();
        assert_eq!((settings[0].isolation.as_str(), settings[0].timeout.as_str()), ("read committed", "30s"));
        db.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
        db.psql("UPDATE account SET name = 'meanwhile' WHERE id = 3");
        wait_until(SOON, "the feed is back", async || {
            cache.get(&3).await.is_ok_and(|row| row.unwrap().name == "meanwhile") && cache.cached(&3).is_some()
        })
        .await;
        close(client).await;
    }
}

/// Prepared statements and settings would go to any of the server's connections.
#[tokio::test]
async fn in_the_other_modes_the_sdk_says_so() {
    let db = Database::with_extension();
    make_accounts(&db, 10);
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(db.cluster(), mode, 20);
        let error = Client::connect(&pooler.dsn(&db)).await.err().unwrap().to_string();
        assert!(error.contains("a pooler in session mode"), "{mode}: {error}");
    }
    let pooler = Pooler::start(db.cluster(), "transaction", 20);
    let error = Client::builder(&pooler.dsn(&db)).pool_size(1).connect().await.err().unwrap().to_string();
    assert!(error.contains("a pooler in session mode"), "with a pool of one: {error}");
}

/// Then the first statement that is not there tells.
#[tokio::test]
async fn a_mode_that_is_changed_later_is_told_of() {
    let db = Database::with_extension();
    make_accounts(&db, 10);
    let pooler = Pooler::start(db.cluster(), "session", 20);
    let client = open(Client::builder(&pooler.dsn(&db)).pool_size(1)).await;
    let cache = accounts(&client).await;
    assert!(cache.get(&1).await.unwrap().is_some());
    let pooler = pooler.restart(db.cluster(), "transaction", 20);
    let dsn = pooler.dsn(&db);
    wait_until(SOON, "the node is back", async || {
        client.status().feed_connects > 1 && cache.get(&1).await.is_ok() && cache.cached(&1).is_some()
    })
    .await;
    cache.get(&3).await.unwrap();
    // They are given the connections that there are, the one with the load's statement too.
    let others = join_all((0..8).map(|_| connect(&dsn))).await;
    for other in &others {
        other.batch_execute("BEGIN; SELECT 1").await.unwrap();
    }
    let error = cache.get(&2).await.unwrap_err();
    assert!(error.to_string().contains("a pooler in session mode"), "{error}");
    assert_eq!(error.sqlstate(), Some("26000"));
    close(client).await;
}

/// What needs no session of its own.
#[tokio::test]
async fn in_transaction_mode_sql_works() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let pooler = Pooler::start(db.cluster(), "transaction", 3);
    let client = connect(&pooler.dsn(&db)).await;
    let ask = async |sql: &str| {
        let rows = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let cell = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        cell.unwrap_or_default()
    };
    let position = "SELECT feed_position FROM cache_sync.changes() WHERE kind = 'position'";
    let (epoch, position) = (ask("SELECT cache_sync.epoch()").await, ask(position).await);
    assert_eq!(
        ask("SELECT outcome FROM cache_sync.edit('account', '{\"id\": 1}', '{\"balance\": 4}')").await,
        "applied"
    );
    assert_eq!(
        ask("SELECT outcome FROM cache_sync.upsert('account', '{\"id\": 9, \"name\": \"new\", \"balance\": 0}')").await,
        "applied"
    );
    assert_eq!(ask("SELECT outcome FROM cache_sync.delete('account', '{\"id\": 2}')").await, "applied");
    let told = format!(
        "SELECT count(*) FROM cache_sync.changes({epoch}, {position}) WHERE key_hash IN (SELECT
         cache_sync.key_hash('account', jsonb_build_object('id', n)) FROM unnest('{{1,2,9}}'::int[]) n)"
    );
    assert_eq!(ask(&told).await, "3");
    // A feed is one statement that does not end: it keeps its server connection, and is told of changes.
    let mut feed = Feed::call(&pooler.dsn(&db), "").await.unwrap();
    db.psql("UPDATE account SET note = 'told' WHERE id = 1");
    assert_eq!(feed.changes(&db).await.len(), 1);
}
