//! Plain SQL writes now, whatever version and clock its rows carry. Somebody saves rows in a copy of the table, and puts them back later:
//! an edit that was made meanwhile, and is still in some buffer, is older than that and must not win over it. Who writes for somebody
//! else, such as replication, keeps what comes.

use cache_sync_core::clock::Clock;
use cache_sync_core::number::{Stamp, Version};
use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, part int NOT NULL DEFAULT 0, a text, b text);
     SELECT cache_sync.attach('t', true)";

/// Sends an edit of `a` and a deletion, both made at `stamp`, to the row of this key.
async fn late_writes(batches: &mut Batches, id: i64, stamp: i64) -> Vec<String> {
    let edit = json!([{"#": 0, "@": stamp, "id": id, "a": "late"}]);
    let mut verdicts = batches.verdicts(json!([{"op": "edit", "fields": ["a"]}]), &[edit]).await;
    let delete = json!([{"#": 0, "@": stamp, "id": id}]);
    verdicts.extend(batches.verdicts(json!([{"op": "delete", "fields": []}]), &[delete]).await);
    verdicts
}

#[tokio::test]
async fn rows_put_back_from_a_copy_are_written_now() {
    let db = Database::with_extension();
    db.psql(TABLE);
    let mut batches = Batches::open(&db, "t").await;
    // Of one stamp, with stamps of their own, from before the table was attached, and from a clock that runs ahead.
    db.psql("INSERT INTO t (id, a, b) SELECT n, 'saved', 'saved' FROM generate_series(1, 9) n");
    let stamp = batches.now().await;
    let row = json!([{"#": 0, "@": stamp, "id": 2, "b": "own stamp"}]);
    assert_eq!(batches.verdicts(json!([{"op": "edit", "fields": ["b"]}]), &[row]).await, ["applied"]);
    db.psql(
        "CREATE TABLE copy AS SELECT * FROM t; UPDATE copy SET cs_version = NULL, cs_clock = NULL WHERE id = 3;
         UPDATE copy SET cs_version = 9223372036854775807 WHERE id = 4;
         UPDATE copy SET cs_version = 0 WHERE id = 5; UPDATE copy SET cs_version = -1, cs_clock = 'no clock' WHERE id = 6",
    );
    assert_eq!(db.psql("SELECT count(*) FROM copy WHERE id = 2 AND cs_clock IS NOT NULL"), "1");
    let buffered = batches.now().await;
    for put_back in [
        "DELETE FROM t; INSERT INTO t SELECT * FROM copy",
        "TRUNCATE t; INSERT INTO t SELECT * FROM copy ON CONFLICT DO NOTHING",
        "DELETE FROM t; MERGE INTO t USING copy c ON t.id = c.id
             WHEN NOT MATCHED THEN INSERT VALUES (c.id, c.part, c.a, c.b, c.cs_version, c.cs_clock)",
        "DELETE FROM t; INSERT INTO t (id, a, b, cs_clock) SELECT id, a, b, cs_clock FROM copy",
        "BEGIN; UPDATE t SET a = 'x'; CREATE TEMP TABLE c AS SELECT * FROM copy; DELETE FROM t; INSERT INTO t SELECT * FROM c; COMMIT",
        "DELETE FROM t; COPY t (id, a, cs_version) FROM PROGRAM 'seq 1 9 | sed s/$/,saved,5/' (FORMAT csv)",
    ] {
        let before = batches.now().await;
        db.psql(put_back);
        let now =
            format!("SELECT count(*) FROM t WHERE cs_version > {before} AND cs_version < {}", batches.now().await);
        assert_eq!(db.psql(&now), "9", "{put_back}");
        for id in 1..=6 {
            assert_eq!(late_writes(&mut batches, id, buffered).await, ["superseded"; 2], "{put_back}, row {id}");
        }
        assert_eq!(db.psql("SELECT count(*) FROM t WHERE a = 'saved'"), "9");
        let newer = batches.now().await;
        assert_eq!(late_writes(&mut batches, 9, newer).await, ["applied"; 2], "what is newer wins");
    }
}

/// A row that comes with the number of this very moment is as good as one that gets it from the column's default.
#[test]
fn a_version_of_this_transaction_stays() {
    let db = Database::with_extension();
    db.psql(TABLE);
    let same = db.psql("WITH v AS (SELECT cache_sync.hlc() AS v), i AS (INSERT INTO t (id, cs_version) SELECT 1, v FROM v RETURNING cs_version)
                        SELECT v = cs_version FROM v, i");
    assert_eq!(same, "t");
    let same = db.psql("INSERT INTO t (id) VALUES (2) RETURNING cs_version = (SELECT cache_sync.hlc()) - 1");
    assert_eq!(same.len(), 1);
    let later = db.psql("SELECT cache_sync.hlc()");
    let answer = db.psql(&format!(
        "INSERT INTO t (id, cs_version) VALUES (3, {later}) RETURNING cs_version > {later}, cs_clock IS NULL"
    ));
    assert_eq!(answer, "t|t", "a number of another transaction is not of now");
}

#[tokio::test]
async fn who_writes_for_somebody_else_keeps_what_comes() {
    let db = Database::with_extension();
    db.psql(TABLE);
    let mut clock = Clock::all(Stamp(500));
    clock.set(cache_sync_core::number::FieldId(2), Stamp(700));
    let bytes: String = clock.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    db.psql_as_replica(&format!(
        "INSERT INTO t VALUES (1, 0, 'theirs', 'theirs', 800, '\\x{bytes}'), (2, 0, 'x', 'x', NULL, NULL)"
    ));
    assert_eq!(db.psql("SELECT id, cs_version FROM t ORDER BY id"), "1|800\n2|");
    let stored = db.psql("SELECT encode(cs_clock, 'hex') FROM t WHERE id = 1");
    assert_eq!(stored, bytes);
    let read: Vec<u8> =
        (0..stored.len()).step_by(2).map(|at| u8::from_str_radix(&stored[at..at + 2], 16).unwrap()).collect();
    assert_eq!(Clock::decode(Some(&read), Version(800)).unwrap(), clock);
    let mut batches = Batches::open(&db, "t").await;
    assert_eq!(late_writes(&mut batches, 1, 600).await, ["superseded"; 2]);
    // What a patch inserts is as old as the patch, and its clock bears no mark, whoever writes it.
    for (id, role) in [(3, "origin"), (4, "replica")] {
        let put = format!(
            "SET session_replication_role = {role}; SELECT outcome FROM cache_sync.upsert('t', '{{\"id\": {id}, \"a\": \"x\"}}')"
        );
        assert_eq!(db.psql(&put), "applied");
        assert_eq!(db.psql(&format!("SELECT get_byte(cs_clock, 0) FROM t WHERE id = {id}")), "1");
    }
    let put = json!([{"#": 0, "@": 100, "id": 5, "a": "put"}]);
    assert_eq!(batches.verdicts(json!([{"op": "put", "fields": ["a"]}]), &[put]).await, ["applied"]);
    assert_eq!(late_writes(&mut batches, 5, 150).await, ["applied"; 2], "a put is as old as it was made");
}

/// An UPDATE that moves a row to another partition deletes and inserts it there: its other fields are as old as they were.
#[tokio::test]
async fn a_row_that_moves_between_partitions_keeps_its_stamps() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int, a text, b text, PRIMARY KEY (id, b)) PARTITION BY LIST (b);
         CREATE TABLE t_1 PARTITION OF t FOR VALUES IN ('1');
         CREATE TABLE t_2 (b text NOT NULL, id int NOT NULL, a text); 
         SELECT cache_sync.attach('t', true);
         ALTER TABLE t_2 ADD COLUMN cs_clock bytea, ADD COLUMN cs_version bigint; ALTER TABLE t ATTACH PARTITION t_2 FOR VALUES IN ('2');
         INSERT INTO t (id, a, b) VALUES (1, 'old', '1')",
    );
    let mut batches = Batches::open(&db, "t").await;
    let early = batches.now().await;
    db.psql("UPDATE t SET b = '2'");
    assert_eq!(db.psql("SELECT tableoid::regclass, a, cs_version > 0 FROM t"), "t_2|old|t");
    let edit = json!([{"op": "edit", "fields": ["a"]}]);
    let row = json!([{"#": 0, "@": early, "id": 1, "b": "2", "a": "early"}]);
    assert_eq!(batches.verdicts(edit, &[row]).await, ["applied"], "nobody wrote `a` since");
}

/// An ordinary table and one with partitions, whose row has a field that was written long ago: by its clock.
async fn with_partitions(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE p (id int, a text, b text, PRIMARY KEY (id, b)) PARTITION BY LIST (b);
         CREATE TABLE p_1 PARTITION OF p FOR VALUES IN ('1'); CREATE TABLE p_2 PARTITION OF p FOR VALUES IN ('2');
         CREATE TABLE t (id int PRIMARY KEY, a text, b text); SELECT cache_sync.attach('p', true), cache_sync.attach('t', true)",
    );
    let put = json!([{"#": 0, "@": 100, "id": 1, "a": "old", "b": "1"}]);
    let mut batches = Batches::open(db, "p").await;
    assert_eq!(batches.verdicts(json!([{"op": "put", "fields": ["a"]}]), &[put]).await, ["applied"]);
}

/// A row that was updated in its partition was taken for one that moves, when it was copied later.
#[tokio::test]
async fn a_row_that_did_not_move_is_copied_now() {
    let db = Database::with_extension();
    with_partitions(&db).await;
    let (update, copy) = ("UPDATE p SET id = id", "INSERT INTO t SELECT id, a, b, cs_version, cs_clock FROM p");
    let copied = "SELECT t.cs_version > p.cs_version, t.cs_clock IS NULL, p.cs_clock IS NULL FROM t, p";
    let client = db.connect().await;
    for statements in [
        vec![update, copy],
        vec!["BEGIN", update, copy, "COMMIT"],
        vec!["BEGIN", update, "COMMIT", "BEGIN", "SELECT 1", copy, "COMMIT"],
        vec!["WITH u AS (UPDATE p SET id = id RETURNING *) INSERT INTO t SELECT id, a, b, cs_version, cs_clock FROM u"],
        vec!["DO $$ BEGIN UPDATE p SET id = id; INSERT INTO t SELECT id, a, b, cs_version, cs_clock FROM p; END $$"],
    ] {
        for statement in &statements {
            client.batch_execute(statement).await.unwrap();
        }
        assert_eq!(db.psql(copied), "t|t|f", "{statements:?}");
        db.psql("DELETE FROM t");
    }
}

/// What users' triggers do on the way makes no difference to a row that moves.
#[tokio::test]
async fn a_row_that_moves_past_triggers_keeps_its_stamps() {
    let db = Database::with_extension();
    with_partitions(&db).await;
    db.psql(
        "CREATE TABLE log (id int); CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO log VALUES (1); INSERT INTO log VALUES (2); RETURN coalesce(NEW, OLD); END $$;
         CREATE TRIGGER log BEFORE DELETE ON p_1 FOR EACH ROW EXECUTE FUNCTION log();
         CREATE TRIGGER log BEFORE INSERT ON p_2 FOR EACH ROW EXECUTE FUNCTION log()",
    );
    db.psql("UPDATE p SET b = '2'");
    assert_eq!(db.psql("SELECT count(*) FROM log; SELECT cs_clock IS NULL FROM p_2"), "4\nf");
    let mut batches = Batches::open(&db, "p").await;
    let row = json!([{"#": 0, "@": 200, "id": 1, "b": "2", "a": "newer"}]);
    assert_eq!(batches.verdicts(json!([{"op": "edit", "fields": ["a"]}]), &[row]).await, ["applied"]);
}

/// A row is not of now because somebody else got its version after this transaction's first row got one.
#[tokio::test]
async fn what_others_got_meanwhile_is_not_of_this_transaction() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); SELECT cache_sync.attach('t', true), cache_sync.attach('u', true)");
    let client = db.connect().await;
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    db.psql("INSERT INTO u VALUES (2)");
    client.batch_execute("INSERT INTO t (id, cs_version) SELECT id, cs_version FROM u; COMMIT").await.unwrap();
    assert_eq!(db.psql("SELECT t.cs_version > u.cs_version FROM t JOIN u USING (id)"), "t");
}
