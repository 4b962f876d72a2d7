//! When the parts of a document were written is kept, however they come, and believed only as far as it is plausible.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::{Value, json};

async fn make(db: &Database<'_>) -> (Batches, i64) {
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, doc jsonb, n float8, j json);
         SELECT cache_sync.attach('t', versioned => true, rules => '{\"doc\": \"json\"}')",
    );
    let batches = Batches::open(db, "t").await;
    let now = batches.now().await;
    (batches, now - 1_000)
}

fn put(doc: Value, stamps: &str) -> (Value, [Value; 1]) {
    (json!([{"op": "put", "fields": ["doc"], "stamps": stamps}]), [json!([{"#": 0, "@": 0, "id": 1, "doc": doc}])])
}

/// Two writes of a client were put together and created the row; one of somebody else's lies between them. It had lost to
/// the later of the two in all that the row has.
#[tokio::test]
async fn a_row_that_several_writes_create_keeps_the_time_of_each() {
    let db = Database::with_extension();
    let (mut batches, now) = make(&db).await;
    let (shape, rows) = put(json!([[now, {"a": 1, "c": 1}], [now + 4, {"b": 1, "c": null}]]), "each");
    assert_eq!(batches.verdicts(shape, &rows).await, ["applied"]);
    assert_eq!(db.psql("SELECT doc FROM t"), r#"{"a": 1, "b": 1}"#);
    let (shape, rows) = put(json!([[now + 2, {"a": 2, "b": 2, "c": 2}]]), "each");
    assert_eq!(batches.verdicts(shape, &rows).await, ["merged"]);
    assert_eq!(db.psql("SELECT doc FROM t"), r#"{"a": 2, "b": 1}"#);
}

#[tokio::test]
async fn a_patch_is_put_together_of_so_many_at_most() {
    let db = Database::with_extension();
    let (mut batches, now) = make(&db).await;
    let parts: Vec<_> = (0..10_001).map(|_| json!([now, {}])).collect();
    for doc in [json!(parts), json!([])] {
        let (shape, rows) = put(doc, "each");
        let verdict = batches.verdicts(shape, &rows).await;
        assert!(verdict[0].starts_with("rejected"), "{verdict:?}");
    }
    assert_eq!(db.psql("SELECT count(*) FROM t"), "0");
}

/// Clocks can be written by whoever may INSERT. One that is none counts as none; a stamp from the far future makes neither
/// a put, nor a replacement, nor a deletion lose for ever, and hides no plausible one beside it.
#[tokio::test]
async fn what_is_written_into_a_clock_holds_up_nobody() {
    let db = Database::with_extension();
    let (mut batches, now) = make(&db).await;
    let field = "SELECT field_id FROM cache_sync.field WHERE name = 'doc'";
    let id: i16 = db.psql(field).parse().unwrap();
    let clock = |path: &str, stamp: i64| {
        let base = now.to_be_bytes();
        let path: Vec<u8> = path.bytes().collect();
        let head = [&[2u8][..], &base, &[0, 0], &id.to_be_bytes(), &(path.len() as u16).to_be_bytes()].concat();
        let bytes = [&head[..], &path, &stamp.to_be_bytes()].concat();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    for path in ["", "a", "\0a"] {
        for (op, doc) in [("put", json!({"a": 2})), ("replace", json!({"a": 3})), ("delete", Value::Null)] {
            let forged = clock(path, i64::MAX);
            db.psql(&format!(
                "SET session_replication_role = replica; DELETE FROM t; INSERT INTO t (id, doc, cs_version, cs_clock) VALUES (1, '{{\"a\": 1}}', {now}, '\\x{forged}')"
            ));
            let shape = if op == "delete" { json!([{"op": op}]) } else { json!([{"op": op, "fields": ["doc"]}]) };
            let mut row = json!({"#": 0, "@": now + 5, "id": 1});
            if op != "delete" {
                row["doc"] = doc;
            }
            assert_eq!(batches.verdicts(shape, &[json!([row])]).await, ["applied"], "{op} over {path:?}");
        }
    }
    let plausible = clock("\0a", now + 9);
    db.psql(&format!(
        "SET session_replication_role = replica; INSERT INTO t (id, doc, cs_version, cs_clock) VALUES (1, '{{\"a\": 1}}', {now}, '\\x{plausible}')"
    ));
    let row = json!([{"#": 0, "@": now + 5, "id": 1, "doc": {"a": 3}}]);
    assert_eq!(batches.verdicts(json!([{"op": "replace", "fields": ["doc"]}]), &[row]).await, ["superseded"]);
}

/// A document in a patch changes nothing of how the other fields beside it are read.
#[tokio::test]
async fn fields_beside_a_document_come_as_they_were_written() {
    let db = Database::with_extension();
    let (mut batches, now) = make(&db).await;
    let shape = json!({"op": "put", "fields": ["doc", "n", "j"]});
    let row = format!(r##"[{{"#":0,"@":{now},"id":1,"doc":{{"b":1}},"n":-0.0,"j":{{"z": 1,  "a":2, "z":3}}}}]"##);
    assert_eq!(batches.verdicts_of_text(shape, &row).await.unwrap(), ["applied"]);
    assert_eq!(db.psql("SELECT doc, n, j FROM t"), r#"{"b": 1}|-0|{"z": 1,  "a":2, "z":3}"#);
}
