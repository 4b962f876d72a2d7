//! A rule changes while nodes know the one of before: what they send is read as what it was made as.

use cache_sync::Verdict;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::rows::{Account, accounts, client, close, make_accounts, open, shown, stored};
use cache_sync_tests::{Database, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

/// A column, the rule that the writer knew, the rule by now, the row's value, what an edit brings, and what becomes of it.
type Case = (&'static str, Value, Value, Value, Value, Value);

fn cases() -> Vec<Case> {
    let n = |written: &str, present: &str, incoming: i32, after: i32| -> Case {
        ("n", json!(written), json!(present), json!(5), json!(incoming), json!(after))
    };
    let doc = |written: Value, present: Value, row: Value, incoming: Value, after: Value| -> Case {
        ("doc", written, present, row, incoming, after)
    };
    let (a, b, change) = (json!(["a"]), json!(["b"]), json!({"add": ["b"], "remove": ["a"]}));
    vec![
        n("lww", "add", 7, 7),
        n("arrival", "add", 7, 7),
        n("add", "lww", 2, 7),
        n("add", "arrival", 2, 7),
        n("add", "first", 2, 7),
        n("add", "max", -2, 3),
        n("max", "add", 9, 9),
        n("max", "add", 3, 5),
        n("max", "lww", 3, 3),
        n("lww", "max", 3, 5),
        n("lww", "first", 3, 5),
        doc(json!("append"), json!("lww"), a.clone(), b.clone(), json!(["a", "b"])),
        doc(json!("append"), json!("union"), a.clone(), a.clone(), json!(["a", "a"])),
        doc(json!("append"), json!({"rule": "append", "cap": 1}), a.clone(), b.clone(), b.clone()),
        doc(json!("lww"), json!("append"), a.clone(), b.clone(), b.clone()),
        doc(json!("lww"), json!("union"), a.clone(), b.clone(), b.clone()),
        doc(json!("union"), json!("append"), a.clone(), change.clone(), b.clone()),
        doc(json!("union"), json!("lww"), a.clone(), change, b),
        doc(json!("json"), json!("lww"), json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3, "b": 2})),
        doc(json!("json"), json!("arrival"), json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2})),
        doc(json!("lww"), json!("json"), json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3})),
        doc(
            json!({"rule": "json", "depth": 1}),
            json!("json"),
            json!({"a": {"x": 1}}),
            json!({"a": {"y": 2}}),
            json!({"a": {"y": 2}}),
        ),
        doc(
            json!({"rule": "json", "members": {"n": "add", "top": "lww"}}),
            json!({"rule": "json", "members": {"top": "max"}}),
            json!({"n": 5, "top": 5}),
            json!({"n": 1, "top": 1}),
            json!({"n": 6, "top": 5}),
        ),
    ]
}

async fn make(db: &Database<'_>) -> Batches {
    make_of(db, "n int, doc jsonb, note text").await
}

async fn make_of(db: &Database<'_>, columns: &str) -> Batches {
    db.psql(&format!(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, {columns});
         SELECT cache_sync.attach('t', versioned => true)"
    ));
    Batches::open(db, "t").await
}

fn set(db: &Database<'_>, field: &str, rule: &Value) {
    db.psql(&format!("SELECT cache_sync.set_rule('t', '{field}', '{rule}')"));
}

/// Beside others with stamps, and alone, so that the table has no field with stamps any more.
#[tokio::test]
async fn a_patch_means_what_its_writer_meant() {
    let db = Database::with_extension();
    for (field, written, present, row, incoming, after) in cases() {
        for (stamps, beside) in [("one", ", note text"), ("each", ", note text"), ("one", ""), ("each", "")] {
            let case = format!("{field}{beside}: {incoming} made under {written} meets {present}, stamps {stamps}");
            let ty = if field == "n" { "int" } else { "jsonb" };
            let mut batches = make_of(&db, &format!("{field} {ty}{beside}")).await;
            set(&db, field, &written);
            db.psql(&format!("INSERT INTO t (id, {field}) VALUES (1, '{row}')"));
            set(&db, field, &present);
            let stamp = batches.now().await;
            let shape = json!([{"op": "edit", "fields": [field], "rules": {field: written}, "stamps": stamps}]);
            let is_dated = stamps == "each" && (written == "json" || written["rule"] == "json");
            let brought = if is_dated { json!([[stamp, incoming]]) } else { incoming.clone() };
            let mut patch = json!({"#": 0, "id": 1, "@": stamp, field: brought});
            if stamps == "each" && !is_dated {
                patch["@1"] = json!(stamp);
            }
            let records =
                batches.send(shape, &[json!([patch])]).await.unwrap_or_else(|error| panic!("{case}: {error}"));
            let read = db.psql(&format!("SELECT to_jsonb({field}) FROM t"));
            assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), after, "{case}");
            assert!(!records[0].exact, "{case}");
            // What is marked in a clock is for the trigger only.
            assert_eq!(db.psql("SELECT cs_clock FROM t WHERE get_byte(cs_clock, 0) >= 128"), "", "{case}");
        }
    }
    assert_eq!(db.psql("SELECT problem FROM cache_sync.check_tables()"), "");
}

/// A value of an old node sets a counter; it says nothing of the other fields.
#[tokio::test]
async fn what_a_patch_does_not_carry_keeps_its_stamp() {
    let db = Database::with_extension();
    let mut batches = make_of(&db, "n int, note text").await;
    set(&db, "n", &json!("add"));
    db.psql("INSERT INTO t (id, n, note) VALUES (1, 5, 'x')");
    let (first, second) = (batches.now().await, batches.now().await);
    let value = |stamp: i64, n: i32| [json!([{"#": 0, "id": 1, "@": stamp, "n": n}])];
    let old = json!([{"op": "edit", "fields": ["n"], "rules": {"n": "lww"}}]);
    assert_eq!(batches.verdicts(old.clone(), &value(second, 20)).await, ["applied"]);
    let note = json!([{"op": "edit", "fields": ["note"]}]);
    let rows = [json!([{"#": 0, "id": 1, "@": first, "note": "y"}])];
    assert_eq!(batches.verdicts(note, &rows).await, ["applied"]);
    // Nobody keeps when a counter was written: the last one to arrive counts.
    assert_eq!(batches.verdicts(old, &value(first, 10)).await, ["applied"]);
    assert_eq!(db.psql("SELECT n, note FROM t"), "10|y");
}

/// A put brings values, and leaves alone what counts by now, in columns as in documents.
#[tokio::test]
async fn a_put_of_an_old_node_leaves_counters_alone() {
    let db = Database::with_extension();
    let mut batches = make_of(&db, "n int, doc jsonb").await;
    db.psql("INSERT INTO t (id, n, doc) VALUES (1, 5, '{\"n\": 5, \"t\": 1}')");
    set(&db, "n", &json!("add"));
    set(&db, "doc", &json!({"rule": "json", "members": {"n": "add"}}));
    let stamp = batches.now().await;
    let put = json!([{"op": "put", "seen": true, "fields": ["doc", "n"],
        "rules": {"n": "lww", "doc": {"rule": "json", "members": {"n": "lww"}}}}]);
    let rows = [json!([{"#": 0, "id": 1, "@": stamp, "n": 1, "doc": {"n": 1, "t": 3}}])];
    batches.verdicts(put, &rows).await;
    assert_eq!(db.psql("SELECT n, doc FROM t"), "5|{\"n\": 5, \"t\": 3}");
}

/// The function that the writer knew merges its value, also into a field that adds by now.
#[tokio::test]
async fn a_function_of_before_is_still_asked() {
    let db = Database::with_extension();
    let mut batches = make(&db).await;
    db.psql(
        "CREATE FUNCTION merged(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 100 + $2';
         INSERT INTO t (id, n) VALUES (1, 5)",
    );
    set(&db, "n", &json!("add"));
    let stamp = batches.now().await;
    let written = json!({"rule": "function", "name": "public.merged(integer,integer)"});
    let shape = json!([{"op": "edit", "fields": ["n"], "rules": {"n": written}}]);
    let rows = [json!([{"#": 0, "id": 1, "@": stamp, "n": 7}])];
    assert_eq!(batches.verdicts(shape.clone(), &rows).await, ["applied"]);
    assert_eq!(db.psql("SELECT n FROM t"), "507");
    db.psql("DROP FUNCTION merged");
    assert_eq!(batches.refusal(shape, &rows).await, "42883");
}

/// Under the present rule the order of writes still decides, whatever stood in the clock from the rule of before.
#[tokio::test]
async fn stamps_of_another_rule_do_not_outlive_it() {
    let db = Database::with_extension();
    let mut batches = make(&db).await;
    let patch = |stamp: i64, doc: Value| [json!([{"#": 0, "id": 1, "@": stamp, "doc": doc}])];
    let shape = |rule: &str| json!([{"op": "edit", "fields": ["doc"], "rules": {"doc": rule}}]);
    db.psql("INSERT INTO t (id, doc) VALUES (1, '{\"a\": 1, \"b\": 1}')");
    // A document patch of an old node over a field that is one value by now, and the other way round.
    for (written, present) in [("json", "lww"), ("lww", "json")] {
        set(&db, "doc", &json!(written));
        let first = batches.now().await;
        assert_eq!(batches.verdicts(shape(written), &patch(first, json!({"a": 2}))).await, ["applied"]);
        set(&db, "doc", &json!(present));
        let second = batches.now().await;
        assert_eq!(batches.verdicts(shape(written), &patch(second, json!({"a": 3}))).await, ["applied"]);
        let third = batches.now().await;
        assert_eq!(batches.verdicts(shape(present), &patch(first, json!({"a": 0}))).await, ["superseded"], "{present}");
        assert_eq!(batches.verdicts(shape(present), &patch(third, json!({"a": 4}))).await, ["applied"], "{present}");
        assert_eq!(batches.verdicts(shape(written), &patch(second, json!({"a": 0}))).await, ["superseded"]);
        assert_eq!(db.psql("SELECT doc ->> 'a' FROM t"), "4");
    }
}

#[tokio::test]
async fn a_rule_that_the_column_cannot_bear_any_more_is_refused() {
    let db = Database::with_extension();
    let mut batches = make(&db).await;
    db.psql("INSERT INTO t (id, n) VALUES (1, 5); ALTER TABLE t ALTER n TYPE text");
    let edit = |rule: &str, field: &str| json!([{"op": "edit", "fields": ["n"], "rules": {field: rule}}]);
    let rows = [json!([{"#": 0, "id": 1, "@": 1, "n": 1}])];
    assert_eq!(batches.refusal(edit("add", "n"), &rows).await, "42804");
    assert_eq!(batches.refusal(edit("add", "note"), &rows).await, "22023");
    assert_eq!(batches.refusal(edit("sum", "n"), &rows).await, "22023");
    assert_eq!(db.psql("SELECT n FROM t"), "5");
}

/// Two nodes have the table open while a counter becomes a plain value, and one again.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_on_while_a_rule_changes() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let patient = cache_sync::Client::builder(&db.dsn()).flush_interval(Duration::from_secs(60));
    let (a, b) = (open(patient).await, client(&db).await);
    let (in_a, in_b) = (accounts(&a).await, accounts(&b).await);
    in_a.get(&1).await.unwrap();
    let add = |account: &mut Account| account.balance += 10;
    let receipt = in_a.update(&1, add).await.unwrap();
    db.psql("SELECT cache_sync.set_rule('account', 'balance', '\"lww\"'); UPDATE account SET balance = 100");
    a.flush().await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(stored(&db, 1), "1|name 1|110|");
    // One that opens it now sends the value, also when the rule is "add" again by the time it arrives.
    let later = open(cache_sync::Client::builder(&db.dsn()).flush_interval(Duration::from_secs(60))).await;
    let in_later = accounts(&later).await;
    in_later.get(&1).await.unwrap();
    let _ = in_later.update(&1, |account| account.balance = 7).await.unwrap();
    db.psql("SELECT cache_sync.set_rule('account', 'balance', '\"add\"')");
    later.flush().await.unwrap();
    assert_eq!(stored(&db, 1), "1|name 1|7|");
    let _ = in_a.update(&1, add).await.unwrap();
    a.flush().await.unwrap();
    for cache in [&in_a, &in_b, &in_later] {
        let is_shown = async || shown(cache.get(&1).await.unwrap().as_deref()) == "1|name 1|17|";
        wait_until(Duration::from_secs(5), "the node shows the row", is_shown).await;
    }
    for client in [a, b, later] {
        close(client).await;
    }
}

/// A transaction that reads as it began writes by what was the rule then; its backend does not go on so afterwards.
#[tokio::test]
async fn what_an_old_snapshot_shows_is_not_kept() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE page (path text PRIMARY KEY, views bigint NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('page', versioned => true, rules => '{\"views\": \"add\"}');
         INSERT INTO page (path, views) VALUES ('/', 10)",
    );
    let backend = db.connect().await;
    let edit = async |patch: &str| {
        let call = format!("SELECT outcome FROM cache_sync.edit('page', '{{\"path\": \"/\"}}', '{patch}')");
        backend.query_one(&call, &[]).await.map(|row| row.get::<_, String>(0)).map_err(|error| error.to_string())
    };
    backend.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    db.psql("SELECT cache_sync.set_rule('page', 'views', '\"max\"'); ALTER TABLE page ADD COLUMN extra int");
    edit("{\"views\": 5}").await.unwrap();
    backend.batch_execute("COMMIT").await.unwrap();
    let before: i64 = db.psql("SELECT views FROM page").parse().unwrap();
    edit("{\"views\": 5}").await.unwrap();
    assert_eq!(db.psql("SELECT views FROM page"), before.to_string(), "5 is not more than {before}: the rule is max");
    assert_eq!(edit("{\"extra\": 5}").await.as_deref(), Ok("applied"), "the column is there");
    backend.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    db.psql("SELECT cache_sync.detach('page')");
    drop(edit("{\"views\": 50}").await);
    backend.batch_execute("COMMIT").await.unwrap();
    let error = backend.query("SELECT cache_sync.edit('page', '{\"path\": \"/\"}', '{\"views\": 60}')", &[]).await;
    assert_eq!(error.unwrap_err().code().map(|code| code.code()), Some("CS005"));
}
