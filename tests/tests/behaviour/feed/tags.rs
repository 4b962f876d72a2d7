//! The feed tells which values the tags of changed rows had and have.

use cache_sync_tests::Database;
use cache_sync_tests::heard::Heard;

const USERS: [&str; 4] = ["1", "2", "3", "NULL"];

fn posts(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE post (id int PRIMARY KEY, user_id int, body text);
         SELECT cache_sync.attach('post', tags => '{user_id}');
         INSERT INTO post VALUES (1, 1, 'a'), (2, 2, 'b'), (3, NULL, 'c')",
    );
}

#[test]
fn of_every_kind_of_statement() {
    let db = Database::with_extension();
    posts(&db);
    let mut heard = Heard::from_now(&db);
    for (statement, told) in [
        ("INSERT INTO post VALUES (4, 1)", "1"),
        ("INSERT INTO post VALUES (5, NULL), (6, 3)", "3 NULL"),
        ("UPDATE post SET body = 'x' WHERE id = 1", "1"),
        ("UPDATE post SET user_id = 2 WHERE id = 1", "1 2"),
        ("UPDATE post SET user_id = NULL WHERE id = 1", "2 NULL"),
        ("UPDATE post SET id = 10 WHERE id = 2", "2"),
        ("DELETE FROM post WHERE id = 10", "2"),
        ("BEGIN; UPDATE post SET user_id = 3 WHERE id = 4; ROLLBACK", ""),
        ("BEGIN; UPDATE post SET user_id = 3 WHERE id = 4; UPDATE post SET user_id = 1 WHERE id = 4; COMMIT", "1 3"),
        ("INSERT INTO post VALUES (4, 3) ON CONFLICT (id) DO UPDATE SET user_id = 2", "1 2"),
        ("UPDATE post SET user_id = 7 WHERE id = 4", "2 ?"),
        ("TRUNCATE post", "*"),
        ("INSERT INTO post SELECT n, n FROM generate_series(1, 3000) n", "*"),
        ("SELECT count(*) FROM post", ""),
    ] {
        db.psql(statement);
        assert_eq!(heard.tags("post", "user_id", &USERS), told, "{statement}");
    }
}

#[test]
fn of_every_type() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN word AS text;
         CREATE TYPE inner_pair AS (a int, b text); CREATE TYPE pair AS (a mood, gone int, b inner_pair);
         ALTER TYPE pair DROP ATTRIBUTE gone",
    );
    for (ty, values) in [
        ("smallint", ["'-1'", "'1'"]),
        ("bigint", ["'1'", "'1099511627776'"]),
        ("text", ["''", "'a b'"]),
        ("word", ["'x'", "'y'"]),
        ("varchar(5)", ["'abc'", "'abd'"]),
        ("uuid", ["'00000000-0000-4000-8000-000000000001'", "'00000000-0000-4000-8000-000000000002'"]),
        ("bytea", ["'\\x00'", "'\\x0000'"]),
        ("boolean", ["'t'", "'f'"]),
        ("date", ["'2026-01-01'", "'infinity'"]),
        ("timestamptz", ["'2026-01-01 00:00:00+00'", "'2026-01-01 00:00:00.000001+00'"]),
        ("mood", ["'sad'", "'ok'"]),
        ("pair", ["'(sad,\"(1,x)\")'", "'(sad,\"(,x)\")'"]),
    ] {
        db.psql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v {ty});
             SELECT cache_sync.attach('t', tags => '{{v}}')"
        ));
        let mut heard = Heard::from_now(&db);
        let all = [values[0], values[1], "NULL"];
        for value in all {
            db.psql(&format!("INSERT INTO t SELECT count(*), {value}::{ty} FROM t"));
            assert_eq!(heard.tags("t", "v", &all), value, "{ty}");
        }
    }
}

#[test]
fn follow_their_columns() {
    let db = Database::with_extension();
    posts(&db);
    let mut heard = Heard::from_now(&db);
    db.psql("ALTER TABLE post RENAME user_id TO author");
    assert_eq!(heard.tags("post", "author", &USERS), "*");
    assert_eq!(db.psql("SELECT tags FROM cache_sync.tables"), "{author}");
    db.psql("UPDATE post SET body = 'x' WHERE id = 1");
    assert_eq!(heard.tags("post", "author", &USERS), "1");
    // Without the column nobody can say whom a change concerns.
    db.psql("ALTER TABLE post DROP author");
    heard = Heard::from_now(&db);
    db.psql("UPDATE post SET body = 'y' WHERE id = 1");
    assert_eq!(heard.of("post", &[]), "*");
    let problem = db.psql("SELECT problem FROM cache_sync.check_tables()");
    assert_eq!(problem, "public.post has no column \"author\" for a tag");
    db.psql("ALTER TABLE post ADD author bigint DEFAULT 2");
    heard = Heard::from_now(&db);
    db.psql("UPDATE post SET body = 'z' WHERE id = 1");
    assert_eq!(heard.tags("post", "author", &USERS), "2");
    // Others may take their place, once those who have noted the old ones have told them.
    db.psql("SELECT cache_sync.set_tags('post', '{body,author}')");
    assert_eq!(heard.tags("post", "author", &USERS), "*");
    db.psql("UPDATE post SET body = 'w' WHERE id = 1");
    assert_eq!(heard.tags("post", "body", &["'z'", "'w'", "'v'"]), "'w' 'z' ?");
    db.psql("SELECT cache_sync.set_tags('post', '{}')");
    heard = Heard::from_now(&db);
    db.psql("UPDATE post SET body = 'v' WHERE id = 1");
    assert!(db.psql_error("SELECT cache_sync.tag_hash('post', 'body', 'v')").contains("\"body\" is no tag of post"));
    assert_eq!(heard.of("post", &[r#"{"id": 1}"#]), r#"{"id": 1}"#);
}

#[test]
fn of_partitions_that_number_their_columns_otherwise() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE post (id int, user_id int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE low (gone text, user_id int, id int NOT NULL); ALTER TABLE low DROP gone;
         CREATE TABLE high PARTITION OF post FOR VALUES FROM (10) TO (20);
         ALTER TABLE post ATTACH PARTITION low FOR VALUES FROM (0) TO (10);
         SELECT cache_sync.attach('post', tags => '{user_id}')",
    );
    let mut heard = Heard::from_now(&db);
    for (statement, told) in [
        ("INSERT INTO post VALUES (1, 1)", "1"),
        ("UPDATE low SET user_id = 2", "1 2"),
        ("UPDATE post SET id = 15", "2"),
        ("DELETE FROM high", "2"),
    ] {
        db.psql(statement);
        assert_eq!(heard.tags("post", "user_id", &USERS), told, "{statement}");
    }
}

#[test]
fn of_columns_that_cannot_be_compared_are_refused() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE pair AS (a int, b numeric);
         CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE t (id int PRIMARY KEY, n numeric, p pair, l text COLLATE loose, list int[], ok int)",
    );
    for column in ["n", "p", "l", "list"] {
        let error = db.psql_error(&format!("SELECT cache_sync.attach('t', tags => '{{{column}}}')"));
        assert!(error.contains("0A000") && error.contains("which cannot be a tag"), "{column}: {error}");
    }
    assert!(db.psql_error("SELECT cache_sync.attach('t', tags => '{nope}')").contains("42703"));
    assert!(db.psql_error("SELECT cache_sync.attach('t', tags => '{ok,ok}')").contains("22023"));
    assert!(db.psql_error("SELECT cache_sync.set_tags('t', '{ok}')").contains("CS005"));
    db.psql("SELECT cache_sync.attach('t', tags => '{ok}')");
    for (call, code) in [
        ("set_tags('t', NULL)", "22004"),
        ("set_tags('t', '{NULL}')", "42703"),
        ("set_tags('t', '{n}')", "0A000"),
        ("tag_hash('t', NULL, '1')", "22004"),
        ("tag_hash('t', 'n', '1')", "42703"),
        ("tag_hash('t', 'ok', 'x')", "22P02"),
    ] {
        assert!(db.psql_error(&format!("SELECT cache_sync.{call}")).contains(code), "{call}");
    }
    assert_eq!(db.psql("SELECT tags FROM cache_sync.tables"), "{ok}");
}
