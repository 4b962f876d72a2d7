//! Partitioned tables as people have them: partitions of partitions, columns in another order, partitions that come and
//! go.

use cache_sync_tests::batches::{Batches, sqlstate};
use cache_sync_tests::heard::Heard;
use cache_sync_tests::{Database, SOON, wait_until};
use serde_json::json;

/// Regions, of which one is divided once more and one has its columns at other places.
fn regions(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE t (id int, region text, v text, n int NOT NULL DEFAULT 0, PRIMARY KEY (id, region))
           PARTITION BY LIST (region);
         CREATE TABLE eu PARTITION OF t FOR VALUES IN ('eu') PARTITION BY RANGE (id);
         CREATE TABLE eu_low PARTITION OF eu FOR VALUES FROM (0) TO (100);
         CREATE TABLE eu_high PARTITION OF eu FOR VALUES FROM (100) TO (200);
         CREATE TABLE us (n int NOT NULL DEFAULT 0, junk int, v text, region text NOT NULL, id int NOT NULL,
                          PRIMARY KEY (id, region));
         ALTER TABLE us DROP junk; ALTER TABLE t ATTACH PARTITION us FOR VALUES IN ('us');
         SELECT cache_sync.attach('t', true, '{\"n\": \"add\"}')",
    );
}

/// A table that is to become a partition, as somebody makes it who does not think of cache_sync.
fn asia(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE asia (n int NOT NULL DEFAULT 0, junk int, v text, region text NOT NULL, id int NOT NULL,
                            PRIMARY KEY (id, region));
         ALTER TABLE asia DROP junk; INSERT INTO asia (id, region, v) VALUES (1, 'asia', 'old')",
    );
}

const ASIA: &str = "ALTER TABLE t ATTACH PARTITION asia FOR VALUES IN ('asia')";
const PROBLEMS: &str = "SELECT tbl, problem, hint FROM cache_sync.check_tables()";

#[tokio::test]
async fn every_kind_of_patch_reaches_partitions_of_partitions() {
    let db = Database::with_extension();
    regions(&db);
    let mut heard = Heard::from_now(&db);
    let keys = [r#"{"id": 5, "region": "eu"}"#, r#"{"id": 150, "region": "eu"}"#, r#"{"id": 5, "region": "us"}"#];
    let mut batches = Batches::open(&db, "t").await;
    let put = json!([{"op": "put", "fields": ["v", "n"]}]);
    let rows = |places: &[(i64, &str)], stamp: i64, value: &str| {
        let row = |(number, (id, region)): (usize, &(i64, &str))| json!({"#": number, "@": stamp, "id": id, "region": region, "v": value, "n": 3});
        [json!(places.iter().enumerate().map(row).collect::<Vec<_>>())]
    };
    let all = [(5, "eu"), (150, "eu"), (5, "us")];
    let stamp = batches.now().await;
    assert_eq!(batches.verdicts(put.clone(), &rows(&all, stamp, "a")).await, ["applied"; 3]);
    assert_eq!(heard.of("t", &keys), keys.join(" "));
    // One that no partition takes is refused alone.
    let with_nowhere = [(5, "eu"), (5, "nowhere"), (5, "us")];
    assert_eq!(
        batches.verdicts(put, &rows(&with_nowhere, stamp + 1, "b")).await,
        ["applied", "rejected 23514", "applied"]
    );
    let edit = json!([{"op": "edit", "fields": ["v", "n"]}]);
    assert_eq!(batches.verdicts(edit.clone(), &rows(&all, stamp + 2, "c")).await, ["applied"; 3]);
    assert_eq!(batches.verdicts(edit, &rows(&all, stamp, "late")).await, ["merged"; 3]);
    assert_eq!(db.psql("SELECT DISTINCT v, n FROM t"), "c|9");
    heard.of("t", &[]);
    db.psql("UPDATE eu_high SET v = 'by its own name'; DELETE FROM us");
    assert_eq!(heard.of("t", &keys), keys[1..].join(" "));
    let delete = json!([{"op": "delete"}]);
    let stamp = batches.now().await;
    let rows =
        [json!([{"#": 0, "@": stamp, "id": 150, "region": "eu"}, {"#": 1, "@": stamp, "id": 5, "region": "us"}])];
    assert_eq!(batches.verdicts(delete, &rows).await, ["applied", "missing"]);
    assert_eq!(db.psql("SELECT id, region FROM t"), "5|eu");
}

#[tokio::test]
async fn a_row_that_moves_between_partitions_is_two_keys() {
    let db = Database::with_extension();
    regions(&db);
    db.psql("INSERT INTO t VALUES (5, 'eu', 'x')");
    let mut heard = Heard::from_now(&db);
    let (before, after) = (r#"{"id": 5, "region": "eu"}"#, r#"{"id": 5, "region": "us"}"#);
    db.psql("UPDATE t SET region = 'us'");
    assert_eq!(heard.of("t", &[before, after]), format!("{before} {after}"));
    assert_eq!(db.psql("SELECT v, n FROM us"), "x|0");
    // A patch names its row by the key, so it cannot change it.
    let error = db.psql_error(r#"SELECT cache_sync.edit('t', '{"id": 5, "region": "us"}', '{"region": "eu"}')"#);
    assert!(error.contains("22023") && error.contains("cannot be edited"), "{error}");
    // Whoever wants the row elsewhere deletes it there and puts it here.
    db.psql(&format!(
        r#"BEGIN; SELECT cache_sync.delete('t', '{after}');
           SELECT cache_sync.upsert('t', '{{"id": 5, "region": "eu", "v": "back"}}'); COMMIT"#
    ));
    assert_eq!(heard.of("t", &[before, after]), format!("{before} {after}"));
    assert_eq!(db.psql("SELECT v, tableoid::regclass FROM t"), "back|eu_low");
}

/// A batch waits for a row that somebody is moving: Postgres makes that an error that is worth another try, and then the
/// row is gone from where it was.
#[tokio::test]
async fn a_batch_that_waits_for_a_row_that_moves_away_is_tried_again() {
    let db = Database::with_extension();
    regions(&db);
    db.psql("INSERT INTO t VALUES (5, 'eu', 'x')");
    let mut batches = Batches::open(&db, "t").await;
    let mover = db.connect().await;
    mover.batch_execute("BEGIN; UPDATE t SET region = 'us'").await.unwrap();
    let (edit, stamp) = (json!([{"op": "edit", "fields": ["v"]}]), batches.now().await);
    let rows = [json!([{"#": 0, "@": stamp, "id": 5, "region": "eu", "v": "y"}])];
    let waiting = async {
        let pid: i32 = mover.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let blocked = format!("SELECT count(*) FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))");
        wait_until(SOON, "the batch waits", async || db.psql(&blocked) == "1").await;
        mover.batch_execute("COMMIT").await.unwrap();
    };
    let (refused, ()) = tokio::join!(batches.send_as(1, 1, edit.clone(), &rows), waiting);
    assert_eq!(sqlstate(refused), "40001");
    assert_eq!(batches.verdicts(edit, &rows).await, ["missing"]);
    assert_eq!(db.psql("SELECT region, v FROM t"), "us|x");
}

/// Postgres names the column that is missing. What it lets in without a word, the default, check_tables() finds and repair()
/// mends.
#[tokio::test]
async fn a_table_that_becomes_a_partition() {
    let db = Database::with_extension();
    regions(&db);
    asia(&db);
    let error = db.psql_error(ASIA);
    assert!(error.contains("42804") && error.contains("cs_version"), "{error}");
    let mut batches = Batches::open(&db, "t").await;
    let (edit, stamp) = (json!([{"op": "edit", "fields": ["v", "n"]}]), batches.now().await);
    let row = |stamp: i64, value: &str| [json!([{"#": 0, "@": stamp, "id": 1, "region": "asia", "v": value, "n": 1}])];
    assert_eq!(batches.verdicts(edit.clone(), &row(stamp, "x")).await, ["missing"]);

    db.psql(&format!("ALTER TABLE asia ADD cs_clock bytea, ADD cs_version bigint; {ASIA}"));
    let repair = "SELECT cache_sync.repair('public.t');";
    assert_eq!(db.psql(PROBLEMS), format!("t|cs_version of public.asia has lost its default|{repair}"));
    // Most goes on before it is mended.
    assert_eq!(batches.verdicts(edit.clone(), &row(stamp, "y")).await, ["applied"]);
    assert_eq!(batches.verdicts(edit.clone(), &row(stamp - 1, "late")).await, ["merged"]);
    db.psql("INSERT INTO asia (id, region) VALUES (2, 'asia')");
    assert_eq!(
        db.psql("SELECT v, n, cs_version IS NULL FROM asia ORDER BY id"),
        "y|2|f\n|0|f",
        "the trigger numbers rows without it"
    );

    db.psql(repair);
    assert_eq!(db.psql(PROBLEMS), "");
    db.psql("INSERT INTO asia (id, region) VALUES (3, 'asia')");
    assert_eq!(db.psql("SELECT count(*) FROM asia WHERE cs_version IS NULL"), "0");
    let mut heard = Heard::from_now(&db);
    db.psql("TRUNCATE asia");
    assert_eq!(heard.of("t", &[]), "*");
    assert_eq!(batches.verdicts(edit, &row(stamp + 1, "z")).await, ["missing"]);
}

#[test]
fn a_partition_made_later_has_all_triggers() {
    let db = Database::with_extension();
    regions(&db);
    db.psql(
        "CREATE TABLE africa PARTITION OF t FOR VALUES IN ('africa') PARTITION BY HASH (id);
             CREATE TABLE africa_all PARTITION OF africa FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    );
    db.psql("INSERT INTO africa VALUES (1, 'africa')");
    assert_eq!(db.psql(PROBLEMS), "");
    let mut heard = Heard::from_now(&db);
    db.psql("TRUNCATE africa_all");
    assert_eq!(heard.of("t", &[]), "*");
    let before = db.psql("SELECT count(*) FROM pg_trigger WHERE tgname ~ 'cache_sync'");
    db.psql("SELECT cache_sync.repair('t')");
    assert_eq!(db.psql("SELECT count(*) FROM pg_trigger WHERE tgname ~ 'cache_sync'"), before);
}

/// A table that somebody else has attached, whose owner has no part in the extension.
#[test]
fn the_owner_makes_partitions_without_rights_on_the_extension() {
    let db = Database::with_extension();
    db.psql("CREATE ROLE owner_alone LOGIN; CREATE SCHEMA o AUTHORIZATION owner_alone;
        SET ROLE owner_alone; CREATE TABLE o.t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE o.part (id int PRIMARY KEY, v int, cs_version bigint, cs_clock bytea);
        RESET ROLE; SELECT cache_sync.attach('o.t', versioned => true)");
    let mut heard = Heard::from_now(&db);
    db.psql("SET SESSION AUTHORIZATION owner_alone; CREATE TABLE o.one PARTITION OF o.t FOR VALUES FROM (0) TO (9);
        ALTER TABLE o.part ALTER cs_version SET DEFAULT 0; ALTER TABLE o.t ATTACH PARTITION o.part FOR VALUES FROM (10) TO (19)");
    heard.of("o.t", &[]);
    db.psql("SET SESSION AUTHORIZATION owner_alone; INSERT INTO o.t VALUES (1, 0), (11, 0); UPDATE o.t SET v = 1");
    assert_eq!(heard.of("o.t", &[]), "?");
    db.psql("SET SESSION AUTHORIZATION owner_alone; TRUNCATE o.part");
    assert_eq!(heard.of("o.t", &[]), "*");
    let named = "SET SESSION AUTHORIZATION owner_alone; CREATE TRIGGER forged AFTER INSERT ON o.one FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change(1)";
    assert!(db.psql_error(named).contains("42501"), "it cannot be named");
    db.psql("DROP OWNED BY owner_alone; DROP ROLE owner_alone");
}

/// A partition that moves to another attached table brings that one's trigger along, under its own number.
#[test]
fn a_partition_that_changes_its_table() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE one (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE two (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF one FOR VALUES FROM (0) TO (9); SELECT cache_sync.attach('one'), cache_sync.attach('two');
         ALTER TABLE one DETACH PARTITION part; ALTER TABLE two ATTACH PARTITION part FOR VALUES FROM (0) TO (9)",
    );
    assert_eq!(db.psql(PROBLEMS), "");
    let (mut of_one, mut of_two) = (Heard::from_now(&db), Heard::from_now(&db));
    db.psql("TRUNCATE part");
    assert_eq!(of_one.of("one", &[]), "");
    assert_eq!(of_two.of("two", &[]), "*");
}

/// A detached partition kept a trigger, so that it could neither be attached nor detached.
#[tokio::test]
async fn a_partition_that_leaves_is_a_table_of_its_own() {
    let db = Database::with_extension();
    regions(&db);
    asia(&db);
    let columns = || {
        db.psql(
            "SELECT string_agg(attname, ',') FROM pg_attribute
             WHERE attrelid = 'asia'::regclass AND attnum > 0 AND NOT attisdropped",
        )
    };
    let before = columns();
    db.psql(&format!(
        "ALTER TABLE asia ADD cs_clock bytea, ADD cs_version bigint; {ASIA}; SELECT cache_sync.repair('t')"
    ));
    let mut batches = Batches::open(&db, "t").await;
    let (edit, stamp) = (json!([{"op": "edit", "fields": ["v"]}]), batches.now().await);
    let row = [json!([{"#": 0, "@": stamp, "id": 1, "region": "asia", "v": "x"}])];
    assert_eq!(batches.verdicts(edit.clone(), &row).await, ["applied"]);
    db.psql("ALTER TABLE t DETACH PARTITION asia");
    assert_eq!(batches.verdicts(edit, &row).await, ["missing"]);
    let left = db.psql(PROBLEMS);
    assert!(left.starts_with("asia|it is not attached") && left.contains("cache_sync.detach('public.asia')"), "{left}");
    db.psql("INSERT INTO asia (id, region) VALUES (2, 'asia'); DELETE FROM asia WHERE id = 2");

    // On its own it can be attached, and what it had from before is taken over.
    let version = db.psql("SELECT cs_version FROM asia");
    db.psql("SELECT cache_sync.attach('asia', versioned => true)");
    assert_eq!(db.psql(&format!("SELECT cs_version = {version} FROM asia")), "t");
    let mut heard = Heard::from_now(&db);
    db.psql("UPDATE asia SET v = 'z'");
    assert_eq!(heard.of("asia", &[r#"{"id": 1, "region": "asia"}"#]), r#"{"id": 1, "region": "asia"}"#);
    // While it is, Postgres does not take it back.
    assert!(db.psql_error(ASIA).contains("42710"));
    db.psql("SELECT cache_sync.detach('asia')");
    db.psql(&format!("{ASIA}; SELECT cache_sync.repair('t'); ALTER TABLE t DETACH PARTITION asia"));

    // Or what is left of cache_sync is taken off it.
    db.psql("SELECT cache_sync.detach('asia', drop_columns => true)");
    assert_eq!(columns(), before);
    assert_eq!(db.psql("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'asia'::regclass"), "0");
    assert!(db.psql_error("SELECT cache_sync.detach('asia')").contains("CS005"));
}

#[test]
fn a_partition_cannot_be_attached_without_its_table() {
    let db = Database::with_extension();
    regions(&db);
    for call in ["attach('us')", "attach('eu', true)", "detach('us')", "edit('us', '{}', '{}')"] {
        let error = db.psql_error(&format!("SELECT cache_sync.{call}"));
        assert!(error.contains("whole table") && error.contains("HINT"), "{call}: {error}");
    }
    // One that was attached when it was no partition yet: the table says what to do.
    db.psql("SELECT cache_sync.detach('t', true)");
    asia(&db);
    db.psql(&format!("SELECT cache_sync.attach('asia'); {ASIA}"));
    let hint = "Attach the whole table: SELECT cache_sync.attach('public.t').";
    assert_eq!(db.psql(PROBLEMS), format!("asia|public.asia is a partition|{hint}"));
    let error = db.psql_error("SELECT cache_sync.attach('public.t')");
    assert!(error.contains("55000") && error.contains("SELECT cache_sync.detach('public.asia')"), "{error}");
    db.psql("SELECT cache_sync.detach('public.asia'); SELECT cache_sync.attach('public.t')");
    assert_eq!(db.psql(PROBLEMS), "");
}

/// A key does not identify one row when a child may hold it too; the reason says so.
#[test]
fn inheritance_is_refused_with_a_reason() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE child () INHERITS (t)");
    for table in ["t", "child"] {
        db.try_psql("ALTER TABLE child ADD PRIMARY KEY (id)").ok();
        let error = db.psql_error(&format!("SELECT cache_sync.attach('{table}')"));
        assert!(error.contains("42809") && error.contains("declarative partitioning"), "{error}");
    }
    // Nor can it come later, unless nobody looks.
    db.psql(
        "DROP TABLE child; SELECT cache_sync.attach('t', true); ALTER EVENT TRIGGER cache_sync_ddl DISABLE;
         CREATE TABLE child () INHERITS (t); ALTER EVENT TRIGGER cache_sync_ddl ENABLE ALWAYS",
    );
    // The child has the columns and their default by then, which is said, too.
    let told = db.psql(PROBLEMS);
    let inherits = "t|public.t inherits, or is inherited from|A key does not identify one row there; use declarative partitioning.";
    assert!(told.starts_with(inherits) && told.contains("\nchild|it is not attached"), "{told}");
    db.psql("ALTER TABLE child NO INHERIT t; SELECT cache_sync.detach('child')");
    assert_eq!(db.psql(PROBLEMS), "");
}

/// It waits for everybody who has read the table, perhaps for hours, and queries that begin meanwhile lack its rows already.
#[tokio::test]
async fn a_partition_that_leaves_concurrently_is_told_before_others_are_waited_for() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF t FOR VALUES FROM (0) TO (9);
         SELECT cache_sync.attach('t'); INSERT INTO t VALUES (1)",
    );
    let (reader, owner) = (db.connect().await, db.connect().await);
    reader.batch_execute("BEGIN; SELECT * FROM t").await.unwrap();
    let mut heard = Heard::from_now(&db);
    let meanwhile = async {
        wait_until(SOON, "the rows are gone", async || db.psql("SELECT count(*) FROM t") == "0").await;
        assert_eq!(heard.of("t", &[]), "*");
        reader.batch_execute("COMMIT").await.unwrap();
    };
    let (detached, ()) =
        tokio::join!(owner.batch_execute("ALTER TABLE t DETACH PARTITION part CONCURRENTLY"), meanwhile);
    detached.unwrap();
    assert_eq!(heard.of("t", &[]), "*");
}
