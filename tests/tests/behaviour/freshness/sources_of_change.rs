//! Whoever changes a row, and however: within a second a node that holds it shows what the table has.

use cache_sync::{Cache, Client};
use cache_sync_cluster::Options;
use cache_sync_tests::rows::client;
use cache_sync_tests::{Database, cluster_without_preloading, output, start};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(1);
/// Those that the tests use, whether there is such a row or not.
const IDS: std::ops::Range<i32> = 0..25;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    v: Option<String>,
}

/// A node that holds all rows of a table `t (id int, v text)`, those that are missing too.
struct Node<'d> {
    db: &'d Database<'d>,
    client: Client,
    cache: Cache<i32, Row>,
}

impl<'d> Node<'d> {
    async fn of(db: &'d Database<'_>) -> Node<'d> {
        let client = client(db).await;
        let cache = client.cache("t").open().await.unwrap_or_else(|error| panic!("{error:?}"));
        let node = Node { db, client, cache };
        assert_eq!(node.shown().await, node.stored());
        node
    }

    async fn shown(&self) -> BTreeMap<i32, String> {
        let ids: Vec<_> = IDS.collect();
        let rows = self.cache.get_many(&ids).await.unwrap_or_else(|error| panic!("{error:?}"));
        let shown = |row: &Row| row.v.clone().unwrap_or_default();
        ids.into_iter().zip(rows).filter_map(|(id, row)| Some((id, shown(&*row?)))).collect()
    }

    fn stored(&self) -> BTreeMap<i32, String> {
        let rows = self.db.psql(&format!("SELECT id, v FROM t WHERE id < {}", IDS.end));
        let row = |line: &str| line.split_once('|').map(|(id, v)| (id.parse().unwrap(), v.to_owned()));
        rows.lines().filter_map(row).collect()
    }

    /// Whether every row is held and served without asking Postgres.
    fn holds_all(&self) -> bool {
        IDS.into_iter().all(|id| self.cache.cached(&id).is_some())
    }

    /// Waits until it shows what the table has.
    async fn follows(&self, what: &str) {
        let (since, stored) = (Instant::now(), self.stored());
        loop {
            let shown = self.shown().await;
            if shown == stored {
                break;
            }
            assert!(since.elapsed() < WITHIN, "{what}: shown {shown:?}, stored {stored:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What comes late must not bring an old row back.
        self.client.catch_up().await.unwrap();
        assert_eq!(self.shown().await, stored, "{what}");
    }

    async fn close(self) {
        self.client.close(Duration::from_secs(5)).await.unwrap();
    }
}

const PLAIN: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t');
    INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 9) n";
const VERSIONED: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t', versioned => true);
    INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 9) n";
const PARTITIONED: &str = "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (5);
    CREATE TABLE high PARTITION OF t FOR VALUES FROM (5) TO (20) PARTITION BY RANGE (id);
    CREATE TABLE middle PARTITION OF high FOR VALUES FROM (5) TO (8);
    CREATE TABLE top PARTITION OF high FOR VALUES FROM (8) TO (20);
    SELECT cache_sync.attach('t', versioned => true); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 9) n";

/// One whose changes are told from shared memory, and one where writers NOTIFY.
fn databases() -> [Database<'static>; 2] {
    [Database::with_extension(), Database::with_extension_in(cluster_without_preloading())]
}

/// Each statement in turn is followed.
async fn follow(setup: &str, statements: &[&str]) {
    for db in databases() {
        db.psql(setup);
        let node = Node::of(&db).await;
        for statement in statements {
            let before = node.stored();
            db.psql(statement);
            assert_ne!(node.stored(), before, "{statement} changes nothing");
            node.follows(statement).await;
        }
        node.close().await;
    }
}

macro_rules! sources {
    ($($name:ident: [$($setup:expr),*] $statements:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            for setup in [$($setup),*] {
                follow(setup, &$statements).await;
            }
        }
    )*};
}

sources! {
    insert: [PLAIN, VERSIONED] ["INSERT INTO t VALUES (10, 'new')", "INSERT INTO t SELECT n, 'x' FROM generate_series(11, 14) n"];
    update: [PLAIN, VERSIONED] ["UPDATE t SET v = 'x' WHERE id = 1", "UPDATE t SET v = v || '!'"];
    update_of_the_key: [PLAIN, VERSIONED] ["UPDATE t SET id = 20 WHERE id = 1", "UPDATE t SET id = CASE id WHEN 2 THEN 21 ELSE 2 END, v = 'swapped' WHERE id IN (2)"];
    delete: [PLAIN, VERSIONED] ["DELETE FROM t WHERE id = 1", "DELETE FROM t"];
    on_conflict: [PLAIN, VERSIONED] ["INSERT INTO t VALUES (1, 'x'), (20, 'y') ON CONFLICT (id) DO UPDATE SET v = excluded.v"];
    merge: [PLAIN, VERSIONED] ["MERGE INTO t USING (VALUES (1, 'x'), (2, NULL), (20, 'y')) AS s (id, v) ON t.id = s.id
        WHEN MATCHED AND s.v IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)"];
    copy: [PLAIN, VERSIONED] ["COPY t (id, v) FROM PROGRAM 'printf \"20\\tx\\n21\\ty\\n\"'"];
    copy_freeze: [PLAIN, VERSIONED] ["BEGIN; TRUNCATE t; COPY t (id, v) FROM PROGRAM 'printf \"1\\tx\\n21\\ty\\n\"' WITH (FREEZE); COMMIT"];
    cascades: [
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9);
         CREATE TABLE t (id int PRIMARY KEY REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, v text);
         SELECT cache_sync.attach('t', versioned => true); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 9) n"
    ] ["DELETE FROM parent WHERE id < 3", "UPDATE parent SET id = id + 10 WHERE id > 7"];
    set_null_and_default: [
        "CREATE TABLE parent (v text PRIMARY KEY); INSERT INTO parent SELECT 'v' || n FROM generate_series(0, 9) n;
         CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'v0' REFERENCES parent ON DELETE SET NULL ON UPDATE SET DEFAULT);
         SELECT cache_sync.attach('t'); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 9) n"
    ] ["DELETE FROM parent WHERE v = 'v3'", "UPDATE parent SET v = 'w' WHERE v = 'v4'"];
    functions_and_blocks: [PLAIN, VERSIONED] [
        "CREATE FUNCTION touch(n int) RETURNS void LANGUAGE sql AS 'UPDATE t SET v = ''touched'' WHERE id = n'; SELECT touch(1)",
        "DO $$ BEGIN FOR n IN 2..4 LOOP UPDATE t SET v = 'done' WHERE id = n; END LOOP; END $$",
        "DO $$ BEGIN UPDATE t SET v = 'kept' WHERE id = 5; BEGIN UPDATE t SET v = 'undone' WHERE id = 6; RAISE 'x';
         EXCEPTION WHEN OTHERS THEN NULL; END; END $$"];
    savepoints: [PLAIN, VERSIONED] [
        "BEGIN; UPDATE t SET v = 'a' WHERE id = 1; SAVEPOINT s; UPDATE t SET v = 'b' WHERE id = 2; ROLLBACK TO s;
         UPDATE t SET v = 'c' WHERE id = 3; RELEASE s; DELETE FROM t WHERE id = 4; COMMIT"];
    where_current_of: [PLAIN, VERSIONED] [
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t WHERE id = 3 FOR UPDATE; FETCH c; UPDATE t SET v = 'current' WHERE CURRENT OF c;
         COMMIT", "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t WHERE id = 4; FETCH c; DELETE FROM t WHERE CURRENT OF c; COMMIT"];
    data_modifying_ctes: [PLAIN, VERSIONED] [
        "WITH gone AS (DELETE FROM t WHERE id < 3 RETURNING *), moved AS (INSERT INTO t SELECT id + 20, v FROM gone RETURNING id)
         UPDATE t SET v = 'left' WHERE id = 9", "WITH x AS (UPDATE t SET v = 'x' WHERE id = 5 RETURNING 1) SELECT count(*) FROM x"];
    truncate: [PLAIN, VERSIONED] ["TRUNCATE t"];
    truncate_of_partitions: [PARTITIONED] ["TRUNCATE low", "TRUNCATE high", "INSERT INTO t VALUES (1, 'x'), (9, 'y')", "TRUNCATE t"];
    truncate_cascade: [
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9);
         CREATE TABLE t (id int PRIMARY KEY REFERENCES parent, v text); SELECT cache_sync.attach('t');
         INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 9) n"
    ] ["TRUNCATE parent CASCADE"];
    partitions_that_come_and_go: [PARTITIONED] [
        "ALTER TABLE t DETACH PARTITION low",
        "UPDATE low SET v = 'alone'; ALTER TABLE t ATTACH PARTITION low FOR VALUES FROM (0) TO (5)",
        "UPDATE low SET v = 'again'",
        "CREATE TABLE other (id int PRIMARY KEY, v text, cs_version bigint, cs_clock bytea); INSERT INTO other VALUES (22, 'other');
         ALTER TABLE t ATTACH PARTITION other FOR VALUES FROM (20) TO (30)",
        "TRUNCATE other",
        "INSERT INTO t VALUES (23, 'x')",
        "CREATE TABLE later PARTITION OF t FOR VALUES FROM (30) TO (40); UPDATE t SET id = 32 WHERE id = 23",
        "ALTER TABLE t DETACH PARTITION low; CREATE TABLE lowest PARTITION OF t FOR VALUES FROM (0) TO (5) PARTITION BY RANGE (id);
         CREATE TABLE lowest_leaf PARTITION OF lowest FOR VALUES FROM (0) TO (5); INSERT INTO t VALUES (1, 'in a leaf'), (4, 'y')",
        "TRUNCATE lowest_leaf",
        "ALTER TABLE high DETACH PARTITION top",
        "DROP TABLE high"];
    rows_that_move_between_partitions: [PARTITIONED] [
        "UPDATE t SET id = 15 WHERE id = 1", "UPDATE t SET id = 0, v = 'moved' WHERE id = 15", "UPDATE t SET id = 18 WHERE id = 6"];
    under_the_role_of_a_replica: [PLAIN, VERSIONED, PARTITIONED] [
        "SET session_replication_role = replica; UPDATE t SET v = 'replica' WHERE id = 1; DELETE FROM t WHERE id = 2",
        "SET session_replication_role = replica; TRUNCATE t"];
    another_type: [PLAIN, VERSIONED] ["ALTER TABLE t ALTER v TYPE varchar(1) USING left(v, 1)", "ALTER TABLE t ALTER v TYPE text USING v || '!'"];
}

/// Each of its commits is one of its own, and what it rolls back in between is not told.
#[tokio::test]
async fn a_procedure_with_several_commits() {
    for (db, setup) in [PLAIN, VERSIONED].into_iter().flat_map(|setup| databases().map(|db| (db, setup))) {
        db.psql(setup);
        db.psql(
            "CREATE PROCEDURE steps() LANGUAGE plpgsql AS $$ BEGIN FOR n IN 1..6 LOOP UPDATE t SET v = 'step' WHERE id = n;
             IF n % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$",
        );
        let node = Node::of(&db).await;
        db.psql("CALL steps()");
        assert_eq!(db.psql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE v = 'step'"), "1 2 4 5");
        node.follows("steps").await;
        node.close().await;
    }
}

/// What rewrites a table without changing its rows drops nothing.
#[tokio::test]
async fn rewriting_a_table_is_no_change() {
    for db in databases() {
        db.psql(PLAIN);
        let node = Node::of(&db).await;
        for statement in
            ["VACUUM FULL t", "CLUSTER t USING t_pkey", "REINDEX TABLE t", "VACUUM (FREEZE) t", "ANALYZE t"]
        {
            db.psql(statement);
            node.client.catch_up().await.unwrap();
            assert!(node.holds_all(), "{statement}");
            node.follows(statement).await;
        }
        db.psql("UPDATE t SET v = 'x' WHERE id = 3");
        node.follows("an update of the table that was rewritten").await;
        node.close().await;
    }
}

/// A table of the same name, or an extension of another creation, is another one: nothing held is served.
#[tokio::test]
async fn what_is_made_anew_must_be_opened_anew() {
    const CHANGES: [&str; 4] = [
        "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'other')",
        "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'other'); SELECT cache_sync.attach('t')",
        "DROP EXTENSION cache_sync CASCADE; CREATE EXTENSION cache_sync; UPDATE t SET v = 'other'",
        "DROP EXTENSION cache_sync CASCADE; CREATE EXTENSION cache_sync; UPDATE t SET v = 'other'; SELECT cache_sync.attach('t')",
    ];
    for (change, db) in CHANGES.into_iter().flat_map(|change| databases().map(|db| (change, db))) {
        db.psql(PLAIN);
        let node = Node::of(&db).await;
        db.psql(change);
        let since = Instant::now();
        loop {
            match node.cache.get(&1).await {
                Ok(Some(row)) if row.v.as_deref() == Some("other") => {}
                Ok(row) => assert!(since.elapsed() < 2 * WITHIN, "{change}: {row:?}"),
                Err(_) => break,
            }
            assert!(since.elapsed() < 10 * WITHIN, "{change}: nobody says that it must be opened anew");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if change.contains("attach") {
            drop(node);
            Node::of(&db).await.close().await;
        }
    }
}

/// A prepared transaction is committed by another backend, which knows nothing of its keys.
#[tokio::test]
async fn a_prepared_transaction_is_refused() {
    let cluster = start(Options::default().setting("max_prepared_transactions", "2"));
    let db = Database::with_extension_in(&cluster);
    db.psql(PLAIN);
    let node = Node::of(&db).await;
    let error = db.psql_error("BEGIN; UPDATE t SET v = 'x'; PREPARE TRANSACTION 'p'");
    assert!(
        error.contains("0A000: cannot PREPARE a transaction that has changed tables attached to cache_sync"),
        "{error}"
    );
    node.follows("the refused transaction").await;
    db.psql("CREATE TABLE other (n int); BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'p'");
    db.psql("COMMIT PREPARED 'p'");
    assert!(node.holds_all());
    node.close().await;
}

/// Changes that come by logical replication: the initial copy, rows, and TRUNCATE.
#[tokio::test]
async fn logical_replication() {
    let cluster = start(Options::default().setting("wal_level", "logical"));
    let (there, here) = (Database::empty_in(&cluster), Database::with_extension_in(&cluster));
    there.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 9) n;
         CREATE PUBLICATION p FOR TABLE t",
    );
    there.psql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
    here.psql("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t')");
    let node = Node::of(&here).await;
    here.psql(&format!("CREATE SUBSCRIPTION s CONNECTION '{}' PUBLICATION p WITH (create_slot = false)", there.dsn()));
    let settled = async |what: &str| {
        let of = |db: &Database<'_>| db.psql("SELECT md5(string_agg(t::text, ' ' ORDER BY id)) FROM t");
        cache_sync_tests::wait_until(Duration::from_secs(30), what, async || of(&there) == of(&here)).await;
        node.follows(what).await;
    };
    settled("the initial copy").await;
    for statement in [
        "UPDATE t SET v = 'x' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "UPDATE t SET id = 20 WHERE id = 3",
        "INSERT INTO t VALUES (21, 'new')",
        "TRUNCATE t",
        "INSERT INTO t VALUES (1, 'again')",
    ] {
        there.psql(statement);
        settled(statement).await;
    }
    here.psql("ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE)");
    here.psql("DROP SUBSCRIPTION s");
    there.psql("SELECT pg_drop_replication_slot('s')");
    node.close().await;
}

/// A restore into a table that nodes hold, also one that switches triggers off.
#[tokio::test]
async fn restored_data() {
    let (from, db) = (Database::with_extension(), Database::with_extension());
    from.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'restored' FROM generate_series(1, 20) n",
    );
    let dump = std::env::temp_dir().join(format!("{}.dump", from.name()));
    output(from.client("pg_dump").args(["-Fc", "--data-only", "--table=t", "-f"]).arg(&dump));
    db.psql(PLAIN);
    let node = Node::of(&db).await;
    for options in [&["--data-only"][..], &["--data-only", "--disable-triggers"]] {
        db.psql("DELETE FROM t");
        node.follows("the table is empty").await;
        output(db.client("pg_restore").args(options).args(["-d", db.name()]).arg(&dump));
        node.follows(&options.join(" ")).await;
    }
    std::fs::remove_file(dump).unwrap();
    node.close().await;
}
