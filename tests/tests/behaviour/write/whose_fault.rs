//! Patches that Postgres refuses, and what users' triggers do to patches.

use cache_sync_tests::Database;
use cache_sync_tests::batches::{Batches, verdict};
use serde_json::{Value, json};

#[tokio::test]
async fn one_bad_patch_of_a_thousand_is_kept_and_the_others_are_applied() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL CHECK (n >= 0));
         INSERT INTO t SELECT n, 5 FROM generate_series(1, 1000) n; SELECT cache_sync.attach('t', rules => '{\"n\":\"add\"}')",
    );
    let mut batches = Batches::open(&db, "t").await;
    let rows: Vec<_> = (0..1000)
        .map(|place| json!({"#": place, "id": 1000 - place, "n": if place == 613 { -6 } else { 1 }}))
        .collect();
    let records = batches.send(json!([{"op": "edit", "fields": ["n"]}]), &[Value::from(rows)]).await.unwrap();
    let rejected: Vec<_> = records.iter().enumerate().filter(|(_, record)| record.sqlstate.is_some()).collect();
    assert_eq!(
        rejected.iter().map(|(place, record)| (*place, verdict(record))).collect::<Vec<_>>(),
        [(613, "rejected 23514".into())]
    );
    assert_eq!(db.psql("SELECT n, count(*) FROM t GROUP BY n ORDER BY n"), "5|1\n6|999");
    assert_eq!(
        db.psql(
            "SELECT seq, ord, sqlstate, op, patch->'id', patch->'n', message ~ 'check' FROM cache_sync.dead_letters"
        ),
        "1|613|23514|edit|387|-6|t"
    );
}

#[tokio::test]
async fn a_deferred_constraint_is_the_fault_of_its_patch() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         SELECT cache_sync.attach('t')",
    );
    let mut batches = Batches::open(&db, "t").await;
    let rows = json!([{"#": 0, "id": 1, "parent": 1}, {"#": 1, "id": 2, "parent": 9}, {"#": 2, "id": 3, "parent": 1}]);
    assert_eq!(
        batches.verdicts(json!([{"op": "put", "fields": ["parent"]}]), &[rows]).await,
        ["applied", "rejected 23503", "applied"]
    );
    // In a transaction of the user's own it stays deferred.
    db.psql(
        "BEGIN; SELECT cache_sync.upsert('t', '{\"id\": 5, \"parent\": 5}'); INSERT INTO parent VALUES (5); COMMIT",
    );
    assert_eq!(db.psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "1,3,5");
}

#[tokio::test]
async fn values_that_are_none_of_their_type_are_refused_one_by_one() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, d date, v varchar(3)); INSERT INTO t VALUES (1), (2), (3); SELECT cache_sync.attach('t')");
    let mut batches = Batches::open(&db, "t").await;
    let rows = json!([
        {"#": 0, "id": "x", "d": null, "v": null},
        {"#": 1, "id": 1, "d": "2020-02-30", "v": null},
        {"#": 2, "id": 2, "d": "2020-02-20", "v": "abcd"},
        {"#": 3, "id": 3, "d": "2020-02-20", "v": "abc"},
        {"#": 4, "id": null, "d": null, "v": null},
    ]);
    assert_eq!(
        batches.verdicts(json!([{"op": "edit", "fields": ["d", "v"]}]), &[rows]).await,
        ["rejected 22P02", "rejected 22008", "rejected 22001", "applied", "missing"]
    );
}

#[tokio::test]
async fn triggers_may_cancel_raise_and_change() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text);
         CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.a = 'cancel' THEN RETURN NULL; END IF;
           IF NEW.a = 'raise' THEN RAISE 'no' USING ERRCODE = 'P0001'; END IF;
           IF NEW.a = 'own' THEN RAISE 'no' USING ERRCODE = 'XY001', DETAIL = 'detail', HINT = 'hint'; END IF;
           NEW.b := 'by trigger after ' || NEW.a; RETURN NEW; END $$;
         CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION meddle();
         SELECT cache_sync.attach('t', true); SET session_replication_role = replica; INSERT INTO t (id, cs_version) SELECT n, 1 FROM generate_series(1, 4) n",
    );
    let mut batches = Batches::open(&db, "t").await;
    let shapes = json!([{"op": "edit", "fields": ["a"]}, {"op": "put", "fields": ["a"]}]);
    let stamp = batches.now().await;
    let rows = [
        json!([
            {"#": 0, "@": stamp, "id": 1, "a": "cancel"},
            {"#": 1, "@": stamp, "id": 2, "a": "raise"},
            {"#": 2, "@": stamp, "id": 3, "a": "own"},
            {"#": 3, "@": stamp, "id": 4, "a": "good"},
        ]),
        json!([{"#": 4, "@": stamp, "id": 9, "a": "cancel"}]),
    ];
    let records = batches.send(shapes, &rows).await.unwrap();
    assert_eq!(
        records.iter().map(verdict).collect::<Vec<_>>(),
        ["swallowed", "rejected P0001", "rejected XY001", "applied", "swallowed"]
    );
    assert!(!records[3].exact, "a trigger changed what the patch did not say");
    // The trigger wrote b now, so what was buffered before loses.
    let shapes = json!([{"op": "edit", "fields": ["b"]}]);
    assert_eq!(batches.verdicts(shapes, &[json!([{"#": 0, "@": stamp, "id": 4, "b": "late"}])]).await, ["superseded"]);
    let error = db.psql_error("SELECT cache_sync.edit('t', '{\"id\": 4}', '{\"a\": \"own\"}')");
    assert!(error.contains("XY001") && error.contains("detail") && error.contains("hint"), "{error}");
}

/// The version that RETURNING told is not the row's any more when a user's AFTER trigger has changed the row once more.
#[tokio::test]
async fn an_after_trigger_may_change_the_row_again() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, n int NOT NULL DEFAULT 0);
         CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.n = 0 THEN UPDATE t SET n = 1 WHERE id = NEW.id; END IF; RETURN NULL; END $$;
         SELECT cache_sync.attach('t', true); INSERT INTO t (id) VALUES (1);
         CREATE TRIGGER again AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION again()",
    );
    let mut batches = Batches::open(&db, "t").await;
    let stamp = batches.now().await;
    let rows = json!([{"#": 0, "@": stamp, "id": 1, "a": "x"}]);
    let records = batches.send(json!([{"op": "edit", "fields": ["a"]}]), &[rows]).await.unwrap();
    let version: i64 = db.psql("SELECT cs_version FROM t").parse().unwrap();
    assert!(records[0].version.0 < version && records[0].replaced.0 < records[0].version.0);
}

/// Whatever is no patch's fault fails the batch as a whole and leaves the connection as it was.
#[tokio::test]
async fn other_errors_go_on_and_the_number_stays() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE ROLE reader_only LOGIN IN ROLE cache_sync_user;
         SELECT cache_sync.attach('t'); INSERT INTO t VALUES (1); GRANT SELECT ON t TO reader_only",
    );
    let mut batches = Batches::open_as(&db.dsn_as("reader_only"), "t").await;
    let (shapes, rows) = (json!([{"op": "edit", "fields": ["a"]}]), [json!([{"#": 0, "id": 1, "a": "x"}])]);
    assert_eq!(batches.refusal(shapes.clone(), &rows).await, "42501");
    db.psql("GRANT UPDATE ON t TO reader_only");
    assert_eq!(batches.verdicts(shapes.clone(), &rows).await, ["applied"]);
    batches.client().batch_execute("SET statement_timeout = '300ms'").await.unwrap();
    let locker = db.connect().await;
    locker.batch_execute("BEGIN; UPDATE t SET a = 'locked'").await.unwrap();
    let other = [json!([{"#": 0, "id": 1, "a": "y"}])];
    assert_eq!(batches.refusal(shapes.clone(), &other).await, "57014");
    locker.batch_execute("COMMIT").await.unwrap();
    assert_eq!(batches.verdicts(shapes, &other).await, ["applied"]);
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letter"), "0");
}

/// A text that Postgres cannot unescape is its patch's fault alone, and is kept as it came; and it does not keep the others
/// from being looked at for keys that come twice.
#[tokio::test]
async fn a_value_that_cannot_be_unescaped_is_the_fault_of_its_patch() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t')");
    let mut batches = Batches::open(&db, "t").await;
    let put = json!({"op": "put", "fields": ["v"]});
    for bad in ["\\u0000", "\\ud800"] {
        let patch = |number: i32, id: i32, value: &str| format!("{{\"#\": {number}, \"id\":{id}, \"v\": \"{value}\"}}");
        let rows = format!("[{}, {}, {}]", patch(0, 1, "a"), patch(1, 2, bad), patch(2, 3, "b"));
        let verdicts = batches.verdicts_of_text(put.clone(), &rows).await.unwrap();
        assert!(verdicts[1].starts_with("rejected 22"), "{verdicts:?}");
        assert_eq!(db.psql("SELECT id FROM t; DELETE FROM t"), "1\n3");
        let letter = db.psql("SELECT patch FROM cache_sync.dead_letters ORDER BY id DESC LIMIT 1");
        assert_eq!(letter, patch(1, 2, bad));
        let twice = format!("[{}, {}, {}]", patch(0, 1, "a"), patch(1, 1, "b"), patch(2, 3, bad));
        let refused = batches.verdicts_of_text(put.clone(), &twice).await;
        assert_eq!(cache_sync_tests::batches::sqlstate(refused), "21000");
        assert_eq!(db.psql("SELECT count(*) FROM t"), "0");
    }
}

/// A domain's check may call what raises an error of whatever code: it is the row's fault all the same.
#[tokio::test]
async fn a_domain_that_raises_refuses_its_patch_only() {
    let db = Database::with_extension();
    db.psql(
        "CREATE FUNCTION small(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
           $$ BEGIN IF $1 > 5 THEN RAISE EXCEPTION 'too large' USING ERRCODE = '42501'; END IF; RETURN true; END $$;
         CREATE DOMAIN little AS int CHECK (small(value)); CREATE TABLE t (id int PRIMARY KEY, d little, v int2vector);
         SELECT cache_sync.attach('t'); INSERT INTO t VALUES (1, 1), (2, 1)",
    );
    let mut batches = Batches::open(&db, "t").await;
    let rows = [json!([{"#": 0, "id": 1, "d": 9}, {"#": 1, "id": 2, "d": 4}])];
    let shape = json!([{"op": "edit", "fields": ["d"]}]);
    assert_eq!(batches.verdicts(shape, &rows).await, ["rejected 42501", "applied"]);
    let shape = json!([{"op": "edit", "fields": ["v"]}]);
    assert_eq!(batches.verdicts(shape, &[json!([{"#": 0, "id": 1, "v": "1 2"}])]).await, ["applied"]);
    assert_eq!(db.psql("SELECT * FROM t ORDER BY id"), "1|1|1 2\n2|4|");
}

/// Somebody applies a batch in a transaction of his own, in which a deferred constraint is violated already. The check of his constraint
/// must not be taken for the refusal of an innocent patch, which would go to the dead letters while he commits the rest.
#[tokio::test]
async fn what_was_violated_before_is_the_callers_own_error() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         SELECT cache_sync.attach('t'), cache_sync.attach('parent')",
    );
    let mut batches = Batches::open(&db, "t").await;
    let put = || json!([{"op": "put", "fields": ["parent"]}]);
    let rows = [json!([{"#": 0, "id": 1, "parent": 1}, {"#": 1, "id": 2, "parent": 1}])];
    batches.client().batch_execute("BEGIN; INSERT INTO child VALUES (1, 9)").await.unwrap();
    assert_eq!(batches.refusal(put(), &rows).await, "23503");
    batches.client().batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letters"), "0");
    assert_eq!(batches.verdicts(put(), &rows).await, ["applied", "applied"], "the batch was not applied, and is now");

    // What the batch itself puts right is none.
    let mut parents = Batches::open(&db, "parent").await;
    parents.client().batch_execute("BEGIN; INSERT INTO child VALUES (1, 9)").await.unwrap();
    let make = json!([{"op": "put", "fields": []}]);
    assert_eq!(parents.verdicts(make, &[json!([{"#": 0, "id": 9}])]).await, ["applied"]);
    parents.client().batch_execute("COMMIT").await.unwrap();
    // And a patch that violates one itself is refused, in anybody's transaction.
    batches.client().batch_execute("BEGIN; INSERT INTO child VALUES (2, 1)").await.unwrap();
    let rows = [json!([{"#": 0, "id": 3, "parent": 77}, {"#": 1, "id": 4, "parent": 1}])];
    assert_eq!(batches.verdicts(put(), &rows).await, ["rejected 23503", "applied"]);
    batches.client().batch_execute("COMMIT").await.unwrap();
    assert_eq!(db.psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "1,2,4");
}

/// A trigger catches an error, warns of it and raises it again. pgrx knows no codes of users' own, and an error that is raised again
/// does not say its code again: a warning in between, or another error that was caught, had its code taken for that.
#[tokio::test]
async fn a_code_of_the_users_own_survives_what_comes_between() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text); SELECT cache_sync.attach('t');
         CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.a = 'warned' THEN RAISE WARNING 'careful'; RAISE 'own' USING ERRCODE = 'UX001'; END IF;
           IF NEW.a = 'fine' THEN RAISE WARNING 'strange' USING ERRCODE = 'UX009'; RETURN NEW; END IF;
           BEGIN
             RAISE 'again: %', NEW.a USING ERRCODE = 'UX002';
           EXCEPTION WHEN OTHERS THEN
             RAISE WARNING 'careful' USING ERRCODE = 'UX009';
             BEGIN RAISE 'another' USING ERRCODE = 'UX003'; EXCEPTION WHEN OTHERS THEN NULL; END;
             IF NEW.a = 'nested' THEN PERFORM cache_sync.edit('t', '{\"id\": 0}', '{\"a\": \"x\"}'); END IF;
             RAISE;
           END; END $$;
         CREATE TRIGGER meddle BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION meddle()",
    );
    let mut batches = Batches::open(&db, "t").await;
    let row = |(place, a): (usize, &&str)| json!({"#": place, "id": place + 1, "a": a});
    let rows = json!(["warned", "caught", "nested", "fine"].iter().enumerate().map(row).collect::<Vec<_>>());
    let put = json!([{"op": "put", "fields": ["a"]}]);
    let verdicts = batches.verdicts(put, &[rows]).await;
    assert_eq!(verdicts, ["rejected UX001", "rejected UX002", "rejected UX002", "applied"]);
    let kept = "SELECT sqlstate, message FROM cache_sync.dead_letters ORDER BY ord";
    assert_eq!(db.psql(kept), "UX001|own\nUX002|again: caught\nUX002|again: nested");
    for (a, code) in [("warned", "UX001"), ("caught", "UX002"), ("nested", "UX002")] {
        let error = db.psql_error(&format!("SELECT cache_sync.upsert('t', '{{\"id\": 9, \"a\": \"{a}\"}}')"));
        assert!(error.contains(&format!("ERROR:  {code}")), "{a}: {error}");
    }
}
