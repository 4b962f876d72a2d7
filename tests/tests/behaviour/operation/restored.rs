//! A dump brings everything along, however it is made and restored, and what it brings goes on where it was: rules, stamps,
//! a session's next batch, dead letters.

use cache_sync_core::outcome;
use cache_sync_tests::batches::{Batches, verdict};
use cache_sync_tests::dump::{dump, restore, restored, run_script};
use cache_sync_tests::heard::Heard;
use cache_sync_tests::{Database, cluster, notifies_without_preloading, start, unsynced};
use serde_json::{Value, json};

/// A stamp between those that the rows of [`make`] get.
const MIDDLE: i64 = 1_000_000;

/// Tables with all that can be said about one. Of a table and its partitions some come before it in a dump, others after it.
async fn make(db: &Database<'_>) {
    db.psql(
        r#"CREATE TABLE gone (id int PRIMARY KEY); SELECT cache_sync.attach('gone'); DROP TABLE gone;
           CREATE SCHEMA "odd ""name"; CREATE FUNCTION "odd ""name".longer(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS
               'SELECT CASE WHEN length($1) > length($2) THEN $1 ELSE $2 END';
           CREATE TABLE t (id int PRIMARY KEY, dropped int, a text, early text, n int CHECK (n < 1000), list jsonb, ints int[], tags jsonb, doc jsonb,
               longest text, best numeric, late text, at timestamptz);
           SELECT cache_sync.attach('t', true, '{"n": "add", "dropped": "add", "list": {"rule": "append", "cap": 3}, "ints": "append", "tags": "union",
               "doc": {"rule": "json", "depth": 3, "members": {"likes": "add", "log": {"rule": "append", "cap": 2}}},
               "longest": {"rule": "function", "name": "\"odd \"\"name\".longer(text,text)"}, "best": "max", "early": "first"}', '{a}');
           SELECT cache_sync.set_expiry('t', 'at');
           ALTER TABLE t DROP COLUMN dropped; ALTER TABLE t RENAME COLUMN late TO later; ALTER TABLE t ADD COLUMN added text;
           CREATE TABLE parts (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
           CREATE TABLE part_1 (v text, k int NOT NULL, id int NOT NULL); ALTER TABLE parts ATTACH PARTITION part_1 FOR VALUES IN (1);
           CREATE TABLE parts_2 PARTITION OF parts DEFAULT; SELECT cache_sync.attach('parts', true);
           INSERT INTO parts VALUES (1, 1, 'one'), (1, 2, 'two');
           SELECT cache_sync.create_table('docs', '1 day'); SELECT cache_sync.set_rule('docs', 'likes', '"add"');
           SELECT cache_sync.upsert('docs', '{"key": "k", "value": {"likes": 1, "x": {"y": 1}}}');
           CREATE TABLE plain (id bigint PRIMARY KEY, n int); SELECT cache_sync.attach('plain', rules => '{"n": "add"}'); INSERT INTO plain VALUES (1, 1)"#,
    );
    let mut batches = Batches::open(db, "t").await;
    let row = |id: i64, stamp: i64| {
        json!({"#": id - 1, "@": stamp, "id": id, "a": "a", "n": 1, "list": [1], "ints": [1], "tags": [1],
        "doc": {"likes": 1, "log": [1], "x": {"y": 1}}, "longest": "abc", "best": 5, "early": "e", "later": "l", "added": "x"})
    };
    let fields = ["a", "n", "list", "ints", "tags", "doc", "longest", "best", "early", "later", "added"];
    let put = json!([{"op": "put", "fields": fields}]);
    assert_eq!(batches.verdicts(put, &[json!([row(1, 500_000), row(2, 500_000)])]).await, ["applied", "applied"]);
    // One field newer than the others, and a path of the document newer than the rest of it.
    let edit =
        json!([{"op": "edit", "fields": ["a"]}, {"op": "edit", "fields": ["doc"]}, {"op": "edit", "fields": ["n"]}]);
    let rows = [
        json!([{"#": 0, "@": 2 * MIDDLE, "id": 1, "a": "newer"}]),
        json!([{"#": 1, "@": 2 * MIDDLE, "id": 2, "doc": {"x": {"y": 2}}}]),
        json!([{"#": 2, "id": 3, "n": 1}]),
    ];
    assert_eq!(batches.verdicts(edit, &rows).await, ["applied", "applied", "missing"]);
    let refused = json!([{"#": 0, "@": 3 * MIDDLE, "id": 1, "n": 999, "later": "refused"}]);
    assert_eq!(
        batches.verdicts(json!([{"op": "edit", "fields": ["n", "later"]}]), &[refused]).await,
        ["rejected 23514"]
    );
}

/// What a dump must bring along to the byte.
fn contents(db: &Database<'_>) -> String {
    db.psql(
        "SELECT * FROM t ORDER BY id; SELECT tableoid::regclass, * FROM parts ORDER BY k; SELECT * FROM docs; SELECT * FROM plain;
         SELECT table_id, tbl, versioned, tags, default_ttl, expires, rules, sessions, dead_letters FROM cache_sync.tables ORDER BY table_id;
         SELECT table_id, field_id, name, rule, dropped FROM cache_sync.field ORDER BY table_id, field_id;
         SELECT * FROM cache_sync.session; SELECT * FROM cache_sync.dead_letter;
         SELECT a.last_value, d.last_value FROM cache_sync.attached_table_id_seq a, cache_sync.dead_letter_id_seq d",
    )
    .lines()
    // The table that was dropped is known by a number that means nothing elsewhere.
    .filter(|line| !line.starts_with("1|"))
    .map(|line| format!("{line}\n"))
    .collect()
}

/// The session of [`make`], which knows nothing of a restore.
struct Client<'c> {
    db: &'c Database<'c>,
    session: String,
    fence: i64,
    seq: i64,
}

impl<'c> Client<'c> {
    fn of(source: &Database<'_>, db: &'c Database<'c>) -> Client<'c> {
        let known = source.psql("SELECT session, fence, last_seq FROM cache_sync.session");
        let known: Vec<_> = known.split('|').collect();
        Client { db, session: known[0].into(), fence: known[1].parse().unwrap(), seq: known[2].parse().unwrap() }
    }

    async fn send(&self, seq: i64, shapes: Value, rows: Value) -> Vec<String> {
        let sql =
            "SELECT outcomes FROM cache_sync.apply('t', $1::text::uuid, $2, $3, $4::text::jsonb, ARRAY[$5::text])";
        let client = self.db.connect().await;
        let answer = client
            .query_one(sql, &[&self.session, &self.fence, &seq, &shapes.to_string(), &rows.to_string()])
            .await
            .unwrap();
        outcome::unpack(answer.get(0)).unwrap().iter().map(verdict).collect()
    }
}

/// Everything goes on as if nothing had been.
async fn goes_on(source: &Database<'_>, db: &Database<'_>) {
    assert_eq!(contents(db), contents(source));
    assert_ne!(
        db.psql("SELECT hash_key FROM cache_sync.secret"),
        source.psql("SELECT hash_key FROM cache_sync.secret")
    );
    batches_go_on(source, db).await;
    sql_is_stamped(db);
    a_dead_letter_can_go_in(db);
    the_rest_goes_on(db);
}

async fn batches_go_on(source: &Database<'_>, db: &Database<'_>) {
    let client = Client::of(source, db);
    // The batch that was sent last, once more: its answer was kept.
    let refused = json!([{"#": 0, "@": 3 * MIDDLE, "id": 1, "n": 999, "later": "refused"}]);
    let edit = |fields: &[&str]| json!([{"op": "edit", "fields": fields}]);
    assert_eq!(client.send(client.seq, edit(&["n", "later"]), refused).await, ["rejected 23514"]);
    // The next one: older than the newest stamp, newer than the others.
    let rows = json!([{"#": 0, "@": MIDDLE, "id": 1, "a": "middle", "later": "middle", "early": "later"},
                      {"#": 1, "@": MIDDLE, "id": 2, "a": "middle", "later": "middle", "early": "later"}]);
    assert_eq!(client.send(client.seq + 1, edit(&["a", "later", "early"]), rows).await, ["merged", "merged"]);
    assert_eq!(db.psql("SELECT a, later, early FROM t ORDER BY id"), "newer|middle|e\nmiddle|middle|e");
    let rows = json!([{"#": 0, "@": MIDDLE, "id": 2, "doc": {"x": {"y": 9, "z": 9}, "likes": 2, "log": [2, 3]}, "list": [2, 3, 4], "ints": [2],
                       "tags": {"add": [2], "remove": [1]}, "longest": "ab", "best": 4, "n": 5, "added": "middle"}]);
    let fields = ["doc", "list", "ints", "tags", "longest", "best", "n", "added"];
    assert_eq!(client.send(client.seq + 2, edit(&fields), rows).await, ["merged"]);
    assert_eq!(
        db.psql("SELECT doc, list, ints, tags, longest, best, n, added FROM t WHERE id = 2"),
        "{\"x\": {\"y\": 2, \"z\": 9}, \"log\": [2, 3], \"likes\": 3}|[2, 3, 4]|{1,2}|[2]|abc|5|6|middle"
    );
}

/// By the trigger.
fn sql_is_stamped(db: &Database<'_>) {
    let before = db.psql("SELECT cs_version FROM t WHERE id = 1");
    db.psql("UPDATE t SET later = 'sql' WHERE id = 1; UPDATE parts SET v = 'sql'");
    assert_eq!(db.psql(&format!("SELECT cs_version > {before} FROM t WHERE id = 1")), "t");
    assert_eq!(db.psql("SELECT count(*) FROM parts WHERE cs_version IS NULL OR cs_version = 0"), "0");
}

/// Once what was wrong is mended the refused patch can go in, with its stamp of then, and without harm to what came later.
fn a_dead_letter_can_go_in(db: &Database<'_>) {
    let requeue = "SELECT outcome FROM cache_sync.requeue_dead_letter((SELECT id FROM cache_sync.dead_letters)";
    assert_eq!(db.psql(&format!("{requeue})")), "conflict");
    db.psql("ALTER TABLE t DROP CONSTRAINT t_n_check");
    assert_eq!(db.psql(&format!("{requeue}, true)")), "applied");
    assert_eq!(
        db.psql("SELECT n, later FROM t WHERE id = 1; SELECT count(*) FROM cache_sync.dead_letter"),
        "1000|refused\n0"
    );
}

/// Documents, expiry, and what is counted on.
fn the_rest_goes_on(db: &Database<'_>) {
    assert_eq!(
        db.psql(
            "SELECT row_after->'value' FROM cache_sync.edit('docs', '{\"key\": \"k\"}', '{\"value\": {\"likes\": 2}}')"
        ),
        "{\"x\": {\"y\": 1}, \"likes\": 3}"
    );
    assert_eq!(db.psql("INSERT INTO docs VALUES ('ttl') RETURNING expires_at > now() + interval '23 hours'"), "t");
    db.psql("UPDATE t SET at = now() - interval '1 minute' WHERE id = 2");
    assert_eq!(db.psql("SELECT pruned FROM cache_sync.run_maintenance() WHERE tbl = 't'::regclass"), "1");
    assert_eq!(db.psql("SELECT row_after->'n' FROM cache_sync.edit('plain', '{\"id\": 1}', '{\"n\": 2}')"), "3");
    db.psql("CREATE TABLE another (id int PRIMARY KEY); SELECT cache_sync.attach('another', true)");
    assert_eq!(
        db.psql("SELECT count(*) FROM cache_sync.attached WHERE tbl = 'another'::regclass AND table_id > 5"),
        "1"
    );
}

fn well(db: &Database<'_>) {
    assert_eq!(db.psql("SELECT * FROM cache_sync.check_tables()"), "");
}

#[tokio::test]
async fn from_a_script_all_goes_on() {
    let db = Database::with_extension();
    make(&db).await;
    for options in [&[][..], &["--inserts"], &["--column-inserts", "--rows-per-insert=2"]] {
        let file = dump(&db, "sql", options);
        let restored = Database::empty_in(cluster());
        run_script(&restored, &file);
        well(&restored);
        goes_on(&db, &restored).await;
    }
}

#[tokio::test]
async fn from_an_archive_all_goes_on() {
    let db = Database::with_extension();
    make(&db).await;
    let file = dump(&db, "archive", &["--format=custom"]);
    for options in [&[][..], &["--jobs=2"], &["--single-transaction"]] {
        let restored = Database::empty_in(cluster());
        restore(&restored, &file, options);
        well(&restored);
        goes_on(&db, &restored).await;
    }
    // What was restored can be dumped and restored.
    let restored = Database::empty_in(cluster());
    restore(&restored, &file, &[]);
    let again = Database::empty_in(cluster());
    restore(&again, &dump(&restored, "again", &["--format=custom"]), &[]);
    goes_on(&db, &again).await;
}

#[tokio::test]
async fn from_schema_and_data_apart_all_goes_on() {
    let db = Database::with_extension();
    make(&db).await;
    let (schema, data) = (dump(&db, "schema", &["--schema-only"]), dump(&db, "data", &["--data-only"]));
    let restored = Database::empty_in(cluster());
    run_script(&restored, &schema);
    run_script(&restored, &data);
    well(&restored);
    goes_on(&db, &restored).await;
}

/// `--disable-triggers` left triggers behind as they are by default, which is not what they were.
#[tokio::test]
async fn with_triggers_disabled_all_goes_on() {
    let db = Database::with_extension();
    make(&db).await;
    let file = dump(&db, "archive", &["--format=custom"]);
    let restored = Database::empty_in(cluster());
    restore(&restored, &file, &["--schema-only"]);
    restore(&restored, &file, &["--data-only", "--disable-triggers"]);
    well(&restored);
    goes_on(&db, &restored).await;
}

#[tokio::test]
async fn without_the_library_preloaded_all_goes_on() {
    let db = Database::with_extension();
    make(&db).await;
    let file = dump(&db, "archive", &["--format=custom"]);
    let bare = start(unsynced().preload(false));
    let restored = Database::empty_in(&bare);
    restore(&restored, &file, &[]);
    let problem = "|cache_sync is not preloaded: changes are told by NOTIFY, which slows writers down";
    let expected = if notifies_without_preloading(&bare) { problem } else { "" };
    assert_eq!(restored.psql("SELECT tbl, problem FROM cache_sync.check_tables()"), expected);
    goes_on(&db, &restored).await;
}

/// Then nothing is attached, but the tables have their triggers, which must not be in the way: neither of writers nor of the
/// one who attaches them anew.
#[tokio::test]
async fn a_schema_without_its_data_can_be_attached_anew() {
    let db = Database::with_extension();
    make(&db).await;
    let restored = Database::empty_in(cluster());
    run_script(&restored, &dump(&db, "schema", &["--schema-only"]));
    assert_eq!(restored.psql("SELECT count(*) FROM cache_sync.attached"), "0");
    restored.psql("INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'y'); UPDATE t SET a = 'z' WHERE id = 1; DELETE FROM t WHERE id = 2; TRUNCATE parts; INSERT INTO parts VALUES (1, 1)");
    assert!(restored.psql_error("SELECT cache_sync.edit('t', '{\"id\": 1}', '{\"n\": 1}')").contains("CS005"));
    restored.psql("SELECT cache_sync.attach('t', true, '{\"n\": \"add\"}'), cache_sync.attach('parts', true), cache_sync.attach('plain'), cache_sync.attach('docs', true)");
    well(&restored);
    assert_eq!(
        restored.psql("SELECT outcome, row_after->'n' FROM cache_sync.edit('t', '{\"id\": 1}', '{\"n\": 2}')"),
        "applied|2"
    );
    assert_eq!(
        restored.psql("SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname ~ 'cache_sync'"),
        "3"
    );
    let version = restored.psql("SELECT cs_version FROM parts");
    restored.psql("UPDATE parts SET v = 'x'");
    assert_eq!(restored.psql(&format!("SELECT cs_version > {version} FROM parts")), "t");
}

/// The restored database hashes keys by its own secret.
#[test]
fn attached_tables_stay_attached() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE gone (id int); DROP TABLE gone;
         CREATE TABLE accounts (id int PRIMARY KEY, dropped int, name text, balance int);
         ALTER TABLE accounts DROP COLUMN dropped;
         SELECT cache_sync.attach('accounts', versioned => true, rules => '{\"balance\": \"add\"}');
         INSERT INTO accounts VALUES (1, 'Ann', 10)",
    );
    let restored = restored(&db);
    assert_eq!(restored.psql("SELECT tbl, versioned FROM cache_sync.tables"), "accounts|t");
    let secret = "SELECT encode(hash_key, 'hex') FROM cache_sync.secret";
    assert_ne!(restored.psql(secret), db.psql(secret));

    let version = restored.psql("SELECT cs_version FROM accounts");
    assert_eq!(
        restored.psql("SELECT outcome FROM cache_sync.edit('accounts', '{\"id\": 1}', '{\"balance\": 5}')"),
        "applied"
    );
    assert_eq!(restored.psql(&format!("SELECT name, balance, cs_version > {version} FROM accounts")), "Ann|15|t");
    let head = restored.psql("SELECT epoch, max(feed_position) FROM cache_sync.changes() GROUP BY epoch");
    let (epoch, position) = head.split_once('|').unwrap();
    restored.psql("UPDATE accounts SET name = 'Bob'");
    assert_eq!(
        restored.psql(&format!(
            "SELECT key_hash = cache_sync.key_hash('accounts', '{{\"id\": 1}}')
             FROM cache_sync.changes({epoch}, {position}) WHERE key_hash IS NOT NULL"
        )),
        "t"
    );
}

/// The first DDL matches the fields of a table that was restored, and was then taken for that of somebody who has just attached it.
#[test]
fn the_first_ddl_on_a_restored_table_is_told() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY, v int);
         SELECT cache_sync.attach('t'), cache_sync.attach('u'); INSERT INTO t VALUES (1, 1); INSERT INTO u VALUES (1, 1)",
    );
    let (schema, data) = (dump(&db, "schema", &["--schema-only"]), dump(&db, "data", &["--data-only"]));
    let restored = Database::empty_in(cluster());
    run_script(&restored, &schema);
    run_script(&restored, &data);
    let mut heard = Heard::from_now(&restored);
    restored.psql("ALTER TABLE t ALTER v TYPE text USING v + 1");
    assert_eq!(heard.of("t", &[]), "*");
    let mut heard = Heard::from_now(&restored);
    restored.psql(
        "BEGIN; SELECT cache_sync.edit('u', '{\"id\": 2}', '{\"v\": 2}'); ALTER TABLE u ALTER v TYPE text USING v + 1; COMMIT",
    );
    assert_eq!(heard.of("u", &[]), "*");
}
