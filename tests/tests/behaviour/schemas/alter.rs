//! ALTER TABLE while sessions and caches are open: what can go on goes on, what cannot says so, and nothing held is served
//! that the row no longer is.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::dump::restored;
use cache_sync_tests::heard::Heard;
use cache_sync_tests::rows::{Account, make_accounts, node, node_with};
use serde_json::{Value, json};
use std::time::Duration;

const PROBLEMS: &str = "SELECT problem, hint FROM cache_sync.check_tables()";

fn edit(fields: &[&str]) -> Value {
    json!([{"op": "edit", "fields": fields}])
}

/// A table of numbers, one of which is added to, and a session that has its statements compiled.
async fn numbers(db: &Database<'_>) -> (Batches, i64) {
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a int, n int NOT NULL DEFAULT 0, c text);
         SELECT cache_sync.attach('t', true, '{\"n\": \"add\"}'); INSERT INTO t VALUES (1, 10, 100, 'x')",
    );
    let mut batches = Batches::open(db, "t").await;
    let stamp = batches.now().await;
    let row = [json!([{"#": 0, "@": stamp, "id": 1, "a": 11, "n": 1, "c": "y"}])];
    assert_eq!(batches.verdicts(edit(&["a", "c", "n"]), &row).await, ["applied"]);
    (batches, stamp)
}

fn rules(db: &Database<'_>) -> String {
    db.psql(
        "SELECT string_agg(field_id || ' ' || name || ' ' || (rule #>> '{}'), ', ' ORDER BY field_id)
         FROM cache_sync.field WHERE NOT dropped",
    )
}

#[tokio::test]
async fn a_session_goes_on_with_columns_that_come_and_go() {
    let db = Database::with_extension();
    let (mut batches, stamp) = numbers(&db).await;
    db.psql("ALTER TABLE t ADD d text DEFAULT 'd'");
    let row = |fields: Value| {
        let mut row = json!({"#": 0, "@": stamp + 1, "id": 1});
        row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        [json!([row])]
    };
    // The new column has no stamp of its own: whoever writes later than the row was wins.
    let later = batches.now().await;
    assert_eq!(batches.verdicts(edit(&["d"]), &[json!([{"#": 0, "@": later, "id": 1, "d": "e"}])]).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&["a", "c", "n"]), &row(json!({"a": 12, "n": 1, "c": "z"}))).await, ["applied"]);
    db.psql("ALTER TABLE t DROP c");
    assert_eq!(batches.refusal(edit(&["a", "c", "n"]), &row(json!({"a": 13, "n": 1, "c": "z"}))).await, "42703");
    assert_eq!(batches.verdicts(edit(&["n"]), &row(json!({"n": 1}))).await, ["applied"]);
    assert_eq!(db.psql("SELECT id, a, n, d FROM t"), "1|12|103|e");
    assert_eq!(db.psql(PROBLEMS), "");
}

/// A column that is dropped and added again is another field: what was stamped on the old one says nothing about it. Its
/// rule goes by its name, because programs that go on say "+1" when they mean that name.
#[tokio::test]
async fn a_column_that_is_dropped_and_added_again_is_a_new_field_under_the_same_rule() {
    let db = Database::with_extension();
    let (mut batches, stamp) = numbers(&db).await;
    let of_a = |stamp: i64, value: i64| [json!([{"#": 0, "@": stamp, "id": 1, "a": value}])];
    let ahead = batches.now().await;
    assert_eq!(batches.verdicts(edit(&["a"]), &of_a(ahead, 12)).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&["a"]), &of_a(ahead - 1, 0)).await, ["superseded"]);
    db.psql("ALTER TABLE t DROP a, DROP n; ALTER TABLE t ADD a int DEFAULT 5, ADD n bigint NOT NULL DEFAULT 7");
    assert_eq!(rules(&db), "3 c lww, 4 a lww, 5 n add");
    assert_eq!(batches.verdicts(edit(&["a"]), &of_a(ahead - 1, 6)).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&["n"]), &[json!([{"#": 0, "id": 1, "n": 1}])]).await, ["applied"]);
    assert_eq!(db.psql("SELECT a, n FROM t"), "6|8");
    // The field that stayed has kept its stamp.
    let of_c = |stamp: i64| [json!([{"#": 0, "@": stamp, "id": 1, "c": "late"}])];
    assert_eq!(batches.verdicts(edit(&["c"]), &of_c(stamp - 1)).await, ["superseded"]);
    // A rule that cannot stand on the new column is not silently another one.
    db.psql("ALTER TABLE t DROP n; ALTER TABLE t ADD n text");
    assert_eq!(batches.refusal(edit(&["c"]), &of_c(stamp)).await, "42804");
    let problems = db.psql(PROBLEMS);
    assert!(problems.contains("the rule add cannot stand on field \"n\" of type text"), "{problems}");
    assert!(problems.contains("cache_sync.set_rule('public.t', 'n'"), "{problems}");
    db.psql("SELECT cache_sync.set_rule('t', 'n', '\"lww\"')");
    assert_eq!(db.psql(PROBLEMS), "");
    assert_eq!(
        batches.verdicts(edit(&["n"]), &[json!([{"#": 0, "@": ahead + 1, "id": 1, "n": "n"}])]).await,
        ["applied"]
    );
}

#[tokio::test]
async fn rules_and_stamps_follow_a_column_that_is_renamed() {
    let db = Database::with_extension();
    let (mut batches, stamp) = numbers(&db).await;
    db.psql("ALTER TABLE t RENAME a TO b");
    let row = |name: &str, stamp: i64, value: i64| [json!([{"#": 0, "@": stamp, "id": 1, name: value}])];
    assert_eq!(batches.refusal(edit(&["a"]), &row("a", stamp + 1, 1)).await, "42703");
    assert_eq!(batches.verdicts(edit(&["b"]), &row("b", stamp - 1, 1)).await, ["superseded"]);
    assert_eq!(batches.verdicts(edit(&["b"]), &row("b", stamp + 1, 12)).await, ["applied"]);
    // Two columns swap their names.
    db.psql("ALTER TABLE t RENAME b TO x; ALTER TABLE t RENAME n TO b; ALTER TABLE t RENAME x TO n");
    assert_eq!(rules(&db), "1 n lww, 2 b add, 3 c lww");
    assert_eq!(batches.verdicts(edit(&["b"]), &row("b", stamp, 1)).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&["n"]), &row("n", stamp, 1)).await, ["superseded"]);
    assert_eq!(db.psql("SELECT id, n, b FROM t"), "1|12|102");
}

#[tokio::test]
async fn types_change_under_compiled_statements() {
    let db = Database::with_extension();
    let (mut batches, stamp) = numbers(&db).await;
    db.psql("ALTER TABLE t ALTER n TYPE bigint, ALTER a TYPE bigint");
    let all = ["a", "c", "n"];
    let row = |stamp: i64, a: i64, c: &str| [json!([{"#": 0, "@": stamp, "id": 1, "a": a, "n": a, "c": c}])];
    let large = 1 << 40;
    assert_eq!(batches.verdicts(edit(&all), &row(stamp + 1, large, "5")).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&all), &row(stamp, 0, "0")).await, ["superseded"]);
    db.psql("ALTER TABLE t ALTER c TYPE int USING c::int, ALTER a TYPE text");
    assert_eq!(batches.verdicts(edit(&all), &row(stamp + 2, 7, "6")).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&all), &row(stamp + 3, 7, "not a number")).await, ["rejected 22P02"]);
    assert_eq!(db.psql("SELECT a, n, c FROM t"), format!("7|{}|6", 101 + large + 7));
    // The key may be made wider, too.
    let mut heard = Heard::from_now(&db);
    db.psql("ALTER TABLE t ALTER id TYPE bigint");
    assert_eq!(heard.of("t", &[]), "*");
    db.psql("UPDATE t SET c = 7");
    assert_eq!(heard.of("t", &[r#"{"id": 1}"#]), r#"{"id": 1}"#);
    assert_eq!(batches.verdicts(edit(&all), &row(stamp, 0, "0")).await, ["superseded"]);
    assert_eq!(db.psql(PROBLEMS), "");
}

#[tokio::test]
async fn a_table_is_renamed_and_moved() {
    let db = Database::with_extension();
    let (mut batches, stamp) = numbers(&db).await;
    db.psql("CREATE SCHEMA elsewhere; ALTER TABLE t RENAME TO \"T 2\"; ALTER TABLE \"T 2\" SET SCHEMA elsewhere");
    let row = [json!([{"#": 0, "@": stamp + 1, "id": 1, "a": 12}])];
    assert_eq!(batches.refusal(edit(&["a"]), &row).await, "42P01");
    batches.rename("elsewhere.\"T 2\"");
    assert_eq!(batches.verdicts(edit(&["a"]), &row).await, ["applied"]);
    db.psql("ALTER SCHEMA elsewhere RENAME TO \"el se\"");
    batches.rename("\"el se\".\"T 2\"");
    assert_eq!(batches.verdicts(edit(&["a"]), &row).await, ["unchanged"]);
    assert_eq!(db.psql("SELECT id, a FROM \"el se\".\"T 2\""), "1|12");
    assert_eq!(db.psql(PROBLEMS), "");
}

/// What is done to the key of `t`, and what is wrong then, with the hint.
const OTHER_KEYS: &[(&str, &str, &str)] = &[
    ("", "public.t has no primary key", "Add one: rows are known by their key."),
    (
        ", ADD PRIMARY KEY (a)",
        "the primary key of public.t is not the one that it was attached with",
        "Detach the table and attach it again, with its rules: SELECT cache_sync.detach('public.t');",
    ),
    (
        ", ADD PRIMARY KEY (id, n)",
        "the primary key of public.t is not the one that it was attached with",
        "Detach the table and attach it again, with its rules: SELECT cache_sync.detach('public.t');",
    ),
    (
        ", ADD PRIMARY KEY (id) DEFERRABLE",
        "the primary key of public.t is deferrable",
        "ON CONFLICT cannot use it; make it NOT DEFERRABLE.",
    ),
    (
        ", ALTER id TYPE text, ADD PRIMARY KEY (id)",
        "the primary key of public.t is not the one that it was attached with",
        "Detach the table and attach it again, with its rules: SELECT cache_sync.detach('public.t');",
    ),
];

/// Clients know rows by the key that the table had when they opened it. Under another one nothing can be written, and
/// every change is one of the whole table, until the key is back or the table is attached anew.
#[tokio::test]
async fn under_another_primary_key_nothing_goes_on_silently() {
    let db = Database::with_extension();
    let (mut batches, stamp) = numbers(&db).await;
    let row = |stamp: i64, a: i64| [json!([{"#": 0, "@": stamp, "id": 1, "a": a}])];
    let mut heard = Heard::from_now(&db);
    for (key, problem, hint) in OTHER_KEYS {
        db.psql(&format!("ALTER TABLE t DROP CONSTRAINT t_pkey{key}"));
        heard.of("t", &[]);
        assert_eq!(batches.refusal(edit(&["a"]), &row(stamp + 1, 12)).await, "55000", "{key}");
        let error = db.psql_error("SELECT cache_sync.upsert('t', '{\"id\": 1, \"a\": 1}')");
        assert!(error.contains(problem) && error.contains(hint), "{key}: {error}");
        assert_eq!(db.psql(PROBLEMS), format!("{problem}|{hint}"));
        db.psql("UPDATE t SET c = c || '!'");
        if !key.contains("DEFERRABLE") {
            assert_eq!(heard.of("t", &[]), "*", "{key}");
        }
        let back =
            "ALTER TABLE t DROP CONSTRAINT IF EXISTS t_pkey, ALTER id TYPE int USING id::int, ADD PRIMARY KEY (id)";
        db.psql(back);
        assert_eq!(db.psql(PROBLEMS), "");
    }
    // The key is back, and so is everything else.
    assert_eq!(rules(&db), "1 a lww, 2 n add, 3 c lww");
    heard.of("t", &[]);
    assert_eq!(batches.verdicts(edit(&["a"]), &row(stamp - 1, 13)).await, ["superseded"]);
    assert_eq!(batches.verdicts(edit(&["a"]), &row(stamp + 1, 13)).await, ["applied"]);
    assert_eq!(heard.of("t", &[r#"{"id": 1}"#]), r#"{"id": 1}"#);
    // Or the table is attached anew.
    db.psql(
        "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (c); SELECT cache_sync.detach('t');
         SELECT cache_sync.attach('t', true, '{\"n\": \"add\"}'); UPDATE t SET n = 1",
    );
    assert_eq!(db.psql(PROBLEMS), "");
    let key = db.psql("SELECT jsonb_build_object('c', c) FROM t");
    assert_eq!(heard.of("t", &[&key]), key);
    let outcome = format!("SELECT outcome FROM cache_sync.edit('t', '{key}', '{{\"id\": 2}}')");
    assert_eq!(db.psql(&outcome), "applied");
    assert_eq!(batches.refusal(edit(&["a"]), &row(stamp + 2, 14)).await, "CS001");
}

/// Rows change without a row trigger firing: enums are spelled otherwise, partitions come, go and are dropped.
#[test]
fn what_ddl_does_to_rows_is_heard() {
    let db = Database::with_extension();
    db.psql(
        "CREATE SCHEMA elsewhere; CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, m mood[]); CREATE DOMAIN pairs AS pair;
         CREATE TABLE e (id int PRIMARY KEY, m mood); CREATE TABLE p (id int PRIMARY KEY, v pairs);
         CREATE TABLE other (id int PRIMARY KEY, v int); CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10);
         CREATE TABLE high PARTITION OF parts FOR VALUES FROM (10) TO (20);
         SELECT cache_sync.attach(t) FROM unnest('{e,p,other,parts}'::regclass[]) t",
    );
    let mut heard = Heard::from_now(&db);
    let mut told = |ddl: &str| {
        db.psql(ddl);
        let since = std::mem::replace(&mut heard, Heard::from_now(&db));
        let tables: Vec<_> =
            ["e", "p", "other", "parts"].iter().filter(|table| since.peek(table, &[]) == "*").copied().collect();
        tables.join(" ")
    };
    for (ddl, tables) in [
        ("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", "e p"),
        ("ALTER TYPE pair RENAME ATTRIBUTE a TO b", "p"),
        ("ALTER TABLE other ADD w int", "other"),
        ("CREATE INDEX ON other (w); COMMENT ON TABLE other IS 'x'; GRANT SELECT ON other TO cache_sync_user", ""),
        ("CREATE TABLE unattached (m mood); ALTER TABLE unattached ADD w int; DROP TABLE unattached", ""),
        ("BEGIN; ALTER TABLE other ADD x int; ROLLBACK", ""),
        ("ALTER TABLE high ADD CHECK (id > 0)", "parts"),
        ("ALTER TABLE parts DETACH PARTITION high", "parts"),
        ("ALTER TABLE parts ATTACH PARTITION high FOR VALUES FROM (10) TO (20)", "parts"),
        ("DROP TABLE low", "parts"),
        ("SET session_replication_role = replica; ALTER TABLE other ALTER w TYPE text", "other"),
        ("BEGIN; SELECT cache_sync.detach('e'); SELECT cache_sync.attach('e'); COMMIT", ""),
        ("ALTER DOMAIN pairs SET SCHEMA elsewhere", "p"),
        ("ALTER SCHEMA elsewhere RENAME TO somewhere", "p"),
    ] {
        assert_eq!(told(ddl), tables, "{ddl}");
    }
}

const BACK_TO_FRONT: &str = "ALTER TABLE account RENAME name TO x; ALTER TABLE account RENAME note TO name;
                             ALTER TABLE account RENAME x TO note";

/// Each DDL with what the cache then answers for a row that it held (the row as it is, or an error), and whether patches go on.
const ALTERATIONS: &[(&str, &str, bool)] = &[
    ("ALTER TABLE account ADD extra int DEFAULT 5", "name 2|0|n2", true),
    ("ALTER TABLE account DROP note; ALTER TABLE account ADD note text DEFAULT 'new'", "name 2|0|new", true),
    (
        "ALTER TABLE account DROP balance, ADD balance_ int; ALTER TABLE account RENAME balance_ TO other",
        "42703",
        false,
    ),
    ("ALTER TABLE account DROP balance; ALTER TABLE account ADD balance int DEFAULT 7", "name 2|7|n2", true),
    (BACK_TO_FRONT, "n2|0|name 2", true),
    ("ALTER TABLE account ALTER balance TYPE int, ALTER note TYPE varchar(2)", "name 2|0|n2", true),
    ("ALTER TABLE account ALTER balance TYPE int USING 3", "name 2|3|n2", true),
    ("ALTER TABLE account ALTER note TYPE int USING 5", "name 2|0|5", true),
    ("ALTER TABLE account ALTER id TYPE int", "name 2|0|n2", true),
    ("ALTER TABLE account DROP CONSTRAINT account_pkey, ADD PRIMARY KEY (id)", "name 2|0|n2", true),
    ("ALTER TABLE account DROP note", "42703", true),
    ("ALTER TABLE account RENAME note TO remark", "42703", true),
    ("ALTER TABLE account ALTER id TYPE text", "42883", false),
    ("ALTER TABLE account DROP CONSTRAINT account_pkey", "name 2|0|n2", false),
    ("ALTER TABLE account DROP CONSTRAINT account_pkey, ADD PRIMARY KEY (name)", "name 2|0|n2", false),
];

/// Of what the cache held before, nothing is served.
#[tokio::test]
async fn no_entry_of_a_cache_outlives_ddl() {
    for (ddl, expected, written) in ALTERATIONS {
        let db = Database::with_extension();
        make_accounts(&db, 2);
        db.psql("UPDATE account SET note = 'n' || id");
        let (client, cache) = node(&db).await;
        cache.get_many(&[1, 2]).await.unwrap();
        let add = async || cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap().written().await;
        assert_eq!(add().await.unwrap().verdict, Some(Verdict::Applied));
        db.psql(ddl);
        client.catch_up().await.unwrap();
        let got = match cache.get(&2).await {
            Ok(row) => row.as_deref().map(shown).unwrap_or_default(),
            Err(error) => error.sqlstate().unwrap_or_default().to_owned(),
        };
        assert_eq!(got, *expected, "{ddl}");
        if *written {
            assert_eq!(add().await.unwrap().verdict, Some(Verdict::Applied), "{ddl}");
            assert_eq!(balance(&db), balance_before(ddl) + 1, "{ddl}");
            client.close(Duration::from_secs(20)).await.unwrap();
        } else {
            waits_to_be_mended(&db, &client, &cache, ddl).await;
            client.close(Duration::from_secs(1)).await.unwrap();
        }
    }
}

fn balance(db: &Database<'_>) -> i64 {
    db.psql("SELECT to_jsonb(a)->'balance' FROM account a WHERE id = 1").parse().unwrap()
}

fn balance_before(ddl: &str) -> i64 {
    match ddl {
        ddl if ddl.contains("DEFAULT 7") => 7,
        ddl if ddl.contains("USING 3") => 3,
        _ => 1,
    }
}

/// Others' changes are not missed meanwhile, and the patch waits for the table to be mended.
async fn waits_to_be_mended(db: &Database<'_>, client: &Client, cache: &Cache<i64, Account>, ddl: &str) {
    db.psql("UPDATE account SET note = 'changed' WHERE id::text = '2'");
    client.catch_up().await.unwrap();
    if let Ok(row) = cache.get(&2).await {
        assert_eq!(shown(row.as_deref().unwrap()), "name 2|0|changed", "{ddl}");
    }
    if ddl.contains("_pkey") || ddl.contains("id TYPE") {
        let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
        db.psql(
            "ALTER TABLE account DROP CONSTRAINT IF EXISTS account_pkey, ALTER id TYPE bigint USING id::bigint,
             ADD PRIMARY KEY (id)",
        );
        assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied), "{ddl}");
        assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "2", "{ddl}");
    }
}

#[tokio::test]
async fn nothing_is_served_of_a_table_that_was_dropped() {
    let (db, client, cache) = node_with(1).await;
    cache.get(&1).await.unwrap().unwrap();
    db.psql("DROP TABLE account");
    client.catch_up().await.ok();
    cache.get(&1).await.unwrap_err();
    assert_eq!(db.psql(PROBLEMS), "the table was dropped|run_maintenance() forgets it.");
    db.psql("SELECT cache_sync.run_maintenance()");
    assert_eq!(db.psql(PROBLEMS), "");
}

fn shown(row: &Account) -> String {
    format!("{}|{}|{}", row.name, row.balance, row.note.as_deref().unwrap_or_default())
}

/// A dump knows columns by their names only, and the restored table has other numbers for them.
#[tokio::test]
async fn a_dump_after_such_alters_keeps_what_stamps_and_rules_mean() {
    let db = Database::with_extension();
    let (mut batches, stamp) = numbers(&db).await;
    let ahead = batches.now().await;
    let of = |name: &str, stamp: i64, value: i64| [json!([{"#": 0, "@": stamp, "id": 1, name: value}])];
    assert_eq!(batches.verdicts(edit(&["a"]), &of("a", ahead, 12)).await, ["applied"]);
    // Nobody compiles or describes anything between these and the dump.
    db.psql(
        "ALTER TABLE t ADD e int; ALTER TABLE t DROP c; ALTER TABLE t ADD c int;
         ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME n TO a; ALTER TABLE t RENAME x TO n",
    );
    let dumped = rules(&db);
    assert_eq!(dumped, "1 n lww, 2 a add, 4 e lww, 5 c lww");
    let restored = restored(&db);

    // The first that is done to it is another migration.
    restored.psql("ALTER TABLE t RENAME a TO b; ALTER TABLE t RENAME n TO m");
    assert_eq!(rules(&restored), "1 m lww, 2 b add, 4 e lww, 5 c lww");
    let mut batches = Batches::open(&restored, "t").await;
    assert_eq!(batches.verdicts(edit(&["m"]), &of("m", ahead - 1, 0)).await, ["superseded"]);
    assert_eq!(batches.verdicts(edit(&["m"]), &of("m", ahead + 1, 13)).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&["b"]), &of("b", stamp, 1)).await, ["applied"]);
    assert_eq!(batches.verdicts(edit(&["c"]), &of("c", ahead, 5)).await, ["applied"]);
    assert_eq!(restored.psql("SELECT id, m, b, c FROM t"), "1|13|102|5");
    let mut heard = Heard::from_now(&restored);
    restored.psql("UPDATE t SET c = 6");
    assert_eq!(heard.of("t", &[r#"{"id": 1}"#]), r#"{"id": 1}"#);
    assert_eq!(batches.verdicts(edit(&["c"]), &of("c", ahead + 2, 7)).await, ["superseded"]);
    // The next field gets a number that none has had.
    restored.psql("ALTER TABLE t ADD f int");
    assert_eq!(rules(&restored), "1 m lww, 2 b add, 4 e lww, 5 c lww, 6 f lww");
    assert_eq!(restored.psql(PROBLEMS), "");
}
