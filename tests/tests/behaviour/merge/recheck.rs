//! A batch waits for a row that somebody else is changing, and then looks at it again: each field is decided by what the
//! row is then.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::locks::until_waiting;
use serde_json::json;

const PLAIN: &str = "CREATE TABLE t (id int PRIMARY KEY, b text, a text)";

/// The partition's columns have other numbers than the table's.
const PARTITIONED: &str = "
    CREATE TABLE t (id int PRIMARY KEY, b text, a text) PARTITION BY RANGE (id);
    CREATE TABLE part (junk int, a text, b text, id int NOT NULL PRIMARY KEY); ALTER TABLE part DROP junk;
    ALTER TABLE t ATTACH PARTITION part FOR VALUES FROM (0) TO (100)";

/// While a batch of three puts waits for the second row, its holder commits `change`.
async fn race(schema: &str, change: &str) -> (Vec<String>, String) {
    let db = Database::with_extension();
    db.psql(schema);
    db.psql(
        "SELECT cache_sync.attach('t', versioned => true);
         SET session_replication_role = replica; INSERT INTO t (id, a, b, cs_version) VALUES (1, 'old', 'old', 1), (2, 'old', 'old', 1), (3, 'old', 'old', 1)",
    );
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    let holder = db.connect().await;
    holder.batch_execute(&format!("BEGIN; UPDATE t SET {change} WHERE id = 2")).await.unwrap();
    let rows: Vec<_> = (1..=3).map(|id| json!({"#": id - 1, "@": stamp, "id": id, "a": "new", "b": "new"})).collect();
    let rows = [json!(rows)];
    let send = batches.verdicts(json!([{"op": "edit", "fields": ["a", "b"]}]), &rows);
    let commit = async {
        until_waiting(&db, 1).await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (verdicts, ()) = tokio::join!(send, commit);
    (verdicts, db.psql("SELECT id, a, b FROM t ORDER BY id"))
}

#[tokio::test]
async fn a_field_that_was_written_later_stays_and_the_other_is_taken() {
    for schema in [PLAIN, PARTITIONED] {
        let (verdicts, rows) = race(schema, "a = 'theirs'").await;
        assert_eq!(verdicts, ["applied", "merged", "applied"]);
        assert_eq!(rows, "1|new|new\n2|theirs|new\n3|new|new");
    }
}

#[tokio::test]
async fn a_row_that_was_written_later_stays_as_it_is() {
    for schema in [PLAIN, PARTITIONED] {
        let (verdicts, rows) = race(schema, "a = 'theirs', b = 'theirs'").await;
        assert_eq!(verdicts, ["applied", "superseded", "applied"]);
        assert_eq!(rows, "1|new|new\n2|theirs|theirs\n3|new|new");
    }
}
