//! Versions of one key may go back across a deletion: an INSERT that waits has its number long before it commits.

use cache_sync_tests::locks::until_waiting_where;
use cache_sync_tests::rows::{close, node_with, shown, stored};

/// T0 updates the row, T1 inserts the same key and waits, T0 deletes the row and commits, T1 commits.
#[tokio::test]
async fn commits_with_a_lower_version_than_the_deleted_rows() {
    let (db, client, cache) = node_with(1).await;
    for round in 1..=10 {
        cache.get(&1).await.unwrap();
        let (t0, t1) = (db.connect().await, db.connect().await);
        t0.batch_execute("BEGIN; UPDATE account SET note = 'doomed'").await.unwrap();
        let insert = format!("INSERT INTO account VALUES (1, 'inserted {round}') RETURNING cs_version");
        let inserting = tokio::spawn(async move { t1.query_one(&insert, &[]).await.unwrap().get::<_, i64>(0) });
        until_waiting_where(&db, 1, "query LIKE 'INSERT%'").await;
        let doomed = t0.query_one("UPDATE account SET balance = -1 RETURNING cs_version", &[]).await.unwrap();
        t0.batch_execute("DELETE FROM account").await.unwrap();
        cache.invalidate(&1);
        cache.get(&1).await.unwrap();
        t0.batch_execute("COMMIT").await.unwrap();
        let inserted = inserting.await.unwrap();
        assert!(inserted < doomed.get(0), "the scene is not what it should be");
        client.catch_up().await.unwrap();
        assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), format!("1|inserted {round}|0|"));
    }
    close(client).await;
}

/// The same without luck: the new row says itself that its version is lower than the one that is held.
#[tokio::test]
async fn a_new_row_with_a_lower_version_is_not_taken_for_an_old_one() {
    let (db, client, cache) = node_with(1).await;
    // What was there before the table was attached has no version yet.
    db.psql("UPDATE account SET note = 'versioned'");
    client.catch_up().await.unwrap();
    cache.get(&1).await.unwrap();
    db.psql_as_replica(
        "BEGIN;
         WITH old AS (DELETE FROM account RETURNING *)
         INSERT INTO account (id, name, cs_version) SELECT 2, name, 5 FROM old;
         INSERT INTO account (id, name, cs_version) VALUES (1, 'back', 7);
         COMMIT",
    );
    client.catch_up().await.unwrap();
    for id in [1, 2] {
        assert_eq!(shown(cache.get(&id).await.unwrap().as_deref()), stored(&db, id));
    }
    close(client).await;
}
