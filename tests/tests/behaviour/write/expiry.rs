//! Rows that expire, and what is cleared away now and then: expired rows, sessions that nobody uses, tables that are gone.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::dump::restored;
use cache_sync_tests::locks::until_waiting;
use serde_json::{Value, json};

/// Rows 1 to 9 expired a minute ago, 11 to 19 live on, and 21 to 29 never expire.
fn visits(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE visit (id int PRIMARY KEY, name text, n int DEFAULT 7, log int[], expires_at timestamptz);
         SELECT cache_sync.attach('visit', true, '{\"n\": \"add\", \"log\": \"append\"}');
         SELECT cache_sync.set_expiry('visit', 'expires_at');
         SET session_replication_role = replica; 
         INSERT INTO visit (id, name, n, log, expires_at, cs_version)
         SELECT n, 'old', 50, '{1}', CASE n / 10 WHEN 0 THEN now() - interval '1 minute'
                                                WHEN 1 THEN now() + interval '1 hour' END, 100
         FROM generate_series(1, 29) n WHERE n % 10 > 0",
    );
}

#[tokio::test]
async fn an_expired_row_is_as_good_as_gone_for_every_kind_of_patch() {
    let db = Database::with_extension();
    visits(&db);
    let mut batches = Batches::open(&db, "visit").await;
    for (place, (shape, verdict, row)) in patches().iter().enumerate() {
        let id = place + 1;
        let rows = json!([patch(shape, 0, id)]);
        assert_eq!(batches.verdicts(json!([shape]), &[rows]).await, [*verdict], "{shape}");
        assert_eq!(visit(&db, id), *row, "{shape}");
    }
    // All in one batch, with one that is refused among them, too: then halves are tried.
    for is_one_refused in [false, true] {
        all_at_once(&db, &mut batches, is_one_refused).await;
    }
}

/// Shapes, each with the verdict over an expired row, and what is there afterwards.
fn patches() -> [(Value, &'static str, &'static str); 7] {
    [
        (json!({"op": "edit", "fields": ["name", "n", "log"]}), "missing", ""),
        (json!({"op": "delete"}), "missing", ""),
        (json!({"op": "put", "seen": true, "fields": ["name", "n", "log"]}), "missing", ""),
        (json!({"op": "put", "fields": ["name", "n", "log"]}), "applied", "new|5|{2}|"),
        (json!({"op": "put", "fields": ["name"]}), "applied", "new|7||"),
        (json!({"op": "replace", "fields": ["name", "n", "log"]}), "applied", "new|5|{2}|"),
        (json!({"op": "compare_and_set", "fields": ["name"]}), "missing", ""),
    ]
}

fn patch(shape: &Value, place: usize, id: usize) -> Value {
    let mut patch = json!({"#": place, "id": id});
    let field = if shape["op"] == "compare_and_set" { "=" } else { "@" };
    patch[field] = json!(100);
    for (name, value) in [("name", json!("new")), ("n", json!(5)), ("log", json!([2]))] {
        if shape["fields"].as_array().is_some_and(|fields| fields.iter().any(|field| field == name)) {
            patch[name] = value;
        }
    }
    patch
}

fn visit(db: &Database<'_>, id: usize) -> String {
    db.psql(&format!("SELECT name, n, log, CASE WHEN id < 10 THEN expires_at END FROM visit WHERE id = {id}"))
}

/// All of them over expired rows, and two more of rows that live, of which the second may overflow.
async fn all_at_once(db: &Database<'_>, batches: &mut Batches, is_one_refused: bool) {
    db.psql_as_replica(
        "DELETE FROM visit; INSERT INTO visit (id, name, n, log, expires_at, cs_version)
             SELECT n, 'old', 50, '{1}', now() - interval '1 minute', 100 FROM generate_series(1, 9) n;
             INSERT INTO visit (id, n) VALUES (11, 50), (21, 50)",
    );
    let patches = patches();
    let mut shapes: Vec<_> = patches.iter().map(|(shape, _, _)| shape.clone()).collect();
    let mut rows: Vec<_> =
        patches.iter().enumerate().map(|(place, (shape, _, _))| json!([patch(shape, place, place + 1)])).collect();
    let mut expected: Vec<_> = patches.iter().map(|(_, verdict, _)| (*verdict).to_owned()).collect();
    let last = if is_one_refused { json!(i64::MAX) } else { json!(1) };
    shapes.push(json!({"op": "edit", "fields": ["n"]}));
    rows.push(json!([{"#": expected.len(), "id": 11, "n": 1}, {"#": expected.len() + 1, "id": 21, "n": last}]));
    expected.push("applied".to_owned());
    expected.push(if is_one_refused { "rejected 22003" } else { "applied" }.to_owned());
    assert_eq!(batches.verdicts(json!(shapes), &rows).await, expected);
    for (place, (shape, _, row)) in patches.iter().enumerate() {
        assert_eq!(visit(db, place + 1), *row, "{shape}");
    }
    assert_eq!(visit(db, 11), "|51||");
}

#[test]
fn an_expired_row_is_as_good_as_gone_for_sql_too() {
    let db = Database::with_extension();
    visits(&db);
    let call =
        |call: &str| db.psql(&format!("SELECT outcome, row_after->>'name', row_after->>'n' FROM cache_sync.{call}"));
    assert_eq!(call(r#"edit('visit', '{"id": 1}', '{"n": 5}')"#), "missing||");
    assert_eq!(call(r#"delete('visit', '{"id": 2}')"#), "missing||");
    assert_eq!(call(r#"upsert('visit', '{"id": 3, "n": 5}')"#), "applied||5");
    assert_eq!(call(r#"compare_and_set('visit', '{"id": 4, "n": 5}', 100)"#), "missing||");
    assert_eq!(call(r#"compare_and_set('visit', '{"id": 5, "n": 5}', 0)"#), "applied||5");
    assert_eq!(call(r#"edit('visit', '{"id": 11}', '{"n": 5}')"#), "applied|old|55");
    assert_eq!(call(r#"edit('visit', '{"id": 21}', '{"n": 5}')"#), "applied|old|55");
    assert_eq!(db.psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM visit WHERE id < 10"), "3,5,6,7,8,9");
    db.psql("SELECT cache_sync.set_expiry('visit', NULL)");
    assert_eq!(call(r#"edit('visit', '{"id": 6}', '{"n": 5}')"#), "applied|old|55");
    let error = db.psql_error("SELECT cache_sync.set_expiry('visit', 'name')");
    assert!(error.contains("42703"), "{error}");
}

/// Backends keep what they have compiled, and hear of the change.
#[tokio::test]
async fn from_now_on_rows_expire_and_from_now_on_they_do_not() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, n int, ends timestamptz); SELECT cache_sync.attach('t');
         INSERT INTO t VALUES (1, 0, '2020-01-01')",
    );
    let mut batches = Batches::open(&db, "t").await;
    for (field, verdict) in [("NULL", "applied"), ("'ends'", "missing"), ("NULL", "applied")] {
        db.psql(&format!("SELECT cache_sync.set_expiry('t', {field})"));
        let (op, rows) =
            (json!([{"op": "edit", "fields": ["n"]}]), [json!([{"#": 0, "id": 1, "n": batches.last_seq() + 1}])]);
        assert_eq!(batches.verdicts(op, &rows).await, [verdict]);
        db.psql("INSERT INTO t VALUES (1, 0, '2020-01-01') ON CONFLICT DO NOTHING");
    }
}

#[tokio::test]
async fn a_touch_sets_the_expiry_alone() {
    let db = Database::with_extension();
    db.psql("SELECT cache_sync.create_table('kv', default_ttl => '1 hour'); SELECT cache_sync.set_rule('kv', 'hits', '\"add\"')");
    let upsert = |doc: &str| db.psql(&format!("SELECT outcome FROM cache_sync.upsert('kv', '{doc}')"));
    assert_eq!(upsert(r#"{"key": "a", "value": {"hits": 5, "name": "Ann"}}"#), "applied");
    assert_eq!(
        db.psql("SELECT expires_at BETWEEN now() + interval '59 minutes' AND now() + interval '1 hour' FROM kv"),
        "t"
    );
    let mut batches = Batches::open(&db, "kv").await;
    let buffered = batches.now().await;
    let touch = json!([{"op": "edit", "fields": ["expires_at"]}]);
    let patch = |stamp: i64, at: &str| [json!([{"#": 0, "@": stamp, "key": "a", "expires_at": at}])];
    let now = batches.now().await;
    assert_eq!(batches.verdicts(touch.clone(), &patch(now, "2100-01-01 00:00:00+00")).await, ["applied"]);
    assert_eq!(db.psql("SELECT value->'hits', extract(year FROM expires_at AT TIME ZONE 'UTC') FROM kv"), "5|2100");
    // It writes no index, and the value's stamps stay.
    let hot =
        "BEGIN; SELECT outcome FROM cache_sync.edit('kv', '{\"key\": \"a\"}', '{\"expires_at\": \"2101-01-01\"}');
               SELECT pg_stat_get_xact_tuples_hot_updated('kv'::regclass); COMMIT";
    assert_eq!(db.psql(hot), "applied\n1");
    let edit = json!([{"op": "edit", "fields": ["value"]}]);
    let rows = [json!([{"#": 0, "@": buffered, "key": "a", "value": {"name": "Bob"}}])];
    assert_eq!(batches.verdicts(edit, &rows).await, ["applied"]);
    // Once it has expired it is too late; whoever puts it again begins anew.
    db.psql("UPDATE kv SET expires_at = now()");
    let now = batches.now().await;
    assert_eq!(batches.verdicts(touch, &patch(now, "2100-01-01 00:00:00+00")).await, ["missing"]);
    assert_eq!(upsert(r#"{"key": "a", "value": {"hits": 1}}"#), "applied");
    assert_eq!(db.psql("SELECT value, expires_at < now() + interval '1 hour 1 second' FROM kv"), "{\"hits\": 1}|t");
}

/// Somebody touches an expired row while a batch is on its way to it: it waits, and finds the row alive.
#[tokio::test]
async fn a_row_that_is_touched_meanwhile_lives() {
    let db = Database::with_extension();
    visits(&db);
    let mut batches = Batches::open(&db, "visit").await;
    let other = db.connect().await;
    other.batch_execute("BEGIN; UPDATE visit SET expires_at = 'infinity' WHERE id = 1").await.unwrap();
    let rows = [json!([{"#": 0, "id": 1, "n": 5}])];
    let send = batches.verdicts(json!([{"op": "edit", "fields": ["n"]}]), &rows);
    let commit = async {
        until_waiting(&db, 1).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (verdicts, ()) = tokio::join!(send, commit);
    assert_eq!(verdicts, ["applied"]);
    assert_eq!(db.psql("SELECT n FROM visit WHERE id = 1"), "55");
}

/// Expired rows were once deleted before the others were locked: out of the order of the keys, so that a batch held row 5
/// and waited for row 0 of somebody who waited for row 5.
#[tokio::test]
async fn expired_rows_are_locked_in_their_turn() {
    let db = Database::with_extension();
    visits(&db);
    db.psql("INSERT INTO visit (id, n) VALUES (0, 50)");
    let mut batches = Batches::open(&db, "visit").await;
    let other = db.connect().await;
    other.batch_execute("BEGIN; UPDATE visit SET n = 1 WHERE id = 0").await.unwrap();
    let rows = [json!([{"#": 0, "id": 5, "n": 5}, {"#": 1, "id": 0, "n": 5}])];
    let send = batches.verdicts(json!([{"op": "edit", "fields": ["n"]}]), &rows);
    let commit = async {
        until_waiting(&db, 1).await;
        other.batch_execute("SET lock_timeout = '5s'; UPDATE visit SET n = 1 WHERE id = 5; COMMIT").await.unwrap();
    };
    let (verdicts, ()) = tokio::join!(send, commit);
    assert_eq!(verdicts, ["missing", "applied"]);
}

/// Whether anything had expired or not, every batch once asked for the right to delete.
#[tokio::test]
async fn who_may_not_delete_may_write_what_lives() {
    let db = Database::with_extension();
    visits(&db);
    db.psql("CREATE ROLE visitor LOGIN IN ROLE cache_sync_user; GRANT SELECT, INSERT, UPDATE ON visit TO visitor");
    let mut batches = Batches::open_as(&db.dsn_as("visitor"), "visit").await;
    let edit = json!([{"op": "edit", "fields": ["n"]}]);
    assert_eq!(batches.verdicts(edit.clone(), &[json!([{"#": 0, "id": 11, "n": 5}])]).await, ["applied"]);
    assert_eq!(batches.refusal(edit, &[json!([{"#": 0, "id": 1, "n": 5}])]).await, "42501");
}

/// What a call of run_maintenance did to a table.
fn pruned(db: &Database<'_>, max_rows: u32, what: &str) -> String {
    db.psql(&format!("SELECT pruned FROM cache_sync.run_maintenance({max_rows}) WHERE what = '{what}' ORDER BY tbl"))
}

#[test]
fn maintenance_deletes_expired_rows_in_bounded_batches() {
    let db = Database::with_extension();
    visits(&db);
    for expected in ["4", "4", "1", "0"] {
        assert_eq!(pruned(&db, 4, "expired rows"), expected);
    }
    assert_eq!(db.psql("SELECT count(*), min(id) FROM visit"), "18|11");
    let error = db.psql_error("SELECT cache_sync.run_maintenance(0)");
    assert!(error.contains("22023"), "{error}");
}

/// Rows of different partitions may lie in the same place of theirs.
#[test]
fn maintenance_deletes_of_partitions_the_expired_rows_alone() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, expires_at timestamptz) PARTITION BY RANGE (id);
         CREATE TABLE t0 PARTITION OF t FOR VALUES FROM (0) TO (10);
         CREATE TABLE t1 (expires_at timestamptz, junk int, id int NOT NULL PRIMARY KEY); ALTER TABLE t1 DROP junk;
         ALTER TABLE t ATTACH PARTITION t1 FOR VALUES FROM (10) TO (20);
         SELECT cache_sync.attach('t', true); SELECT cache_sync.set_expiry('t', 'expires_at');
         INSERT INTO t SELECT n, CASE WHEN (n % 10 < 5) = (n < 10) THEN now() END FROM generate_series(0, 19) n",
    );
    for expected in ["6", "4", "0"] {
        assert_eq!(pruned(&db, 6, "expired rows"), expected);
    }
    assert_eq!(db.psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "5,6,7,8,9,10,11,12,13,14");
}

#[test]
fn maintenance_passes_over_what_the_caller_may_not_delete_and_what_others_refer_to() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE janitor IN ROLE cache_sync_admin;
         CREATE TABLE a (id int PRIMARY KEY, expires_at timestamptz); CREATE TABLE b (LIKE a INCLUDING ALL);
         CREATE TABLE c (LIKE a INCLUDING ALL); CREATE TABLE d (LIKE a INCLUDING ALL); CREATE TABLE e (a int REFERENCES b);
         INSERT INTO a VALUES (1, now()); INSERT INTO b VALUES (1, now()); INSERT INTO c VALUES (1, now());
         INSERT INTO d VALUES (1, now()); INSERT INTO e VALUES (1);
         SELECT cache_sync.attach(t), cache_sync.set_expiry(t, 'expires_at') FROM unnest('{a,b,c,d}'::regclass[]) t;
         GRANT SELECT, UPDATE, DELETE ON b, c, d TO janitor; DROP TABLE d",
    );
    let call = "SET ROLE janitor; SELECT what, tbl, pruned FROM cache_sync.run_maintenance()";
    assert_eq!(db.psql(call), "expired rows|b|0\nexpired rows|c|1\nsessions||0\ndead letters||0");
    assert_eq!(db.psql("SELECT string_agg(tbl::text, ',') FROM cache_sync.tables"), "a,b,c", "d was dropped");
    assert_eq!(db.psql("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM c)"), "1|1|0");
}

/// Its columns' numbers are others than where the dump came from, and are matched by name when somebody writes: before that,
/// maintenance once took another column for the one that says when rows expire.
#[test]
fn maintenance_of_a_restored_table_goes_by_the_columns_name() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, junk int, expires_at timestamptz, made_at timestamptz DEFAULT '2020-01-01');
         ALTER TABLE t DROP junk; SELECT cache_sync.attach('t', true); SELECT cache_sync.set_expiry('t', 'expires_at');
         INSERT INTO t (id, expires_at) VALUES (1, NULL), (2, '2020-01-01'), (3, '2100-01-01')",
    );
    let restored = restored(&db);
    assert_eq!(pruned(&restored, 10, "expired rows"), "1");
    assert_eq!(restored.psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "1,3");
}

#[tokio::test]
async fn maintenance_forgets_sessions_that_nobody_used_for_long() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, n int); SELECT cache_sync.attach('t')");
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Batches::open(&db, "t").await);
    }
    let put = json!([{"op": "put", "fields": ["n"]}]);
    let rows = |id: i32| [json!([{"#": 0, "id": id, "n": 1}])];
    assert_eq!(pruned(&db, 10, "sessions"), "0");
    db.psql("UPDATE cache_sync.session SET used_at = now() - current_setting('cache_sync.session_keep')::interval - interval '1 minute'");
    // One of them is in use at this moment, another was just used.
    assert_eq!(clients[0].verdicts(put.clone(), &rows(1)).await, ["applied"]);
    let user = clients[1].client();
    user.batch_execute("BEGIN; SELECT FROM cache_sync.session WHERE used_at < now() - interval '1 minute' ORDER BY fence, session LIMIT 1 FOR UPDATE").await.unwrap();
    for expected in ["2", "1", "0"] {
        assert_eq!(pruned(&db, 2, "sessions"), expected);
    }
    user.batch_execute("COMMIT").await.unwrap();
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.session"), "2");
    assert_eq!(clients[0].verdicts(put.clone(), &rows(2)).await, ["applied"]);
    let mut unknown = 0;
    for client in &mut clients[1..] {
        match client.send(put.clone(), &rows(9)).await {
            Err(error) => unknown += i32::from(error.code().unwrap().code() == "CS001"),
            Ok(records) => assert_eq!(records.len(), 1),
        }
    }
    assert_eq!(unknown, 3);
}
