//! How fields merge.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::{Value, json};

async fn edit(batches: &mut Batches, stamp: i64, id: i64, fields: Value) -> String {
    let names: Vec<_> = fields.as_object().unwrap().keys().cloned().collect();
    let mut patch = fields;
    patch["#"] = json!(0);
    patch["@"] = json!(stamp);
    patch["id"] = json!(id);
    batches.verdicts(json!([{"op": "edit", "fields": names}]), &[json!([patch])]).await.remove(0)
}

fn texts(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text);
         SELECT cache_sync.attach('t', versioned => true);
         SET session_replication_role = replica; INSERT INTO t (id, cs_version) VALUES (1, 1), (2, 1)",
    );
}

#[tokio::test]
async fn the_last_write_of_a_field_wins_in_whatever_order_writes_arrive() {
    let db = Database::with_extension();
    texts(&db);
    let mut batches = Batches::open(&db, "t").await;
    let (early, late) = (json!({"a": "early", "b": "early"}), json!({"b": "late", "c": "late"}));
    assert_eq!(edit(&mut batches, 100, 1, early.clone()).await, "applied");
    assert_eq!(edit(&mut batches, 200, 1, late.clone()).await, "applied");
    assert_eq!(edit(&mut batches, 200, 2, late).await, "applied");
    assert_eq!(edit(&mut batches, 100, 2, early).await, "merged");
    assert_eq!(db.psql("SELECT DISTINCT a, b, c, cs_clock FROM t").lines().count(), 1);
    assert_eq!(db.psql("SELECT DISTINCT a, b, c FROM t"), "early|late|late");
}

#[tokio::test]
async fn of_equal_stamps_the_larger_value_wins_and_the_stamp_stays() {
    let db = Database::with_extension();
    texts(&db);
    let mut batches = Batches::open(&db, "t").await;
    edit(&mut batches, 300, 1, json!({"a": "x"})).await;
    edit(&mut batches, 300, 2, json!({"a": "y"})).await;
    assert_eq!(edit(&mut batches, 300, 1, json!({"a": "y"})).await, "applied");
    assert_eq!(edit(&mut batches, 300, 2, json!({"a": "x"})).await, "superseded");
    assert_eq!(edit(&mut batches, 300, 2, json!({"a": "y"})).await, "unchanged");
    assert_eq!(edit(&mut batches, 300, 2, json!({"a": null})).await, "superseded");
    assert_eq!(db.psql("SELECT DISTINCT a, cs_clock FROM t").lines().count(), 1);
    // Had the tie raised the stamp of row 1, this would lose there.
    assert_eq!(edit(&mut batches, 301, 1, json!({"a": "z"})).await, "applied");
    assert_eq!(edit(&mut batches, 301, 2, json!({"a": "z"})).await, "applied");
}

#[tokio::test]
async fn plain_sql_writes_now() {
    let db = Database::with_extension();
    texts(&db);
    let mut batches = Batches::open(&db, "t").await;
    let before = batches.now().await;
    db.psql("UPDATE t SET a = 'psql' WHERE id = 1");
    assert_eq!(edit(&mut batches, before, 1, json!({"a": "buffered"})).await, "superseded");
    // The other fields' stamps stayed where they were, although the version rose.
    assert_eq!(edit(&mut batches, before, 1, json!({"b": "buffered"})).await, "applied");
    assert_eq!(db.psql("SELECT a, b FROM t WHERE id = 1"), "psql|buffered");
}

/// A null clock says that every field has the version as its stamp. An UPDATE that sets only a counter raises the version;
/// were the clock left null, edits buffered before it would lose.
#[tokio::test]
async fn an_add_does_not_make_buffered_edits_lose() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
         SELECT cache_sync.attach('t', versioned => true, rules => '{\"n\": \"add\"}');
         INSERT INTO t (id, name) VALUES (1, 'old'), (2, 'old')",
    );
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    assert_eq!(edit(&mut batches, stamp, 1, json!({"n": 5})).await, "applied");
    db.psql("UPDATE t SET n = 5 WHERE id = 2");
    for id in [1, 2] {
        assert_eq!(edit(&mut batches, stamp, id, json!({"name": "buffered"})).await, "applied");
    }
    assert_eq!(db.psql("SELECT DISTINCT name, n FROM t"), "buffered|5");
}

#[tokio::test]
async fn a_program_that_writes_an_old_clock_back_changes_no_stamp() {
    let db = Database::with_extension();
    texts(&db);
    let mut batches = Batches::open(&db, "t").await;
    edit(&mut batches, 100, 1, json!({"a": "1"})).await;
    let old = db.psql("SELECT cs_clock FROM t WHERE id = 1");
    edit(&mut batches, 200, 1, json!({"a": "2", "b": "2"})).await;
    // It saves the whole row as it has read it, with one field changed.
    db.psql(&format!("UPDATE t SET a = '2', b = '2', c = 'saved', cs_clock = '{old}' WHERE id = 1"));
    assert_eq!(edit(&mut batches, 150, 1, json!({"a": "late", "b": "late"})).await, "superseded");
    db.psql("UPDATE t SET cs_clock = NULL, cs_version = 5 WHERE id = 1");
    assert_eq!(edit(&mut batches, 150, 1, json!({"a": "late", "b": "late"})).await, "superseded");
}

#[tokio::test]
async fn sums_are_made_in_the_columns_type() {
    let db = Database::with_extension();
    db.psql(
        "CREATE DOMAIN pos AS int CHECK (VALUE > 0);
         CREATE TABLE t (id int PRIMARY KEY, s int2, i int, l bigint, n numeric(6,2), iv interval, p pos);
         SELECT cache_sync.attach('t', true, '{\"s\":\"add\",\"i\":\"add\",\"l\":\"add\",\"n\":\"add\",\"iv\":\"add\",\"p\":\"add\"}');
         INSERT INTO t VALUES (1, -20000, 1, 1, 1.00, '1 day', 5); INSERT INTO t VALUES (2)",
    );
    let mut batches = Batches::open(&db, "t").await;
    let all = json!({"s": 40000, "i": 1, "l": 9223372036854775806_i64, "n": 0.5, "iv": "1 hour", "p": -4});
    assert_eq!(edit(&mut batches, 1, 1, all).await, "applied");
    assert_eq!(
        db.psql("SELECT s, i, l, n, iv, p FROM t WHERE id = 1"),
        "20000|2|9223372036854775807|1.50|1 day 01:00:00|1"
    );
    assert_eq!(edit(&mut batches, 1, 2, json!({"i": 7, "n": 1.25, "iv": "2 days"})).await, "applied");
    assert_eq!(db.psql("SELECT i, n, iv FROM t WHERE id = 2"), "7|1.25|2 days");
    assert_eq!(edit(&mut batches, 1, 1, json!({"i": 0, "n": null})).await, "unchanged");
    for (field, change, code) in [
        ("s", json!(20000), "22003"),
        ("i", json!(2147483647), "22003"),
        ("l", json!(1), "22003"),
        ("n", json!(9999), "22003"),
        ("p", json!(-1), "23514"),
    ] {
        assert_eq!(edit(&mut batches, 1, 1, json!({field: change})).await, format!("rejected {code}"), "{field}");
    }
}

#[tokio::test]
async fn a_put_leaves_counters_of_a_row_that_exists_alone_and_a_replacement_does_not() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, name text, n int, best int);
         SELECT cache_sync.attach('t', true, '{\"n\":\"add\",\"best\":\"max\"}');
         SET session_replication_role = replica; INSERT INTO t (id, name, n, best, cs_version) VALUES (1, 'old', 5, 9, 1), (2, 'old', 5, 9, 1)",
    );
    let mut batches = Batches::open(&db, "t").await;
    let put = json!([{"op": "put", "fields": ["name", "n"]}]);
    let rows =
        json!([{"#": 0, "@": 5, "id": 1, "name": "new", "n": 100}, {"#": 1, "@": 5, "id": 3, "name": "new", "n": 100}]);
    assert_eq!(batches.verdicts(put, &[rows]).await, ["applied", "applied"]);
    let replace = json!([{"op": "replace", "fields": ["name", "n", "best"]}]);
    let rows = json!([{"#": 0, "@": 5, "id": 2, "name": "new", "n": 100, "best": 1}]);
    assert_eq!(batches.verdicts(replace, &[rows]).await, ["applied"]);
    assert_eq!(db.psql("SELECT id, name, n, best FROM t ORDER BY id"), "1|new|5|9\n2|new|100|1\n3|new|100|");
}

#[tokio::test]
async fn plain_tables_have_rules_that_need_no_stamps() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, lo date, p point);
         SELECT cache_sync.attach('t', rules => '{\"lo\": {\"rule\": \"min\"}}'); INSERT INTO t VALUES (1, 'x', '2020-01-01')",
    );
    let mut batches = Batches::open(&db, "t").await;
    assert_eq!(edit(&mut batches, 0, 1, json!({"a": "y", "p": "(1,2)"})).await, "applied");
    assert_eq!(edit(&mut batches, 0, 1, json!({"a": "y", "p": "(1,2)"})).await, "unchanged");
    assert_eq!(edit(&mut batches, 0, 1, json!({"lo": "2021-01-01"})).await, "superseded");
    assert_eq!(edit(&mut batches, 0, 1, json!({"lo": "2019-01-01"})).await, "applied");
    let records = batches.send(json!([{"op": "delete"}]), &[json!([{"#": 0, "id": 1}])]).await.unwrap();
    assert_eq!((records[0].verdict.as_str(), records[0].replaced.0), ("applied", 0));
}

#[tokio::test]
async fn a_changed_rule_holds_from_the_next_batch_on() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, n int); SELECT cache_sync.attach('t', true); INSERT INTO t VALUES (1, 5)",
    );
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    assert_eq!(edit(&mut batches, stamp, 1, json!({"n": 7})).await, "applied");
    db.psql("SELECT cache_sync.set_rule('t', 'n', '\"add\"')");
    assert_eq!(edit(&mut batches, stamp, 1, json!({"n": 7})).await, "applied");
    db.psql("SELECT cache_sync.set_rule('t', 'n', '\"max\"')");
    assert_eq!(edit(&mut batches, stamp, 1, json!({"n": 7})).await, "superseded");
    assert_eq!(db.psql("SELECT n FROM t"), "14");
}

/// Each field of a patch may have been written at its own time; the fields' names may be as long as names can be.
#[tokio::test]
async fn each_field_has_its_own_stamp() {
    let db = Database::with_extension();
    let (early, late) = ("e".repeat(63), format!("{}x", "e".repeat(62)));
    db.psql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, {early} text, {late} text);
         SELECT cache_sync.attach('t', versioned => true); SET session_replication_role = replica; INSERT INTO t (id, cs_version) VALUES (1, 1), (2, 1)"
    ));
    let number = |name: &str| db.psql(&format!("SELECT field_id FROM cache_sync.field WHERE name = '{name}'"));
    let (early_stamp, late_stamp) = (format!("@{}", number(&early)), format!("@{}", number(&late)));
    let mut batches = Batches::open(&db, "t").await;
    let edit = json!([{"op": "edit", "fields": [&early, &late], "stamps": "each"}]);
    let patch = |value: &str, stamps: (i64, i64)| json!([{"#": 0, "id": 1, "@": 0, &early: value, &late: value, &early_stamp: stamps.0, &late_stamp: stamps.1}]);
    assert_eq!(batches.verdicts(edit.clone(), &[patch("first", (100, 300))]).await, ["applied"]);
    assert_eq!(batches.verdicts(edit.clone(), &[patch("second", (200, 200))]).await, ["merged"]);
    assert_eq!(
        db.psql("SELECT * FROM t WHERE id = 1").split('|').take(3).collect::<Vec<_>>(),
        ["1", "second", "first"]
    );
    assert_eq!(batches.verdicts(edit, &[patch("third", (150, 250))]).await, ["superseded"]);
}

/// A stamp of 0 is as old as a stamp can be, and a stored one that nobody believes counts as no newer.
#[tokio::test]
async fn a_stamp_of_zero_ties_with_what_is_not_believed() {
    let db = Database::with_extension();
    texts(&db);
    db.psql_as_replica("INSERT INTO t (id, a, cs_version) VALUES (3, 'a', 9223372036854775807)");
    let mut batches = Batches::open(&db, "t").await;
    assert_eq!(edit(&mut batches, 0, 3, json!({"a": "b"})).await, "applied", "the larger value");
    assert_eq!(edit(&mut batches, 0, 3, json!({"a": "a"})).await, "superseded");
    assert_eq!(edit(&mut batches, 1, 3, json!({"a": "a"})).await, "applied");
}
