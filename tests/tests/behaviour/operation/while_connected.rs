//! The extension comes, goes and is upgraded while backends are connected that have its library loaded.

use cache_sync::Client;
use cache_sync_core::wire::ChangeKind;
use cache_sync_tests::feed::Feed;
use cache_sync_tests::rows::{close, node, shown, stored};
use cache_sync_tests::{Database, cluster, cluster_without_preloading};

const TABLE: &str =
    "CREATE TABLE account (id bigint PRIMARY KEY, name text NOT NULL, balance bigint NOT NULL DEFAULT 0, note text);
    INSERT INTO account (id, name) SELECT n, 'name ' || n FROM generate_series(1, 10) n";
const ATTACH: &str = "SELECT cache_sync.attach('account', versioned => true, rules => '{\"balance\": \"add\"}')";

/// One connection writes all the time, and neither fails nor is unheard as long as there is somebody to hear it.
#[tokio::test]
async fn it_is_created_dropped_and_created_again_while_a_writer_is_connected() {
    for cluster in [cluster(), cluster_without_preloading()] {
        let db = Database::empty_in(cluster);
        db.psql(TABLE);
        let writer = db.connect().await;
        let write = async |note: &str| {
            let sql = format!("BEGIN; UPDATE account SET note = '{note}' WHERE id < 4; DELETE FROM account WHERE id = 9;
                INSERT INTO account (id, name) VALUES (9, '{note}'); COMMIT; TRUNCATE account; INSERT INTO account (id, name, note)
                SELECT n, 'name', '{note}' FROM generate_series(1, 10) n");
            writer.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{note}: {error:?}"));
        };
        write("without the extension").await;
        for round in ["once", "again"] {
            db.psql("CREATE EXTENSION cache_sync");
            write("not attached").await;
            assert!(Client::connect(&db.dsn()).await.is_ok());
            db.psql(ATTACH);
            write("attached").await;
            let (client, cache) = node(&db).await;
            let keys: Vec<i64> = (1..=10).collect();
            cache.get_many(&keys).await.unwrap();
            write(round).await;
            client.catch_up().await.unwrap();
            for id in &keys {
                assert_eq!(shown(cache.get(id).await.unwrap().as_deref()), stored(&db, *id));
            }
            close(client).await;
            db.psql("DROP EXTENSION cache_sync CASCADE");
            write("dropped").await;
            let refused = Client::connect(&db.dsn()).await.err().unwrap().to_string();
            assert!(refused.contains("CREATE EXTENSION"), "{refused}");
        }
    }
}

/// Script 0.1.0 under library 0.2.0, which becomes script 0.2.0: a writer and a feed that were there before go on.
#[tokio::test]
async fn it_is_upgraded_while_a_writer_and_a_feed_are_connected() {
    let db = Database::empty_in(cluster());
    db.psql(&format!("CREATE EXTENSION cache_sync VERSION '0.1.0'; {TABLE}"));
    db.psql(ATTACH);
    let writer = db.connect().await;
    let mut feed = Feed::open(&db).await;
    let mut heard = async |kind: ChangeKind, sql: &str| {
        writer.batch_execute(sql).await.unwrap();
        let told = feed.changes(&db).await;
        assert!(told.iter().any(|change| change.kind == kind), "{sql}: {told:?}");
    };
    heard(ChangeKind::Versioned, "UPDATE account SET note = 'before' WHERE id = 1").await;
    let refused = Client::connect(&db.dsn()).await.err().unwrap().to_string();
    assert!(refused.contains("ALTER EXTENSION cache_sync UPDATE"), "{refused}");
    db.psql("ALTER EXTENSION cache_sync UPDATE");
    heard(ChangeKind::Versioned, "UPDATE account SET note = 'after' WHERE id = 1").await;
    heard(ChangeKind::Unversioned, "DELETE FROM account WHERE id = 2").await;
    heard(ChangeKind::FlushTable, "TRUNCATE account").await;
    let (client, cache) = node(&db).await;
    heard(ChangeKind::Unversioned, "INSERT INTO account (id, name) VALUES (3, 'three')").await;
    client.catch_up().await.unwrap();
    assert_eq!(shown(cache.get(&3).await.unwrap().as_deref()), stored(&db, 3));
    close(client).await;
}
