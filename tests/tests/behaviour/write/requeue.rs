//! Dead letters are tried again or thrown away: as old as they were, and not over what was written since.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::{Value, json};

/// Makes a table and one dead letter, of an edit that was made at `stamp`.
async fn with_letter(db: &Database<'_>, batches: &mut Batches, stamp: i64) -> String {
    let rows = [json!([{"#": 0, "@": stamp, "id": 1, "a": "refused", "n": -1}])];
    let verdicts = batches.verdicts(json!([{"op": "edit", "fields": ["a", "n"]}]), &rows).await;
    assert_eq!(verdicts, ["rejected 23514"]);
    db.psql("SELECT max(id) FROM cache_sync.dead_letters")
}

fn checked_table(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, n int CONSTRAINT positive CHECK (n >= 0));
         SELECT cache_sync.attach('t', true); SET session_replication_role = replica; INSERT INTO t (id, cs_version) VALUES (1, 100)",
    );
}

fn requeue(db: &Database<'_>, letter: &str, force: bool) -> String {
    db.psql(&format!("SELECT outcome, row_after->>'a' FROM cache_sync.requeue_dead_letter({letter}, {force})"))
}

fn letters(db: &Database<'_>) -> String {
    db.psql("SELECT count(*) FROM cache_sync.dead_letters")
}

#[tokio::test]
async fn a_requeued_patch_is_as_old_as_it_was() {
    let db = Database::with_extension();
    checked_table(&db);
    let mut batches = Batches::open(&db, "t").await;
    let (stamp, later) = (batches.now().await, batches.now().await);
    let letter = with_letter(&db, &mut batches, stamp).await;
    let error = db.psql_error(&format!("SELECT cache_sync.requeue_dead_letter({letter})"));
    assert!(error.contains("23514"), "{error}");
    assert_eq!(letters(&db), "1", "it fails again and stays");
    db.psql("ALTER TABLE t DROP CONSTRAINT positive");
    assert_eq!(requeue(&db, &letter, false), "applied|refused");
    assert_eq!(letters(&db), "0");
    let error = db.psql_error(&format!("SELECT cache_sync.requeue_dead_letter({letter})"));
    assert!(error.contains("P0002"), "{error}");
    // An edit that was made after it, though long before it was requeued.
    let edit = json!([{"op": "edit", "fields": ["a"]}]);
    let rows = [json!([{"#": 0, "@": later, "id": 1, "a": "later"}])];
    assert_eq!(batches.verdicts(edit, &rows).await, ["applied"]);
}

#[tokio::test]
async fn a_row_that_was_written_since_is_a_conflict_unless_forced() {
    let db = Database::with_extension();
    checked_table(&db);
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    let letter = with_letter(&db, &mut batches, stamp).await;
    db.psql("ALTER TABLE t DROP CONSTRAINT positive; UPDATE t SET a = 'since'");
    assert_eq!(requeue(&db, &letter, false), "conflict|since");
    assert_eq!(letters(&db), "1");
    let before = batches.now().await;
    assert_eq!(requeue(&db, &letter, true), "applied|refused");
    assert_eq!(letters(&db), "0");
    let edit = json!([{"op": "edit", "fields": ["a"]}]);
    let rows = [json!([{"#": 0, "@": before, "id": 1, "a": "buffered"}])];
    assert_eq!(batches.verdicts(edit, &rows).await, ["superseded"], "forced, it is written now");
    assert_eq!(db.psql("SELECT n FROM t"), "-1");
}

/// A put was refused, and then somebody else made the row.
#[tokio::test]
async fn a_row_that_was_made_since_is_a_conflict() {
    for versioned in [true, false] {
        let db = Database::with_extension();
        db.psql(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, a text, n int CONSTRAINT positive CHECK (n >= 0));
             SELECT cache_sync.attach('t', {versioned})"
        ));
        let mut batches = Batches::open(&db, "t").await;
        let rows = [json!([{"#": 0, "@": 200, "id": 1, "a": "refused", "n": -1}])];
        let verdicts = batches.verdicts(json!([{"op": "put", "fields": ["a", "n"]}]), &rows).await;
        assert_eq!(verdicts, ["rejected 23514"]);
        db.psql("ALTER TABLE t DROP CONSTRAINT positive; INSERT INTO t (id, a) VALUES (1, 'theirs')");
        let letter = db.psql("SELECT id FROM cache_sync.dead_letters");
        assert_eq!(requeue(&db, &letter, false), "conflict|theirs");
        assert_eq!(requeue(&db, &letter, true), "applied|refused");
    }
}

#[tokio::test]
async fn a_patch_may_be_discarded_by_who_may_see_it() {
    let db = Database::with_extension();
    checked_table(&db);
    db.psql("CREATE ROLE clerk LOGIN IN ROLE cache_sync_user; CREATE ROLE stranger LOGIN IN ROLE cache_sync_user; GRANT SELECT ON t TO clerk");
    let mut batches = Batches::open(&db, "t").await;
    let letter = with_letter(&db, &mut batches, 200).await;
    let discard = format!("SELECT cache_sync.discard_dead_letter({letter})");
    let requeue = format!("SELECT outcome FROM cache_sync.requeue_dead_letter({letter}, true)");
    assert_eq!(db.psql(&format!("SET ROLE stranger; {discard}")), "f");
    assert!(db.psql_error(&format!("SET ROLE stranger; {requeue}")).contains("P0002"));
    assert!(db.psql_error(&format!("SET ROLE clerk; {requeue}")).contains("42501"), "a clerk may read only");
    assert_eq!(letters(&db), "1");
    assert_eq!(db.psql(&discard), "t");
    assert_eq!(db.psql(&discard), "f");
    assert_eq!(letters(&db), "0");
}

/// A put that made no row and a compare-and-set keep all that they need.
#[tokio::test]
async fn every_kind_of_patch_can_be_requeued() {
    let db = Database::with_extension();
    checked_table(&db);
    let mut batches = Batches::open(&db, "t").await;
    db.psql_as_replica("INSERT INTO t (id, cs_version) VALUES (4, 100), (5, 100)");
    let stamp = batches.now().await;
    let shapes = json!([
        {"op": "put", "fields": ["a", "n"]}, {"op": "put", "seen": true, "fields": ["a", "n"], "stamps": "each"},
        {"op": "replace", "fields": ["a", "n"]}, {"op": "compare_and_set", "fields": ["a", "n"]},
    ]);
    let rows = [
        json!([{"#": 0, "@": stamp, "id": 2, "a": "put", "n": -1}]),
        json!([{"#": 1, "@1": stamp, "@2": stamp, "id": 4, "a": "seen put", "n": -1}]),
        json!([{"#": 2, "@": stamp, "id": 3, "a": "replaced", "n": -1}]),
        json!([{"#": 3, "=": 100, "id": 5, "a": "compared", "n": -1}]),
    ];
    assert_eq!(batches.verdicts(shapes, &rows).await, ["rejected 23514"; 4]);
    db.psql("ALTER TABLE t DROP CONSTRAINT positive");
    let all = "SELECT string_agg((cache_sync.requeue_dead_letter(id)).outcome, ',' ORDER BY ord) FROM cache_sync.dead_letters";
    assert_eq!(db.psql(all), "applied,applied,applied,applied");
    assert_eq!(letters(&db), "0");
    assert_eq!(
        db.psql("SELECT id, a, n FROM t WHERE id > 1 ORDER BY id"),
        "2|put|-1\n3|replaced|-1\n4|seen put|-1\n5|compared|-1"
    );
}

/// Somebody requeued the letters of a plain table, a day later, and what others had written since was gone without a word. Nothing tells there
/// when a row was written, so what could be overwritten is a conflict; what only adds or collects is not.
#[tokio::test]
async fn in_a_plain_table_whatever_would_be_overwritten_is_a_conflict() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, n int, best int, log int[], gone timestamptz, ok boolean CONSTRAINT fine CHECK (ok));
         SELECT cache_sync.attach('t', rules => '{\"n\": \"add\", \"best\": \"max\", \"log\": \"append\", \"ok\": \"max\"}');
         INSERT INTO t SELECT n, 'theirs', 1, 1, '{1}' FROM generate_series(1, 9) n;
         CREATE TABLE child (id int REFERENCES t); INSERT INTO child VALUES (4)",
    );
    let mut batches = Batches::open(&db, "t").await;
    // What is refused, and what becomes of it over a row that is there, and where there is none.
    let cases = [
        (
            json!({"op": "edit", "fields": ["a", "ok"]}),
            json!({"id": 1, "a": "ours", "ok": false}),
            "conflict",
            "missing",
        ),
        (
            json!({"op": "edit", "fields": ["n", "ok", "best", "log"]}),
            json!({"id": 2, "n": 2, "ok": false, "best": 2, "log": [2]}),
            "applied",
            "missing",
        ),
        (json!({"op": "put", "fields": ["n", "ok"]}), json!({"id": 3, "n": 2, "ok": false}), "applied", "applied"),
        (json!({"op": "delete"}), json!({"id": 4}), "conflict", "missing"),
        (json!({"op": "replace", "fields": ["n", "ok"]}), json!({"id": 5, "n": 2, "ok": false}), "conflict", "applied"),
    ];
    let shapes: Vec<_> = cases.iter().map(|case| case.0.clone()).collect();
    let rows: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(place, case)| {
            let mut row = case.1.clone();
            row["#"] = json!(place);
            json!([row])
        })
        .collect();
    let refused = ["rejected 23514", "rejected 23514", "rejected 23514", "rejected 23503", "rejected 23514"];
    assert_eq!(batches.verdicts(json!(shapes), &rows).await, refused);
    assert_eq!(batches.verdicts(json!(shapes), &rows).await, refused);
    db.psql("ALTER TABLE t DROP CONSTRAINT fine; DELETE FROM child");
    let all = |seq: i64| {
        db.psql(&format!("SELECT string_agg((cache_sync.requeue_dead_letter(id)).outcome, ',' ORDER BY ord) FROM cache_sync.dead_letters WHERE seq = {seq}"))
    };
    let expected = |at: fn(&(Value, Value, &'static str, &'static str)) -> &'static str| {
        cases.iter().map(at).collect::<Vec<_>>().join(",")
    };
    assert_eq!(all(1), expected(|case| case.2));
    assert_eq!(
        db.psql("SELECT id, a, n, best, log FROM t WHERE id < 6 ORDER BY id"),
        "1|theirs|1|1|{1}\n2|theirs|3|2|{1,2}\n3|theirs|1|1|{1}\n4|theirs|1|1|{1}\n5|theirs|1|1|{1}"
    );
    // A row that has expired is as good as gone.
    db.psql("SELECT cache_sync.set_expiry('t', 'gone'); UPDATE t SET gone = now() - interval '1 minute'");
    assert_eq!(all(2), expected(|case| case.3));
    assert_eq!(db.psql("SELECT id, a, n FROM t WHERE gone IS NULL ORDER BY id"), "3||2\n5||2");
}
