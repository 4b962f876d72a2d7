//! What is kept of refused patches and of clients that went away does not grow for ever, and is found when it does.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

const PROBLEMS: &str = "SELECT tbl, problem, hint FROM cache_sync.check_tables() WHERE tbl IS NOT NULL";

/// Refuses so many edits of one table.
async fn refuse(batches: &mut Batches, letters: usize) {
    for _ in 0..letters.div_ceil(50) {
        let rows = json!((0..50).map(|place| json!({"#": place, "id": place, "n": -1})).collect::<Vec<_>>());
        let verdicts = batches.verdicts(json!([{"op": "put", "fields": ["n"]}]), &[rows]).await;
        assert!(verdicts.iter().all(|verdict| verdict == "rejected 23514"), "{verdicts:?}");
    }
}

/// A client sent a patch that is refused again and again, for a year: every one of them was kept, and nobody was told.
#[tokio::test]
async fn old_dead_letters_are_deleted_and_many_are_told_of() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n >= 0)); SELECT cache_sync.attach('t'); CREATE ROLE looks LOGIN IN ROLE cache_sync_user");
    let mut batches = Batches::open(&db, "t").await;
    refuse(&mut batches, 100).await;
    assert_eq!(db.psql(PROBLEMS), "");
    refuse(&mut batches, 50).await;
    let told = db.psql(PROBLEMS);
    assert!(told.starts_with("t|150 refused patches are kept, the oldest since 20"), "{told}");
    assert!(told.contains("WHERE tbl = 'public.t'"), "{told}");
    assert_eq!(db.psql(&format!("SET ROLE looks; {PROBLEMS}")), "", "not to who may not read the table");
    let oldest = db.psql("SELECT min(at) FROM cache_sync.dead_letters");
    assert_eq!(db.psql("SELECT dead_letters, oldest_dead_letter FROM cache_sync.tables"), format!("150|{oldest}"));

    db.psql("UPDATE cache_sync.dead_letter SET at = now() - current_setting('cache_sync.dead_letter_keep')::interval - interval '1 minute' WHERE seq < 3");
    let prune = "SELECT pruned FROM cache_sync.run_maintenance(60) WHERE what = 'dead letters'";
    for expected in ["60", "40", "0"] {
        assert_eq!(db.psql(prune), expected);
    }
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letters"), "50");
    assert_eq!(db.psql(PROBLEMS), "");
}

#[tokio::test]
async fn sessions_that_nobody_prunes_are_told_of() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t')");
    let _batches = (Batches::open(&db, "t").await, Batches::open(&db, "t").await);
    let age = |more: &str| {
        db.psql(&format!(
            "UPDATE cache_sync.session SET used_at = now() - current_setting('cache_sync.session_keep')::interval - interval '{more}'
             WHERE session = (SELECT max(session::text)::uuid FROM cache_sync.session)"
        ));
    };
    age("1 day");
    assert_eq!(db.psql(PROBLEMS), "");
    age("3 days");
    let told = db.psql(PROBLEMS);
    assert!(told.starts_with("t|sessions are kept that nobody has used since 20"), "{told}");
    assert!(told.ends_with("|Call run_maintenance() regularly."), "{told}");
    db.psql("SELECT cache_sync.run_maintenance()");
    assert_eq!(db.psql(PROBLEMS), "");
}

/// What belongs to one table is deleted and counted without looking at what belongs to all others, and old letters are found by age.
#[test]
fn no_table_pays_for_another() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t');
         INSERT INTO cache_sync.session (session, table_id, fence) SELECT gen_random_uuid(), 1000 + n % 100, 1 FROM generate_series(1, 5000) n;
         INSERT INTO cache_sync.dead_letter (table_id, session, seq, ord, sqlstate, message, op, patch)
         SELECT 1000 + n % 100, gen_random_uuid(), 1, 1, '23514', repeat('m', 100), 'edit', '{}' FROM generate_series(1, 5000) n;
         ANALYZE cache_sync.session, cache_sync.dead_letter",
    );
    for statement in [
        "DELETE FROM cache_sync.session WHERE table_id = 1",
        "DELETE FROM cache_sync.dead_letter WHERE table_id = 1",
        "SELECT dead_letters, sessions, oldest_dead_letter FROM cache_sync.tables",
        "SELECT ctid FROM cache_sync.dead_letter WHERE at < now() - interval '1 day' LIMIT 10000 FOR UPDATE SKIP LOCKED",
    ] {
        let plan = db.psql(&format!("EXPLAIN {statement}"));
        assert!(
            !plan.contains("Seq Scan on session") && !plan.contains("Seq Scan on dead_letter"),
            "{statement}\n{plan}"
        );
    }
}
