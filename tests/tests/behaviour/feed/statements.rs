//! What the feed tells of each kind of statement: every key that changed, as what, once it is committed.

use cache_sync_core::wire::ChangeKind;
use cache_sync_tests::Database;
use cache_sync_tests::feed::Feed;

/// A change in words: `table key kind`, with `+` behind the kind when a version came along.
async fn told(feed: &mut Feed, db: &Database<'_>, names: &[(u64, &str)]) -> Vec<String> {
    let mut told: Vec<String> = feed
        .changes(db)
        .await
        .into_iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Versioned => "versioned",
                ChangeKind::Unversioned => "unversioned",
                ChangeKind::FlushTable => return format!("{} all", change.table),
                ChangeKind::Tag => "tag",
            };
            let name = names.iter().find(|(hash, _)| *hash == change.key.0).map_or("?", |(_, name)| name);
            format!("{} {name} {kind}{}", change.table, if change.version.0 > 0 { "+" } else { "" })
        })
        .collect();
    told.sort();
    told
}

fn names<'n>(db: &Database<'_>, table: &str, column: &str, keys: &[&'n str]) -> Vec<(u64, &'n str)> {
    keys.iter()
        .map(|key| {
            let hash = db.psql(&format!("SELECT cache_sync.key_hash('{table}', '{{\"{column}\": \"{key}\"}}')"));
            (hash.parse::<i64>().expect("a hash") as u64, *key)
        })
        .collect()
}

async fn check(db: &Database<'_>, keys: &[(u64, &str)], statements: &[(&str, &[&str])]) {
    let mut feed = Feed::open(db).await;
    for (statement, expected) in statements {
        db.psql(statement);
        assert_eq!(told(&mut feed, db, keys).await, *expected, "{statement}");
    }
}

#[tokio::test]
async fn of_a_versioned_table() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT cache_sync.attach('t', versioned => true)");
    let keys = names(&db, "t", "id", &["1", "2", "3"]);
    let statements: &[(&str, &[&str])] = &[
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", &["1 1 unversioned+", "1 2 unversioned+"]),
        ("UPDATE t SET v = 'c' WHERE id = 1", &["1 1 versioned+"]),
        ("UPDATE t SET id = 3 WHERE id = 1", &["1 1 unversioned", "1 3 unversioned+"]),
        ("DELETE FROM t WHERE id = 3", &["1 3 unversioned"]),
        ("BEGIN; UPDATE t SET v = 'x'; ROLLBACK", &[]),
        ("BEGIN; UPDATE t SET v = 'x'; UPDATE t SET v = 'y'; COMMIT", &["1 2 versioned+"]),
        // A waiting INSERT drew its number long before it commits, so a row that was inserted here goes by no number.
        ("BEGIN; INSERT INTO t VALUES (1, 'a'); UPDATE t SET v = 'y' WHERE id = 1; COMMIT", &["1 1 unversioned+"]),
        ("BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'b'); COMMIT", &["1 1 unversioned+"]),
        ("INSERT INTO t VALUES (1, 'n') ON CONFLICT (id) DO UPDATE SET v = 'u'", &["1 1 versioned+"]),
        ("INSERT INTO t VALUES (1, 'n') ON CONFLICT DO NOTHING", &[]),
        // What somebody wrote as version counts only if it is plausible.
        (
            "SET session_replication_role = replica; INSERT INTO t (id, v, cs_version) VALUES (3, 'c', 9223372036854775807)",
            &["1 3 unversioned"],
        ),
        ("RESET session_replication_role; UPDATE t SET v = 'd' WHERE id = 3", &["1 3 unversioned+"]),
        ("SET session_replication_role = replica; DELETE FROM t WHERE id = 3", &["1 3 unversioned"]),
        ("TRUNCATE t", &["1 all"]),
    ];
    check(&db, &keys, statements).await;
}

#[tokio::test]
async fn of_a_plain_table_by_copy_savepoints_and_cascades() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
         SELECT cache_sync.attach('p'); SELECT cache_sync.attach('c')",
    );
    // The same key has another name in another table.
    let keys = [names(&db, "p", "id", &["1", "2"]), names(&db, "c", "id", &["2"])].concat();
    assert_ne!(keys[1].0, keys[2].0);
    let statements: &[(&str, &[&str])] = &[
        ("COPY p FROM PROGRAM 'echo 1; echo 2'", &["1 1 unversioned", "1 2 unversioned"]),
        ("INSERT INTO c VALUES (2, 1)", &["2 2 unversioned"]),
        ("DELETE FROM p WHERE id = 1", &["1 1 unversioned", "2 2 unversioned"]),
        // A savepoint that was rolled back tells too much, never too little.
        (
            "BEGIN; INSERT INTO p VALUES (1); SAVEPOINT s; DELETE FROM p WHERE id = 2; ROLLBACK TO s; COMMIT",
            &["1 1 unversioned", "1 2 unversioned"],
        ),
        ("TRUNCATE p CASCADE", &["1 all", "2 all"]),
    ];
    check(&db, &keys, statements).await;
}

#[tokio::test]
async fn too_much_to_list_is_told_as_the_whole_table() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE small (id int PRIMARY KEY);
         SELECT cache_sync.attach('t'); SELECT cache_sync.attach('small')",
    );
    let statements: &[(&str, &[&str])] = &[
        ("INSERT INTO t SELECT generate_series(1, 4097)", &["1 all"]),
        ("BEGIN; INSERT INTO small VALUES (1); DELETE FROM t; COMMIT", &["1 all", "2 1 unversioned"]),
        ("BEGIN; TRUNCATE t; INSERT INTO t SELECT generate_series(1, 9000); COMMIT", &["1 all"]),
    ];
    check(&db, &names(&db, "small", "id", &["1"]), statements).await;
    let mut feed = Feed::open(&db).await;
    db.psql("UPDATE small SET id = 2");
    db.psql("INSERT INTO t SELECT generate_series(10000, 14095)");
    assert_eq!(feed.changes(&db).await.len(), 2 + 4096);
}

#[tokio::test]
async fn of_rows_that_move_between_partitions() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE low (v text, id int NOT NULL); ALTER TABLE t ATTACH PARTITION low FOR VALUES FROM (0) TO (10);
         CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20);
         SELECT cache_sync.attach('t', versioned => true)",
    );
    let keys = names(&db, "t", "id", &["1", "11"]);
    let statements: &[(&str, &[&str])] = &[
        ("INSERT INTO t VALUES (1, 'a')", &["1 1 unversioned+"]),
        ("UPDATE t SET v = 'b'", &["1 1 versioned+"]),
        ("UPDATE low SET v = 'c'", &["1 1 versioned+"]),
        ("UPDATE t SET id = 11", &["1 1 unversioned", "1 11 unversioned+"]),
        ("TRUNCATE high", &["1 all"]),
    ];
    check(&db, &keys, statements).await;
}

#[tokio::test]
async fn of_keys_of_every_kind() {
    let db = Database::with_extension();
    db.psql("CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN code AS text CHECK (value <> '')");
    let kinds = [
        ("int2", "-7"),
        ("int4", "7"),
        ("int8", "9223372036854775807"),
        ("text", "ünï"),
        ("varchar(90)", "0123456789012345678901234567890123456789012345678901234567890123456789"),
        ("code", "x"),
        ("mood", "sad"),
        ("bytea", "\\\\x00ff"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("bool", "true"),
        ("date", "2024-02-29"),
        ("timestamp", "1999-12-31 23:59:59.999999"),
        ("timestamptz", "2024-02-29 12:00:00+02"),
    ];
    for (number, (kind, _)) in kinds.iter().enumerate() {
        db.psql(&format!("CREATE TABLE t{number} (k {kind} PRIMARY KEY); SELECT cache_sync.attach('t{number}')"));
    }
    let mut feed = Feed::open(&db).await;
    for (number, (kind, value)) in kinds.iter().enumerate() {
        let hash = db.psql(&format!("SELECT cache_sync.key_hash('t{number}', '{{\"k\": \"{value}\"}}')"));
        let value = value.replace("\\\\", "\\");
        db.psql(&format!("INSERT INTO t{number} VALUES ('{value}')"));
        let changes = feed.changes(&db).await;
        assert_eq!(changes.len(), 1, "{kind}");
        assert_eq!(changes[0].key.0 as i64, hash.parse::<i64>().unwrap(), "{kind}");
    }
}

#[tokio::test]
async fn and_not_of_other_databases() {
    let (db, other) = (Database::with_extension(), Database::with_extension());
    for db in [&db, &other] {
        db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t')");
    }
    let mut feed = Feed::open(&db).await;
    other.psql("INSERT INTO t VALUES (1)");
    assert_eq!(feed.changes(&db).await, []);
    db.psql("INSERT INTO t VALUES (1)");
    assert_eq!(feed.changes(&db).await.len(), 1);
}

#[test]
fn a_transaction_that_changed_something_cannot_be_prepared() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t')");
    let refused = db.psql_error("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'x'");
    assert!(refused.contains("0A000"), "{refused}");
    assert_eq!(db.psql("SELECT count(*) FROM t"), "0");
}
