//! Batches of several clients that touch the same rows.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::locks::until_waiting;
use serde_json::{Value, json};

const KEYS: i64 = 60;
const ROUNDS: i64 = 60;
const CLIENTS: i64 = 4;

/// A batch of all five kinds of shapes, each with every fifth key, the keys in an order of this client's own.
fn batch(client: i64, round: i64, stamp: i64) -> (Value, Vec<Value>) {
    let shapes = json!([
        {"op": "edit", "fields": ["n"]},
        {"op": "put", "fields": ["v"]},
        {"op": "replace", "fields": ["n", "v", "w"]},
        {"op": "edit", "fields": ["v", "w"]},
        {"op": "delete"},
    ]);
    let mut rows = vec![Vec::new(); 5];
    for place in 0..KEYS {
        let id = if client % 2 == 0 { place } else { KEYS - 1 - place };
        let kind = ((id + client + round) % 5) as usize;
        let mut patch = json!({"#": place, "@": stamp, "id": id});
        for (fields, value) in [("0 2", "n"), ("1 2 3", "v"), ("2 3", "w")] {
            if fields.contains(&kind.to_string()) {
                patch[value] = json!(client);
            }
        }
        rows[kind].push(patch);
    }
    (shapes, rows.into_iter().map(Value::from).collect())
}

/// Each shape is a statement of its own, and statements lock their rows one after the other: two batches that have their
/// shapes' keys the other way round would wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn never_wait_for_each_other() {
    let db = Database::with_extension();
    db.psql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, v int, w int);
         SELECT cache_sync.attach('t', true, '{{\"n\": \"add\"}}'); INSERT INTO t SELECT generate_series(0, {KEYS} / 2)"
    ));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let dsn = db.dsn();
            tokio::spawn(async move {
                let mut batches = Batches::open_as(&dsn, "t").await;
                for round in 0..ROUNDS {
                    let (shapes, rows) = batch(client, round, batches.now().await);
                    let records = batches.send(shapes, &rows).await.unwrap();
                    assert_eq!(records.len() as i64, KEYS);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let deadlocks = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", db.name());
    assert_eq!(db.psql(&deadlocks), "0");
}

/// A key that is not there cannot be locked in its turn: whoever has inserted it may wait for a row that the batch has changed. Undone,
/// the batch is in nobody's way, and then finds the key there.
#[tokio::test]
async fn do_not_wait_with_an_insert_for_who_waits_for_them() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t'); INSERT INTO t VALUES (2, 'before')");
    let mut batches = Batches::open(&db, "t").await;
    batches.client().batch_execute("SET deadlock_timeout = '1s'").await.unwrap();
    let other = db.connect().await;
    other.batch_execute("SET deadlock_timeout = '1min'; BEGIN; INSERT INTO t VALUES (1, 'theirs')").await.unwrap();
    let shapes = json!([{"op": "edit", "fields": ["v"]}, {"op": "put", "fields": ["v"]}]);
    let rows = [json!([{"#": 0, "id": 2, "v": "ours"}]), json!([{"#": 1, "id": 1, "v": "ours"}])];
    let waiting = batches.verdicts(shapes, &rows);
    let commit = async {
        until_waiting(&db, 1).await;
        other.batch_execute("UPDATE t SET v = 'theirs' WHERE id = 2; COMMIT").await.unwrap();
    };
    let (verdicts, ()) = tokio::join!(waiting, commit);
    assert_eq!(verdicts, ["applied"; 2]);
    assert_eq!(db.psql("SELECT string_agg(v, ',' ORDER BY id), current_setting('lock_timeout') FROM t"), "ours,ours|0");
    let deadlocks = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", db.name());
    assert_eq!(db.psql(&deadlocks), "0");
}

/// An insert of several rows may wait for each of them. Whoever comes to wait for the batch during that waits for no longer than for one.
#[tokio::test]
async fn do_not_wait_for_one_row_after_the_other_while_somebody_waits_for_them() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t'); INSERT INTO t VALUES (0, 'before')");
    let mut batches = Batches::open(&db, "t").await;
    // Long enough for the other one to look for deadlocks while the last row is waited for, were that the time for each.
    batches.client().batch_execute("SET deadlock_timeout = '10s'").await.unwrap();
    let (first, second, other) = (db.connect().await, db.connect().await, db.connect().await);
    for (client, id) in [(&first, 1), (&second, 2), (&other, 3)] {
        let insert = format!("SET deadlock_timeout = '4s'; BEGIN; INSERT INTO t VALUES ({id}, 'theirs')");
        client.batch_execute(&insert).await.unwrap();
    }
    let shapes = json!([{"op": "edit", "fields": ["v"]}, {"op": "put", "fields": ["v"]}]);
    let puts: Value = (1..=3).map(|id| json!({"#": id, "id": id, "v": "ours"})).collect();
    let rows = [json!([{"#": 0, "id": 0, "v": "ours"}]), puts];
    let waiting = batches.verdicts(shapes, &rows);
    let others = async {
        until_waiting(&db, 1).await;
        let update = other.batch_execute("UPDATE t SET v = 'theirs' WHERE id = 0; COMMIT");
        let release = async {
            until_waiting(&db, 2).await;
            first.batch_execute("COMMIT").await.unwrap();
            second.batch_execute("COMMIT").await.unwrap();
        };
        tokio::join!(update, release).0.unwrap();
    };
    let (verdicts, ()) = tokio::join!(waiting, others);
    assert_eq!(verdicts, ["applied"; 4]);
    let deadlocks = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", db.name());
    assert_eq!(db.psql(&deadlocks), "0");
}

/// Each row leaves a part of the transaction that has ended. Whether anybody waits for such a one is nothing to ask the server: it warned of
/// each that nobody holds its lock.
#[tokio::test]
async fn only_what_is_under_way_is_asked_for_who_waits() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE noted (id int); CREATE TABLE t (id int PRIMARY KEY, v text, w text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             BEGIN INSERT INTO noted VALUES (NEW.id); EXCEPTION WHEN unique_violation THEN NULL; END;
             RETURN NEW;
         END $$;
         CREATE TRIGGER note BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
         SELECT cache_sync.attach('t')",
    );
    let mut batches = Batches::open(&db, "t").await;
    let shapes = json!([{"op": "put", "fields": ["v"]}, {"op": "put", "fields": ["w"]}]);
    let rows = [
        json!([{"#": 0, "id": 1, "v": "a"}, {"#": 1, "id": 3, "v": "a"}]),
        json!([{"#": 2, "id": 2, "w": "a"}, {"#": 3, "id": 4, "w": "a"}]),
    ];
    assert_eq!(batches.verdicts(shapes, &rows).await, ["applied"; 4]);
    assert_eq!(db.psql("SELECT count(*) FROM noted"), "4");
    let log = std::fs::read_to_string(db.cluster().log_file()).unwrap();
    assert!(!log.contains("own a lock"), "the server has warned");
}

/// Every client adds 4^i once with its i-th batch; a digit of the sum to the base 4 tells of a lost or doubled one.
#[tokio::test(flavor = "multi_thread")]
async fn add_up_exactly() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('t', rules => '{\"n\": \"add\"}'); INSERT INTO t SELECT generate_series(1, 20)",
    );
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let dsn = db.dsn();
            tokio::spawn(async move {
                let mut batches = Batches::open_as(&dsn, "t").await;
                for round in 0..20 {
                    let step = 4_u128.pow(client * 20 + round);
                    let delta: Value = serde_json::from_str(&format!("\"{step}\"")).unwrap();
                    let rows: Vec<_> = (0..20).map(|place| json!({"#": place, "id": 20 - place, "n": delta})).collect();
                    let shapes = json!([{"op": "edit", "fields": ["n"]}]);
                    assert_eq!(batches.verdicts(shapes, &[json!(rows)]).await, ["applied"; 20]);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let expected = (0..60).map(|step| 4_u128.pow(step)).sum::<u128>();
    assert_eq!(db.psql("SELECT DISTINCT n FROM t"), expected.to_string());
}

/// An UPDATE that waited for a delete and re-insert of its row finds the old row gone, although the key is there.
#[tokio::test]
async fn a_row_deleted_and_inserted_anew_meanwhile_is_not_missing() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t', true); INSERT INTO t VALUES (1, 'old')");
    let mut batches = Batches::open(&db, "t").await;
    let other = db.connect().await;
    other.batch_execute("BEGIN; DELETE FROM t; INSERT INTO t VALUES (1, 'anew')").await.unwrap();
    let stamp = batches.now().await;
    let rows = [json!([{"#": 0, "@": stamp, "id": 1, "v": "edited"}])];
    let edit = json!([{"op": "edit", "fields": ["v"]}]);
    let waiting = batches.verdicts(edit, &rows);
    let commit = async {
        until_waiting(&db, 1).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (verdicts, ()) = tokio::join!(waiting, commit);
    assert_eq!(verdicts, ["applied"]);
    assert_eq!(db.psql("SELECT v FROM t"), "edited");
}
