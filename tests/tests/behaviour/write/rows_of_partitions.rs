//! Partitioned tables, and rows with versions that nobody would believe.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

fn partitioned(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (100);
         CREATE TABLE high (junk int, v text, id int NOT NULL PRIMARY KEY); ALTER TABLE high DROP junk;
         ALTER TABLE t ATTACH PARTITION high FOR VALUES FROM (100) TO (200);
         SELECT cache_sync.attach('t', true)",
    );
}

#[tokio::test]
async fn partitions_are_written_through_their_table() {
    let db = Database::with_extension();
    partitioned(&db);
    db.psql("CREATE TABLE later PARTITION OF t FOR VALUES FROM (200) TO (300)");
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    let put = json!([{"op": "put", "fields": ["v"]}]);
    let rows = |value: &str, stamp: i64| {
        json!([
            {"#": 0, "@": stamp, "id": 150, "v": value},
            {"#": 1, "@": stamp, "id": 50, "v": value},
            {"#": 2, "@": stamp, "id": 250, "v": value},
        ])
    };
    assert_eq!(batches.verdicts(put.clone(), &[rows("a", stamp)]).await, ["applied"; 3]);
    assert_eq!(batches.verdicts(put.clone(), &[rows("b", stamp + 1)]).await, ["applied"; 3]);
    assert_eq!(batches.verdicts(put, &[rows("c", stamp)]).await, ["superseded"; 3]);
    assert_eq!(db.psql("SELECT DISTINCT v FROM t"), "b");
}

#[tokio::test]
async fn a_row_that_moves_keeps_its_stamps_and_gets_a_version() {
    let db = Database::with_extension();
    partitioned(&db);
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    let put = json!([{"op": "put", "fields": ["v"]}]);
    let row = |id: i64, stamp: i64, value: &str| [json!([{"#": 0, "@": stamp, "id": id, "v": value}])];
    batches.send(put.clone(), &row(50, stamp, "a")).await.unwrap();
    let before: i64 = db.psql("SELECT cs_version FROM t").parse().unwrap();
    db.psql("UPDATE t SET id = 150");
    assert!(db.psql("SELECT cs_version FROM high").parse::<i64>().unwrap() > before);
    assert_eq!(batches.verdicts(put.clone(), &row(150, stamp - 1, "older")).await, ["superseded"]);
    assert_eq!(batches.verdicts(put, &row(150, stamp + 1, "newer")).await, ["applied"]);
}

/// Somebody restored a row from elsewhere, or inserted the largest number there is: neither the row's next version nor
/// the stamps of its fields may be kept from rising.
#[tokio::test]
async fn a_version_that_nobody_would_believe_poisons_nobody() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t', true);
         INSERT INTO t VALUES (1, 'x', 9223372036854775807), (2, 'x', 9223372036854775807), (3, 'x', NULL), (4, 'x', -5);
         UPDATE t SET v = 'y' WHERE id = 1",
    );
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    let rows: Vec<_> = (1..=4).map(|id| json!({"#": id - 1, "@": stamp, "id": id, "v": "z"})).collect();
    let edit = json!([{"op": "edit", "fields": ["v"]}]);
    assert_eq!(batches.verdicts(edit.clone(), &[json!(rows)]).await, ["applied"; 4]);
    let ahead = db.psql(&format!("SELECT count(*) FROM t WHERE cs_version NOT BETWEEN {stamp} AND cache_sync.hlc()"));
    assert_eq!(ahead, "0");
    // Nor a stamp.
    let records = batches.send(edit, &[json!([{"#": 0, "@": i64::MAX, "id": 1, "v": "ahead"}])]).await.unwrap();
    assert!(records[0].lowered);
    db.psql("UPDATE t SET v = 'later' WHERE id = 1");
    let again = json!([{"op": "edit", "fields": ["v"]}]);
    let now = batches.now().await;
    assert_eq!(batches.verdicts(again, &[json!([{"#": 0, "@": now, "id": 1, "v": "last"}])]).await, ["applied"]);
}
