//! A node that ends says what it could not write.

#![allow(clippy::unwrap_used)]

use cache_sync::{Cache, Patch};
use cache_sync_examples::{close, make_anew, two_nodes};
use cache_sync_tests::Database;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Score {
    points: i64,
}

#[tokio::test]
async fn what_postgres_may_not_have_is_an_error_and_every_node_is_closed() {
    let db = Database::with_extension();
    let table = r#"CREATE TABLE score (name text PRIMARY KEY, points bigint NOT NULL);
                   SELECT cache_sync.attach('score', versioned => true, rules => '{"points": "add"}');
                   INSERT INTO score VALUES ('ann', 1)"#;
    let sql = make_anew(&db.dsn(), table).await.unwrap();
    let [one, other] = two_nodes(&db.dsn()).await.unwrap();
    let scores: Cache<String, Score> = one.cache("score").open().await.unwrap();
    sql.batch_execute("BEGIN; UPDATE score SET points = 2").await.unwrap();
    drop(scores.patch("ann", Patch::new().add("points", 5)).await.unwrap());
    let error = close([one, other.clone()]).await.unwrap_err().to_string();
    assert_eq!(error, "Postgres may not have 1 of the writes, the first of them to public.score");
    assert!(other.token().await.is_err_and(|error| error.is_closed()));
    sql.batch_execute("COMMIT").await.unwrap();
    // Nothing is left of those that have written all.
    let nodes = two_nodes(&db.dsn()).await.unwrap();
    let scores: Cache<String, Score> = nodes[0].cache("score").open().await.unwrap();
    drop(scores.patch("ann", Patch::new().add("points", 5)).await.unwrap());
    close(nodes).await.unwrap();
}
