//! Who may only delete sends batches of deletions: to lock their rows ahead takes the right to UPDATE, which he does not need.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

/// Several shapes are locked ahead, and so are the rows of a batch in which one has expired, or of which a patch was refused.
#[tokio::test]
async fn deletions_take_the_right_to_delete_alone() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, gone timestamptz);
         INSERT INTO t SELECT n, 'x', CASE WHEN n > 8 THEN now() - interval '1 minute' END FROM generate_series(1, 10) n;
         CREATE TABLE child (id int REFERENCES t); INSERT INTO child VALUES (5);
         SELECT cache_sync.attach('t', true), cache_sync.set_expiry('t', 'gone');
         CREATE ROLE remover LOGIN IN ROLE cache_sync_user; GRANT SELECT, DELETE ON t TO remover",
    );
    let mut batches = Batches::open_as(&db.dsn_as("remover"), "t").await;
    let now = batches.now().await;
    let shapes = json!([{"op": "delete"}, {"op": "delete", "stamps": "each"}]);
    let delete = |place: usize, id: i64| json!({"#": place, "@": now, "id": id});
    let rows = [json!([delete(0, 3), delete(1, 1), delete(2, 77)]), json!([delete(3, 2), delete(4, 5)])];
    let verdicts = batches.verdicts(shapes.clone(), &rows).await;
    assert_eq!(verdicts, ["applied", "applied", "missing", "applied", "rejected 23503"]);
    let rows = [json!([delete(0, 9), delete(1, 4)]), json!([delete(2, 10)])];
    assert_eq!(batches.verdicts(shapes, &rows).await, ["missing", "applied", "missing"]);
    assert_eq!(db.psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "5,6,7,8");
    // What changes a row still takes the right to.
    let edit = json!([{"op": "edit", "fields": ["a"]}, {"op": "delete"}]);
    let rows = [json!([{"#": 0, "@": now, "id": 6, "a": "y"}]), json!([delete(1, 7)])];
    assert_eq!(batches.refusal(edit, &rows).await, "42501");
}
