//! What is left of attaching on other tables, and uninstalling whatever there is.

use std::process::Command;

use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::{Database, cluster};

const LEFT: &str = "SELECT tbl FROM cache_sync.check_tables() ORDER BY tbl::text";

/// Of a partition that was detached, and of tables made like an attached one, nobody knew: DROP EXTENSION was refused after
/// detach_all().
#[test]
fn uninstalling_finds_what_was_copied_and_what_left() {
    let db = Database::empty_in(cluster());
    let tables = "CREATE TABLE t (id int PRIMARY KEY, v text);
         CREATE TABLE m (id int, d int, v text, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
         CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)";
    let other = "CREATE TABLE parts (id int PRIMARY KEY, v text, k int) PARTITION BY LIST (id)";
    db.psql(&format!("{tables}; ALTER TABLE m DETACH PARTITION m1; {other}"));
    let before = db.schema();
    db.psql("DROP TABLE t, m, m1, parts; CREATE EXTENSION cache_sync");
    db.psql(&format!(
        "{tables}; SELECT cache_sync.attach('t', true), cache_sync.attach('m', true); ALTER TABLE m DETACH PARTITION m1"
    ));
    assert_eq!(db.psql(LEFT), "m1");
    db.psql("CREATE TABLE copied (LIKE t INCLUDING ALL); CREATE TABLE renamed (LIKE t INCLUDING ALL);
         ALTER TABLE renamed RENAME cs_version TO moved; CREATE TABLE plain (LIKE t INCLUDING ALL); SELECT cache_sync.attach('plain')");
    // A copy that became a partition of something else.
    db.psql(&format!(
        "{other}; CREATE TABLE moved (LIKE t INCLUDING DEFAULTS); ALTER TABLE moved DROP cs_clock;
         ALTER TABLE moved RENAME cs_version TO k; ALTER TABLE moved ALTER id SET NOT NULL, ALTER k TYPE int;
         ALTER TABLE moved ALTER k SET DEFAULT cache_sync.hlc(); ALTER TABLE parts ATTACH PARTITION moved DEFAULT"
    ));
    assert_eq!(db.psql(LEFT), "copied\nm1\nmoved\nrenamed");
    assert!(
        db.psql("SELECT hint FROM cache_sync.check_tables() WHERE tbl = 'm1'::regclass")
            .contains("cache_sync.detach('public.m1')")
    );
    db.psql("SELECT cache_sync.detach_all(drop_columns => true)");
    assert_eq!(db.psql(LEFT), "");
    db.psql("DROP EXTENSION cache_sync; DROP TABLE copied, renamed, plain, moved");
    assert_eq!(db.schema(), before);
}

/// One by one they can be taken back, too, also the columns of one that has nothing else any more.
#[test]
fn each_can_be_taken_back_by_itself() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t', true); CREATE TABLE copied (LIKE t INCLUDING ALL)");
    db.psql("SELECT cache_sync.detach('copied'); INSERT INTO copied VALUES (1)");
    let columns = "SELECT string_agg(attname, ',') FROM pg_attribute WHERE attrelid = 'copied'::regclass AND attnum > 0 AND NOT attisdropped";
    assert_eq!(db.psql(&format!("SELECT cs_version IS NULL FROM copied; {columns}")), "t\nid,cs_version,cs_clock");
    db.psql("SELECT cache_sync.detach('copied', drop_columns => true)");
    assert_eq!(db.psql(columns), "id");
    assert!(db.psql_error("SELECT cache_sync.detach('copied', drop_columns => true)").contains("CS005"));
}

fn psql_as(db: &Database<'_>, role: &str, sql: &str) -> Command {
    let mut psql = db.client("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", role, "-c", sql]);
    psql
}

/// One table of somebody else, and nothing was detached.
#[test]
fn what_belongs_to_others_is_left_with_a_warning() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE left_one LOGIN IN ROLE cache_sync_admin; CREATE ROLE left_two LOGIN IN ROLE cache_sync_admin;
         GRANT CREATE ON SCHEMA public TO left_one, left_two;
         SET ROLE left_one; CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE three (id int PRIMARY KEY);
         SELECT cache_sync.attach('one', true), cache_sync.attach('three');
         RESET ROLE; SET ROLE left_two; CREATE TABLE two (id int PRIMARY KEY); SELECT cache_sync.attach('two', true)",
    );
    for (call, left) in [("SELECT cache_sync.detach_all()", "two"), ("CALL cache_sync.detach_one_by_one()", "two")] {
        let told = psql_as(&db, "left_one", call).output().unwrap();
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("WARNING") && told.contains("public.two") && told.contains("must be owner of"), "{told}");
        assert_eq!(db.psql("SELECT tbl FROM cache_sync.tables"), left);
        db.psql("SET ROLE left_one; SELECT cache_sync.attach('one', true), cache_sync.attach('three')");
    }
    db.psql("SELECT cache_sync.detach_all(); DROP EXTENSION cache_sync");
    db.psql("DROP OWNED BY left_one, left_two; DROP ROLE left_one, left_two");
}

/// detach_all() holds each table's lock until all are done; the procedure lets go of one after the other.
#[tokio::test]
async fn one_by_one_they_are_free_at_once() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id int PRIMARY KEY);
         SELECT cache_sync.attach('one', true), cache_sync.attach('two')",
    );
    let (reader, admin) = (db.connect().await, db.connect().await);
    reader.batch_execute("BEGIN; SELECT * FROM two").await.unwrap();
    let meanwhile = async {
        until_waiting(&db, 1).await;
        db.psql("SET lock_timeout = '10s'; INSERT INTO one VALUES (1)");
        assert_eq!(db.psql("SELECT tbl FROM cache_sync.tables"), "two");
        reader.batch_execute("COMMIT").await.unwrap();
    };
    let (called, ()) =
        tokio::join!(admin.batch_execute("CALL cache_sync.detach_one_by_one(drop_columns => true)"), meanwhile);
    called.unwrap();
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.tables; SELECT * FROM one"), "0\n1");
}

/// One of the two columns was dropped by hand, and the other one stayed.
#[test]
fn whatever_is_there_of_the_two_columns_is_dropped() {
    for dropped in ["cs_clock", "cs_version"] {
        let db = Database::with_extension();
        db.psql(&format!(
            "CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t', true); ALTER TABLE t DROP COLUMN {dropped};
             SELECT cache_sync.detach('t', drop_columns => true)"
        ));
        let columns = "SELECT string_agg(attname, ',') FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped";
        assert_eq!(db.psql(columns), "id");
    }
}
