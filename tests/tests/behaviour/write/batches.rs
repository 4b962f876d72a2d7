//! Batches: what becomes of each patch, and that a batch is applied once.

use cache_sync_tests::Database;
use cache_sync_tests::batches::{Batches, sqlstate};
use serde_json::json;

fn table(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, name text, n int NOT NULL DEFAULT 0, best int);
         SELECT cache_sync.attach('t', versioned => true, rules => '{\"n\": \"add\", \"best\": \"max\"}')",
    );
}

#[tokio::test]
async fn every_verdict_that_rules_give() {
    let db = Database::with_extension();
    table(&db);
    db.psql_as_replica(
        "INSERT INTO t (id, name, best, cs_version) SELECT n, 'old', 5, 100 FROM generate_series(1, 6) n",
    );
    let mut batches = Batches::open(&db, "t").await;
    let shapes = json!([
        {"op": "edit", "fields": ["name"]},
        {"op": "edit", "fields": ["best", "name"]},
        {"op": "edit", "fields": ["best"]},
        {"op": "put", "seen": true, "fields": ["name"]},
        {"op": "put", "seen": false, "fields": ["name", "n"]},
        {"op": "delete"},
    ]);
    let rows = |of_place_8: i32| {
        [
            json!([
                {"#": 0, "@": 101, "id": 1, "name": "new"},
                {"#": 1, "@": 99, "id": 2, "name": "new"},
                {"#": 2, "@": 101, "id": 77, "name": "new"},
            ]),
            json!([{"#": 3, "@": 99, "id": 3, "name": "new", "best": 7}]),
            json!([{"#": 4, "id": 4, "best": 5}, {"#": 5, "id": 5, "best": 4}]),
            json!([{"#": 6, "@": 101, "id": 78, "name": "new"}]),
            json!([
                {"#": 7, "@": 101, "id": 79, "name": "new", "n": 3},
                {"#": 8, "@": 101, "id": of_place_8, "name": "put", "n": 3},
            ]),
            json!([{"#": 9, "@": 99, "id": 6}, {"#": 10, "@": 100, "id": 80}]),
        ]
    };
    let same_key_as_place_1 = 2;
    assert_eq!(batches.refusal(shapes.clone(), &rows(same_key_as_place_1)).await, "21000");
    let records = batches.send(shapes, &rows(81)).await.unwrap();
    let verdicts: Vec<_> = records.iter().map(|record| record.verdict.as_str()).collect();
    assert_eq!(
        verdicts,
        [
            "applied",
            "superseded",
            "missing",
            "merged",
            "unchanged",
            "superseded",
            "missing",
            "applied",
            "applied",
            "superseded",
            "missing"
        ]
    );
    assert_eq!(records[0].replaced.0, 100);
    assert!(records[0].exact && !records[3].exact);
    assert_eq!((records[7].replaced.0, records[1].version.0), (0, 100));
    let row = "SELECT name, n, best, cs_version FROM t WHERE id = ";
    assert_eq!(db.psql(&format!("{row} 1")), format!("new|0|5|{}", records[0].version));
    assert_eq!(db.psql(&format!("{row} 79")), format!("new|3||{}", records[7].version));
}

#[tokio::test]
async fn a_batch_that_is_sent_again_gets_the_same_outcomes_and_changes_nothing() {
    let db = Database::with_extension();
    table(&db);
    db.psql("INSERT INTO t VALUES (1)");
    let mut batches = Batches::open(&db, "t").await;
    let (shapes, rows) = (json!([{"op": "edit", "fields": ["n"]}]), [json!([{"#": 0, "id": 1, "n": 1}])]);
    let first = batches.send(shapes.clone(), &rows).await.unwrap();
    for _ in 0..3 {
        assert_eq!(batches.send_as(1, 1, shapes.clone(), &rows).await.unwrap(), first);
    }
    assert_eq!(db.psql("SELECT n FROM t"), "1");

    let other = [json!([{"#": 0, "id": 1, "n": 2}])];
    assert_eq!(sqlstate(batches.send_as(1, 1, shapes.clone(), &other).await), "CS004");
    let error = batches.send_as(1, 3, shapes.clone(), &rows).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code().code(), error.detail()), ("CS003", Some("last_seq=1")));
    let fence = batches.open_again().await;
    assert_eq!(batches.last_seq(), 1);
    assert_eq!(sqlstate(batches.send_as(fence, 2, shapes.clone(), &rows).await), "CS002");
    db.psql("DELETE FROM cache_sync.session");
    assert_eq!(batches.refusal(shapes, &rows).await, "CS001");
    assert_eq!(db.psql("SELECT n FROM t"), "1");
}

/// A load asks in one statement for a row and for the number of the last batch; they must belong together.
#[tokio::test]
async fn load_state_sees_what_its_query_sees() {
    let db = Database::with_extension();
    table(&db);
    let mut batches = Batches::open(&db, "t").await;
    let session = db.psql("SELECT session FROM cache_sync.session");
    let ask = format!("SELECT (cache_sync.load_state('{session}', 1))[2]");
    let reader = db.connect().await;
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(reader.query_one(&ask, &[]).await.unwrap().get::<_, i64>(0), 0);
    batches.send(json!([]), &[]).await.unwrap();
    assert_eq!(reader.query_one(&ask, &[]).await.unwrap().get::<_, i64>(0), 0);
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(reader.query_one(&ask, &[]).await.unwrap().get::<_, i64>(0), 1);
    let nobody = "SELECT (cache_sync.load_state('00000000-0000-0000-0000-000000000000', 1))[2]";
    assert_eq!(db.psql(nobody), "-1");
}

/// With `off` a commit does not wait for the disk, so a crash would take back what was told as applied. What an administrator has set
/// beyond that, to wait for standbys or not, is his to say.
#[tokio::test]
async fn an_outcome_is_durable_whatever_the_role_says() {
    let db = Database::with_extension();
    table(&db);
    // A trigger sees what is set while the batch is applied.
    db.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           NEW.name := current_setting('synchronous_commit'); RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let mut batches = Batches::open(&db, "t").await;
    for (id, (set, while_applied)) in [
        ("off", "on"),
        ("local", "local"),
        ("remote_write", "remote_write"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ]
    .into_iter()
    .enumerate()
    {
        batches.client().batch_execute(&format!("SET synchronous_commit = {set}")).await.unwrap();
        let (put, id) = (json!([{"op": "put", "fields": ["name"]}]), id + 100);
        assert_eq!(batches.verdicts(put, &[json!([{"#": 0, "@": 1, "id": id, "name": "x"}])]).await, ["applied"]);
        assert_eq!(db.psql(&format!("SELECT name FROM t WHERE id = {id}")), while_applied);
        let after = batches.client().query_one("SHOW synchronous_commit", &[]).await.unwrap();
        assert_eq!(after.get::<_, &str>(0), set);
    }
}

#[tokio::test]
async fn what_is_not_of_the_form_is_refused_and_nothing_is_done() {
    let db = Database::with_extension();
    table(&db);
    db.psql("INSERT INTO t VALUES (1), (2)");
    let mut batches = Batches::open(&db, "t").await;
    let edit = json!([{"op": "edit", "fields": ["n"]}]);
    let good = json!([{"#": 0, "id": 1, "n": 1}]);
    let cases = [
        (json!(7), vec![good.clone()], "22023"),
        (json!([{"op": "what", "fields": ["n"]}]), vec![good.clone()], "22023"),
        (json!([{"op": "edit", "fields": ["n"], "more": 1}]), vec![good.clone()], "22023"),
        (json!([{"op": "edit", "fields": []}]), vec![good.clone()], "22023"),
        (json!([{"op": "edit", "fields": ["n", "n"]}]), vec![good.clone()], "22023"),
        (json!([{"op": "delete", "fields": ["n"]}]), vec![good.clone()], "22023"),
        (json!([{"op": "edit", "fields": ["nope"]}]), vec![good.clone()], "42703"),
        (json!([{"op": "edit", "fields": ["id"]}]), vec![good.clone()], "42703"),
        (json!([{"op": "edit", "fields": ["cs_version"]}]), vec![good.clone()], "42703"),
        (edit.clone(), vec![], "22023"),
        (edit.clone(), vec![good.clone(), good.clone()], "22023"),
        (edit.clone(), vec![json!({})], "22023"),
        (edit.clone(), vec![json!(5)], "22023"),
        (edit.clone(), vec![json!([5])], "22023"),
        (edit.clone(), vec![json!([{"#": 0, "id": 1}])], "22023"),
        (edit.clone(), vec![json!([{"#": 0, "n": 1}])], "22023"),
        (edit.clone(), vec![json!([{"id": 1, "n": 1}])], "22023"),
        (edit.clone(), vec![json!([{"#": 0, "id": 1, "n": 1, "x": 1}])], "22023"),
        (edit.clone(), vec![json!([{"#": 1, "id": 1, "n": 1}])], "22023"),
        (edit.clone(), vec![json!([{"#": -1, "id": 1, "n": 1}])], "22023"),
        (edit.clone(), vec![json!([{"#": "0", "id": 1, "n": 1}])], "22023"),
        (edit.clone(), vec![json!([{"#": 0, "id": 1, "n": 1}, {"#": 0, "id": 2, "n": 1}])], "22023"),
        (edit.clone(), vec![json!([{"#": 0, "id": 1, "n": 1}, {"#": 1, "id": 1, "n": 1}])], "21000"),
        (edit.clone(), vec![json!([{"#": 0, "id": 9, "n": 1}, {"#": 1, "id": 9, "n": 1}])], "21000"),
        (json!([{"op": "edit", "fields": ["name"]}]), vec![json!([{"#": 0, "id": 1, "name": "x"}])], "22023"),
        (json!([{"op": "edit", "fields": ["name"]}]), vec![json!([{"#": 0, "@": -1, "id": 1, "name": "x"}])], "22023"),
        (
            json!([{"op": "edit", "fields": ["name"]}]),
            vec![json!([{"#": 0, "@": 1e30, "id": 1, "name": "x"}])],
            "22023",
        ),
    ];
    for (shapes, rows, expected) in cases {
        let case = format!("{shapes} {rows:?}");
        assert_eq!(batches.refusal(shapes, &rows).await, expected, "{case}");
    }
    odd_arguments_are_refused(&db);
    assert_eq!(db.psql("SELECT sum(n) FROM t"), "0");
    assert_eq!(db.psql("SELECT last_seq FROM cache_sync.session"), "0");
}

fn odd_arguments_are_refused(db: &Database<'_>) {
    let call = |arguments: &str| db.psql_error(&format!("SELECT cache_sync.apply({arguments})"));
    let session = db.psql("SELECT session FROM cache_sync.session");
    for (arguments, expected) in [
        (format!("NULL, '{session}', 1, 1, '[]', '{{}}'"), "22004"),
        (format!("'t', '{session}', 1, 1, NULL, '{{}}'"), "22004"),
        (format!("'t', '{session}', 1, 1, '[]', ARRAY[NULL]::text[]"), "22004"),
        (format!("'t', '{session}', 1, 1, '[]', ARRAY[ARRAY['[]']]::text[]"), "2202E"),
        (format!("'t', '{session}', 1, 1, '[]', '[2:2]={{\"[]\"}}'"), "2202E"),
        (format!("'pg_class', '{session}', 1, 1, '[]', '{{}}'"), "CS005"),
    ] {
        let error = call(&arguments);
        assert!(error.contains(expected), "{arguments}: {error}");
    }
}

/// However the text of a patch is written, it says the same.
#[tokio::test]
async fn the_text_of_a_patch_may_be_written_in_any_way() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, name text, doc json); SELECT cache_sync.attach('t')");
    let mut batches = Batches::open(&db, "t").await;
    let put = json!({"op": "put", "fields": ["name", "doc"]});
    let rows = r##" [ {"#":0,"id":1,"name":"]},{\"#\":9","doc":{"#":7,"@":[{"id":3}]}} ,
        { "doc" : [ ] , "name" : "\\" , "id" : 2 , "#" : 1 },
        {"n\u0061me":"\\\"","doc":null,"id":3,"#":2}]"##;
    assert_eq!(batches.verdicts_of_text(put.clone(), rows).await.unwrap(), ["applied"; 3]);
    assert_eq!(db.psql("SELECT * FROM t ORDER BY id"), "1|]},{\"#\":9|{\"#\":7,\"@\":[{\"id\":3}]}\n2|\\|[ ]\n3|\\\"|");
    assert_eq!(batches.verdicts_of_text(put.clone(), "[ ]").await.unwrap(), [""; 0]);
    for rows in [
        r##"[{"#":0,"id":1,"name":"a","n\u0061me":"b","doc":1}]"##,
        r##"[{"#":0,"#":0,"id":1,"name":"a","doc":1}]"##,
        r##"[{"#":0.0,"id":1,"name":"a","doc":1}]"##,
        r##"{"#":0,"id":1,"name":"a","doc":1}"##,
        r##""[]""##,
    ] {
        assert_eq!(sqlstate(batches.verdicts_of_text(put.clone(), rows).await), "22023", "{rows}");
    }
}
