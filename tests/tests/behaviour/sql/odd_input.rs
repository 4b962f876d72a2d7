//! Input that is odd but not bad: it goes in as it came, and poisons nobody.

use cache_sync_core::wire::ChangeKind;
use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::feed::Feed;
use serde_json::{Value, json};

fn make(db: &Database<'_>) {
    db.psql(
        r#"CREATE TABLE t (id int PRIMARY KEY, n2 smallint NOT NULL DEFAULT 0, n4 int NOT NULL DEFAULT 0,
               n8 bigint NOT NULL DEFAULT 0, num numeric, doc jsonb, list jsonb, bytes bytea, a text);
           SELECT cache_sync.attach('t', true, '{"n2": "add", "n4": "add", "n8": "add", "num": "add", "list": "append",
               "doc": {"rule": "json", "members": {"sum": "add", "list": "append"}}}');
           INSERT INTO t (id, num, list) SELECT n, 0, '[]' FROM generate_series(1, 20) n"#,
    );
}

fn edits(field: &str, values: &[&str]) -> (Value, String) {
    let rows = values.iter().enumerate().map(|(place, value)| {
        format!("{{\"#\": {place}, \"@\": {}, \"id\": {}, \"{field}\": {value}}}", i64::MAX, place + 1)
    });
    (json!({"op": "edit", "fields": [field]}), format!("[{}]", rows.collect::<Vec<_>>().join(",")))
}

/// What overflows is the fault of its patch alone.
#[tokio::test]
async fn numbers_that_do_not_fit_are_refused_one_by_one() {
    let db = Database::with_extension();
    make(&db);
    let mut batches = Batches::open(&db, "t").await;
    for (field, largest, sum) in [
        ("n2", "32767", "32767"),
        ("n4", "2147483647", "2147483647"),
        ("n8", "9223372036854775807", "9223372036854775807"),
    ] {
        db.psql(&format!("UPDATE t SET {field} = 1 WHERE id IN (2, 4)"));
        let (shape, rows) = edits(field, &[largest, largest, "-1", "\"NaN\"", largest]);
        let verdicts = batches.verdicts_of_text(shape, &rows).await.unwrap();
        assert_eq!(verdicts, ["applied", "rejected 22003", "applied", "rejected 22P02", "applied"], "{field}");
        let after = db.psql(&format!("SELECT {field} FROM t WHERE id <= 5 ORDER BY id"));
        assert_eq!(after, format!("{sum}\n1\n-1\n1\n{sum}"));
    }
    let large = "9".repeat(100);
    let (shape, rows) = edits("num", &["\"NaN\"", &large, "1e131071", "\"Infinity\"", "\"-inf\"", "1e131072", "0.1"]);
    assert_eq!(
        batches.verdicts_of_text(shape.clone(), &rows).await.unwrap(),
        ["rejected 22023", "applied", "applied", "rejected 22023", "rejected 22023", "rejected 22003", "applied"]
    );
    let (_, rows) = edits("num", &["1", "0.01", "9e131071"]);
    assert_eq!(batches.verdicts_of_text(shape, &rows).await.unwrap(), ["applied", "applied", "rejected 22003"]);
    assert_eq!(db.psql("SELECT num FROM t WHERE id IN (1, 2, 4, 7) ORDER BY id"), format!("1\n{large}.01\n0\n0.1"));
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letters"), "11");
}

/// A number is its digits: no float is made of it, on no way.
#[tokio::test]
async fn no_number_is_rounded() {
    let db = Database::with_extension();
    make(&db);
    let odd = "123456789012345678901234567890.123456789012345678901234567890";
    let more = "0.000000000000000000000000000001";
    let sum = "123456789012345678901234567890.123456789012345678901234567891";
    let documents = format!("{{\"x\": {odd}, \"sum\": {odd}, \"list\": [18446744073709551617]}}");
    db.psql(&format!(
        "SELECT cache_sync.upsert('t', '{{\"id\": 30, \"num\": {odd}, \"doc\": {documents}, \"list\": [{odd}]}}')"
    ));
    db.psql(&format!(
        "SELECT cache_sync.edit('t', '{{\"id\": 30}}', '{{\"num\": {more}, \"doc\": {{\"sum\": {more}, \"list\": [{odd}]}}, \"list\": [{more}]}}')"
    ));
    assert_eq!(
        db.psql("SELECT num, doc->'x', doc->'sum', doc->'list', list FROM t WHERE id = 30"),
        format!("{sum}|{odd}|{sum}|[18446744073709551617, {odd}]|[{odd}, {more}]")
    );
    let mut batches = Batches::open(&db, "t").await;
    let (shape, rows) = edits("doc", &[&documents, &format!("{{\"x\": {odd}}}")]);
    assert_eq!(batches.verdicts_of_text(shape, &rows).await.unwrap(), ["applied", "applied"]);
    assert_eq!(db.psql("SELECT DISTINCT doc->'x' FROM t WHERE id < 3"), odd);
    assert_eq!(db.psql(&format!("SELECT cache_sync.merge('\"add\"', '{odd}', '{more}')")), sum);
    // Beyond what a float can hold at all.
    let (shape, rows) = edits("doc", &["{\"x\": 1e400}"]);
    assert_eq!(batches.verdicts_of_text(shape, &rows).await.unwrap(), ["applied"]);
    assert_eq!(db.psql("SELECT doc->'x' = ('1' || repeat('0', 400))::jsonb FROM t WHERE id = 1"), "t");
}

/// The hash of a key is made of its digits as they stand: a float of it would be another key's.
#[test]
fn no_number_in_a_key_is_rounded() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE k (a text PRIMARY KEY, v int); SELECT cache_sync.attach('k')");
    let head = db.psql("SELECT epoch || ',' || feed_position FROM cache_sync.feed_head()");
    for key in ["123456789012345678901234567890", "0.10", "1e400", "-0.0", "\"\\u00e9\\\\\""] {
        db.psql(&format!("SELECT cache_sync.upsert('k', '{{\"a\": {key}}}')"));
        assert_eq!(
            db.psql(&format!(
                "SELECT count(*) FROM cache_sync.changes({head}) WHERE key_hash = cache_sync.key_hash('k', '{{\"a\": {key}}}')"
            )),
            "1",
            "{key}"
        );
    }
    assert_eq!(db.psql("SELECT count(*) FROM k"), "5");
}

#[tokio::test]
async fn keys_that_only_look_alike_are_two() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE k (a text PRIMARY KEY, v int); SELECT cache_sync.attach('k', true)");
    let mut batches = Batches::open(&db, "k").await;
    // Composed and decomposed, with a space, empty, and what looks like SQL.
    let keys =
        ["\u{e9}", "e\u{301}", "e", "e ", "", "'; DROP TABLE k; --", "\"a\"", "\\", "\u{10ffff}", "NULL", "null"];
    let rows: Vec<_> =
        keys.iter().enumerate().map(|(place, key)| json!({"#": place, "@": 1, "a": key, "v": place})).collect();
    let verdicts = batches.verdicts(json!([{"op": "put", "fields": ["v"]}]), &[rows.into()]).await;
    assert!(verdicts.iter().all(|verdict| verdict == "applied"), "{verdicts:?}");
    for (place, key) in keys.iter().enumerate() {
        let key = json!({"a": key}).to_string().replace('\'', "''");
        assert_eq!(
            db.psql(&format!("SELECT row_after->'v' FROM cache_sync.edit('k', '{key}', '{{\"v\": {place}}}')")),
            place.to_string()
        );
    }
    let hashes = "SELECT count(DISTINCT cache_sync.key_hash('k', jsonb_build_object('a', a))) FROM k";
    assert_eq!(db.psql(hashes), keys.len().to_string());
}

#[tokio::test]
async fn documents_deep_and_large_survive() {
    let db = Database::with_extension();
    make(&db);
    let mut batches = Batches::open(&db, "t").await;
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for depth in [99, 100, 101, 1000, 5000] {
        let (shape, rows) = edits("doc", &[&nested(depth, "1"), &nested(depth, "[]")]);
        assert_eq!(batches.verdicts_of_text(shape.clone(), &rows).await.unwrap(), ["applied", "applied"], "{depth}");
        let (_, rows) = edits("doc", &[&nested(depth, "2")]);
        assert_eq!(batches.verdicts_of_text(shape, &rows).await.unwrap(), ["applied"], "{depth}");
        assert_eq!(db.psql("SELECT replace(doc::text, ' ', '') FROM t WHERE id = 1"), nested(depth, "2"));
        db.psql("UPDATE t SET doc = NULL");
    }
    // 24 MiB of members, elements and text.
    let large = |tail: &str| {
        let members: Vec<_> = (0..2000).map(|n| format!("\"member {n}\":{n}")).collect();
        format!("{{{},\"text\":\"{}{tail}\"}}", members.join(","), "x".repeat(22 << 20))
    };
    let (shape, rows) = edits("doc", &[&large("1")]);
    assert_eq!(batches.verdicts_of_text(shape.clone(), &rows).await.unwrap(), ["applied"]);
    let (_, rows) = edits("doc", &[&large("2"), "{\"small\": 1}"]);
    assert_eq!(batches.verdicts_of_text(shape, &rows).await.unwrap(), ["applied", "applied"]);
    assert_eq!(
        db.psql("SELECT right(doc->>'text', 1), doc->'member 1999', octet_length(doc->>'text') FROM t WHERE id = 1"),
        format!("2|1999|{}", (22 << 20) + 1)
    );
}

#[tokio::test]
async fn a_stamp_is_not_believed_when_it_is_ahead() {
    let db = Database::with_extension();
    make(&db);
    let mut batches = Batches::open(&db, "t").await;
    let now = batches.now().await;
    let year = 365 * 86_400 * 1_000_000i64;
    let shape = json!([{"op": "edit", "fields": ["a"]}]);
    let patch = |id: i64, stamp: i64, value: &str| json!({"#": id - 1, "@": stamp, "id": id, "a": value});
    let rows = json!([
        patch(1, 0, "0"),
        patch(2, now - year, "back"),
        patch(3, now + 10 * year, "ahead"),
        patch(4, i64::MAX, "max"),
        patch(5, now + year, "a"),
    ]);
    let records = batches.send(shape.clone(), &[rows]).await.unwrap();
    assert_eq!(records.iter().map(|record| record.lowered).collect::<Vec<_>>(), [false, false, true, true, true]);
    // Whatever it claimed, a write made now is later; of the same moment the larger value stays.
    let later = batches.now().await;
    let rows: Vec<_> = (1..=5).map(|id| patch(id, later, "now")).collect();
    assert!(batches.verdicts(shape.clone(), &[rows.into()]).await.iter().all(|verdict| verdict == "applied"));
    let rows = json!([{"#": 0, "@": later, "id": 1, "a": "nox"}, {"#": 1, "@": later, "id": 2, "a": "nov"}, {"#": 2, "@": later, "id": 3, "a": null}]);
    assert_eq!(batches.verdicts(shape, &[rows]).await, ["applied", "superseded", "superseded"]);
    assert_eq!(db.psql("SELECT string_agg(a, ' ' ORDER BY id) FROM t"), "nox now now now now");
    let ahead = db.psql(&format!("SELECT max(cs_version) - {now} < 60000000 FROM t"));
    assert_eq!(ahead, "t", "a version follows a stamp that was not believed");
}

/// Somebody copies rows with the largest number there is: neither the clock nor the other rows follow, and the row itself
/// comes back to the others with its next change.
#[tokio::test]
async fn a_version_out_of_this_world_poisons_nobody() {
    let db = Database::with_extension();
    make(&db);
    let mut batches = Batches::open(&db, "t").await;
    let now = batches.now().await;
    let near = |what: &str| db.psql(&format!("SELECT {what} BETWEEN {now} AND {now} + 600000000"));
    for (id, version) in [(101, i64::MAX), (102, i64::MIN), (103, -1), (104, 0), (105, now + 86_400_000_000)] {
        let mut feed = Feed::open(&db).await;
        db.psql_as_replica(&format!("INSERT INTO t (id, cs_version) VALUES ({id}, {version})"));
        let told = feed.changes(&db).await;
        assert!(told.iter().all(|change| change.kind == ChangeKind::Unversioned), "{version}: {told:?}");
        assert_eq!(near("cache_sync.hlc()"), "t", "the clock follows {version}");
        let rows = json!([{"#": 0, "@": now, "id": id, "a": "x"}]);
        assert_eq!(batches.verdicts(json!([{"op": "edit", "fields": ["a"]}]), &[rows]).await, ["applied"], "{version}");
        assert_eq!(near(&format!("(SELECT cs_version FROM t WHERE id = {id})")), "t", "the row keeps {version}");
        // The same by plain SQL, which cannot set it in an UPDATE at all.
        db.psql_as_replica(&format!("DELETE FROM t WHERE id = {id}; INSERT INTO t (id, cs_version) VALUES ({id}, {version}); UPDATE t SET cs_version = {version}, n4 = 1 WHERE id = {id}"));
        assert_eq!(near(&format!("(SELECT cs_version FROM t WHERE id = {id})")), "t", "the row keeps {version}");
        let told = db.psql(&format!(
            "SELECT outcome FROM cache_sync.compare_and_set('t', '{{\"id\": {id}, \"a\": \"y\"}}', 9223372036854775807)"
        ));
        assert_eq!(told, "conflict");
    }
    db.psql("UPDATE t SET n4 = 1 WHERE id < 100");
    assert_eq!(near("(SELECT max(cs_version) FROM t WHERE id < 100)"), "t", "the other rows follow");
}

/// `cs_clock` is a column that anybody may write who may write the row.
#[tokio::test]
async fn bytes_that_are_no_clock_count_as_none() {
    let db = Database::with_extension();
    make(&db);
    let mut batches = Batches::open(&db, "t").await;
    let garbage = [
        "\\x",
        "\\x00",
        "\\xff",
        "\\x01",
        "\\x0000000000000000",
        "\\xffffffffffffffffff",
        "\\x01ffffffffffffffff",
        "\\x017fffffffffffffff",
        "\\x817fffffffffffffff",
        "\\x81000000000000000000017fffffffffffffff80007fffffffffffffff",
        "\\x0180000000000000000001",
        "\\x02000000000000000affff",
        "\\x02000000000000000a00000001ffff00",
        "\\x82000000000000000a000000060001007fffffffffffffff",
        "\\x010000000000000005000200000000000000010001000000000000000100020000000000000001",
    ];
    for (place, bytes) in garbage.iter().chain(&["repeat"]).enumerate() {
        let bytes =
            if *bytes == "repeat" { "decode(repeat('8201', 200000), 'hex')".to_owned() } else { format!("'{bytes}'") };
        let id = 200 + place;
        db.psql_as_replica(&format!("INSERT INTO t (id, cs_clock, doc) VALUES ({id}, {bytes}, '{{\"x\": 1}}')"));
        let now = batches.now().await;
        let rows = json!([{"#": 0, "@": now, "id": id, "a": "x", "doc": {"y": 1}}]);
        let verdicts = batches.verdicts(json!([{"op": "edit", "fields": ["a", "doc"]}]), &[rows]).await;
        assert_eq!(verdicts, ["applied"], "{bytes}");
        // A program that writes whole rows cannot write a clock of its own.
        db.psql(&format!("UPDATE t SET cs_clock = {bytes}, n4 = n4 + 1 WHERE id = {id}"));
        db.psql(&format!("SELECT cache_sync.upsert('t', '{{\"id\": {id}, \"a\": \"y\", \"doc\": {{\"z\": 1}}}}')"));
        assert_eq!(
            db.psql(&format!("SELECT n4, a, doc FROM t WHERE id = {id}")),
            "1|y|{\"x\": 1, \"y\": 1, \"z\": 1}",
            "{bytes}"
        );
        db.psql_as_replica(&format!(
            "DELETE FROM t WHERE id = {id}; INSERT INTO t (id, cs_clock) VALUES ({id}, {bytes})"
        ));
        let now = batches.now().await;
        let rows = json!([{"#": 0, "@": now, "id": id}]);
        assert_eq!(batches.verdicts(json!([{"op": "delete"}]), &[rows]).await, ["applied"], "{bytes}");
    }
}

#[test]
fn names_are_whatever_postgres_takes() {
    let db = Database::with_extension();
    let long = "n".repeat(63);
    for (schema, table, column) in [
        ("public", "quoted \"\" and ' and ;", "c \"\" ' ; --"),
        ("a.b", "c.d", "e.f"),
        ("select", "table", "where"),
        ("Upper", "\u{e9}", "\u{1f600}"),
        ("public", long.as_str(), long.as_str()),
    ] {
        let name = format!("\"{schema}\".\"{table}\"");
        let literal = name.replace('\'', "''");
        let field = column.replace("\"\"", "\"");
        let of = |value: &str| serde_json::to_string(&json!({"id": 1, &field: value})).unwrap().replace('\'', "''");
        let rule = json!({&field: {"rule": "first"}}).to_string().replace('\'', "''");
        db.psql(&format!(
            "CREATE SCHEMA IF NOT EXISTS \"{schema}\"; CREATE TABLE {name} (id int PRIMARY KEY, \"{column}\" text);
             SELECT cache_sync.attach('{literal}', true, '{rule}', ARRAY['{}']::name[]);
             SELECT cache_sync.upsert('{literal}', '{}'); SELECT cache_sync.upsert('{literal}', '{}')",
            field.replace('\'', "''"),
            of("one"),
            of("two"),
        ));
        assert_eq!(db.psql(&format!("SELECT \"{column}\" FROM {name}")), "one", "{name}");
        assert_eq!(db.psql("SELECT problem FROM cache_sync.check_tables()"), "");
        db.psql(&format!(
            "SELECT cache_sync.repair('{literal}'); SELECT cache_sync.detach('{literal}', true); DROP TABLE {name}"
        ));
    }
    assert_eq!(db.psql("SELECT cache_sync.create_table('\"a.b\".\"doc \"\" s\"')"), "\"a.b\".\"doc \"\" s\"");
}
