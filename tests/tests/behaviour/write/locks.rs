//! Which locks batches take: as weak as can be, and always in the order of keys.

use cache_sync_core::outcome::Verdict;
use cache_sync_kit::Dice;
use cache_sync_tests::batches::{Batches, sqlstate};
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::{Database, connect};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Fields of all kinds of rules, and a child that refers to the rows.
const TABLES: &str = "
    CREATE FUNCTION larger(a int, b int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT greatest(a, b)';
    CREATE TABLE parent (id int PRIMARY KEY, code int UNIQUE, name text, n int NOT NULL DEFAULT 0, best int, log int[],
                         tags text[], doc jsonb, since int, merged int);
    CREATE TABLE child (parent int REFERENCES parent);
    CREATE INDEX ON child (parent);
    SELECT cache_sync.attach('parent', true, '{\"n\": \"add\", \"best\": \"max\", \"tags\": \"union\", \"doc\": \"json\",
        \"log\": {\"rule\": \"append\", \"cap\": 5}, \"since\": \"first\",
        \"merged\": {\"rule\": \"function\", \"name\": \"larger(int,int)\"}}')";

/// Batches of one shape, which lock as they go, and of two, which lock before they begin.
fn harmless_batches(stamp: i64) -> Vec<(Value, Vec<Value>)> {
    let values = json!({"name": "new", "n": 1, "best": 7, "log": [1], "tags": {"add": ["a"]}, "doc": {"x": 1}, "since": 1, "merged": 3});
    let row =
        |place: i64, id: i64, field: &str, value: &Value| json!([{"#": place, "@": stamp, "id": id, field: value}]);
    let mut batches = Vec::new();
    for (field, value) in values.as_object().unwrap() {
        batches.push((json!([{"op": "edit", "fields": [field]}]), vec![row(0, 1, field, value)]));
    }
    batches.push((json!([{"op": "put", "fields": ["name"]}]), vec![row(0, 1, "name", &json!("put"))]));
    batches.push((json!([{"op": "replace", "fields": ["name"]}]), vec![row(0, 1, "name", &json!("replaced"))]));
    batches.push((
        json!([{"op": "edit", "fields": ["n"]}, {"op": "put", "fields": ["name"]}]),
        vec![row(0, 1, "n", &json!(1)), row(1, 2, "name", &json!("other"))],
    ));
    batches.push((
        json!([{"op": "edit", "fields": ["n"]}, {"op": "delete"}]),
        vec![row(0, 1, "n", &json!(1)), json!([{"#": 1, "@": stamp, "id": 3}])],
    ));
    batches
}

#[tokio::test]
async fn a_patch_and_a_child_of_its_row_do_not_wait_for_each_other() {
    let db = Database::with_extension();
    db.psql(TABLES);
    db.psql("INSERT INTO parent (id, code) VALUES (1, 1), (2, 2), (3, 3)");
    let (mut batches, child) = (Batches::open(&db, "parent").await, db.connect().await);
    for client in [batches.client(), &child] {
        client.batch_execute("SET lock_timeout = '3s'").await.unwrap();
    }
    for (shapes, rows) in harmless_batches(batches.now().await) {
        batches.client().batch_execute("BEGIN").await.unwrap();
        let verdicts = batches.verdicts(shapes.clone(), &rows).await;
        assert!(verdicts.iter().all(|verdict| verdict == "applied"), "{shapes} {verdicts:?}");
        let inserted = child.execute("INSERT INTO child VALUES (1), (2)", &[]).await;
        assert!(inserted.is_ok(), "{shapes} {inserted:?}");
        batches.client().batch_execute("COMMIT").await.unwrap();
    }
    db.psql("INSERT INTO parent (id) VALUES (3); UPDATE parent SET best = NULL, tags = NULL, doc = NULL, since = NULL, merged = NULL");
    for (shapes, rows) in harmless_batches(batches.now().await) {
        child.batch_execute("BEGIN; INSERT INTO child VALUES (1), (2)").await.unwrap();
        let verdicts = batches.verdicts(shapes.clone(), &rows).await;
        assert!(verdicts.iter().all(|verdict| verdict == "applied"), "{shapes} {verdicts:?}");
        child.batch_execute("COMMIT").await.unwrap();
    }
}

/// What a foreign key may refer to is another matter: Postgres itself lets them wait. (It also shows that the test above
/// would notice.)
#[tokio::test]
async fn a_child_waits_for_a_deletion_and_for_a_patch_of_a_unique_field() {
    let db = Database::with_extension();
    db.psql(TABLES);
    db.psql("INSERT INTO parent (id, code) VALUES (1, 1), (2, 2)");
    let (mut batches, child) = (Batches::open(&db, "parent").await, db.connect().await);
    child.batch_execute("SET lock_timeout = '200ms'").await.unwrap();
    let stamp = batches.now().await;
    for (shapes, patch) in [
        (json!([{"op": "edit", "fields": ["code"]}]), json!({"#": 0, "@": stamp, "id": 1, "code": 5})),
        (json!([{"op": "delete"}]), json!({"#": 0, "@": stamp, "id": 2})),
    ] {
        batches.client().batch_execute("BEGIN").await.unwrap();
        let id = patch["id"].clone();
        batches.verdicts(shapes, &[json!([patch])]).await;
        let insert = format!("INSERT INTO child VALUES ({id})");
        assert_eq!(sqlstate(child.execute(&insert, &[]).await), "55P03");
        batches.client().batch_execute("ROLLBACK").await.unwrap();
        batches.open_again().await;
        child.execute(&insert, &[]).await.unwrap();
        db.psql("DELETE FROM child");
    }
}

/// A plan is worthless as soon as something changes about its table, such as an estimate after VACUUM: also while it is being made, or
/// before it is used. Here that happens each time, by a function that the planner calls since it is immutable.
#[tokio::test]
async fn the_order_outlives_a_plan_that_is_worthless_when_it_is_made() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int);
         INSERT INTO t SELECT id, 0 FROM generate_series(5000, 1, -1) id; ANALYZE t;
         SELECT cache_sync.attach('t');
         CREATE FUNCTION change_something() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
            UPDATE pg_class SET reltuples = reltuples WHERE oid = 't'::regclass;
            RETURN true; END $$;
         CREATE FUNCTION yes() RETURNS bool IMMUTABLE SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN
            RETURN (SELECT change_something()); END $$;
         CREATE ROLE keeper LOGIN IN ROLE cache_sync_user; GRANT SELECT, INSERT, UPDATE, DELETE ON t TO keeper;
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON t USING (yes())",
    );
    let patches: Vec<_> = (1..=9).map(|id| json!({"#": id - 1, "id": id, "v": 1})).collect();
    let [first, rest] = [&patches[..1], &patches[1..]].map(|part| json!(part));
    let edit = json!({"op": "edit", "fields": ["v"]});
    for (shapes, rows) in
        [(json!([edit]), vec![json!(patches)]), (json!([edit, {"op": "put", "fields": ["v"]}]), vec![first, rest])]
    {
        let mut batches = Batches::open_as(&db.dsn_as("keeper"), "t").await;
        batches.client().batch_execute("SET enable_nestloop = off").await.unwrap();
        let holder = db.connect().await;
        holder.batch_execute("BEGIN; SELECT FROM t WHERE id = 5 FOR UPDATE").await.unwrap();
        let (records, ()) = tokio::join!(batches.send(shapes, &rows), async {
            until_waiting(&db, 1).await;
            let free = "SELECT string_agg(id::text, ',') FROM (SELECT id FROM t WHERE id < 10 ORDER BY id FOR UPDATE SKIP LOCKED) free";
            assert_eq!(db.psql(free), "6,7,8,9");
            holder.batch_execute("COMMIT").await.unwrap();
        });
        assert_eq!(records.unwrap().len(), 9);
    }
}

const CONNECTIONS: u64 = 8;
const BATCHES: u64 = 10_000 / CONNECTIONS;
/// Rows that stay, and beside them rows that come and go.
const ROWS_THAT_STAY: u64 = 40;
const ROWS: u64 = 50;

/// The shapes of the random batches; the last two are for rows that come and go only.
const SHAPES: &[(&str, &[&str])] = &[
    ("edit", &["n"]),
    ("edit", &["name", "n"]),
    ("edit", &["best", "doc"]),
    ("edit", &["log", "tags", "merged"]),
    ("put", &["name", "best"]),
    ("put", &["name", "since", "doc"]),
    ("replace", &["name", "log"]),
    ("compare_and_set", &["name"]),
    ("delete", &[]),
    ("put", &["name"]),
];

/// A batch of 5 to 20 patches of other keys each, in any order.
fn random_batch(dice: &mut Dice, stamp: i64) -> (Value, Vec<Value>) {
    let mut keys: Vec<u64> = (0..ROWS).collect();
    let mut parts: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    let kinds: Vec<_> = (0..=dice.below(4)).map(|_| dice.below(SHAPES.len() as u64) as usize).collect();
    for place in 0..5 + dice.below(16) {
        let id = keys.swap_remove(dice.below(keys.len() as u64) as usize);
        let mut kind = kinds[dice.below(kinds.len() as u64) as usize];
        if id < ROWS_THAT_STAY && SHAPES[kind].0 == "delete" {
            kind = 0;
        }
        let mut patch = Map::from_iter([("#".to_owned(), json!(place)), ("id".to_owned(), json!(id))]);
        if SHAPES[kind].0 == "compare_and_set" {
            patch.insert("=".to_owned(), json!(dice.below(2) * stamp as u64));
        }
        patch.insert("@".to_owned(), json!(stamp - dice.below(1_000_000) as i64));
        for field in SHAPES[kind].1 {
            let number = dice.below(100);
            let value = match *field {
                "name" => json!(number.to_string()),
                "log" => json!([number]),
                "tags" => json!({"add": [number.to_string()]}),
                "doc" => json!({number.to_string(): number}),
                _ => json!(number),
            };
            patch.insert((*field).to_owned(), value);
        }
        parts.entry(kind).or_default().push(patch.into());
    }
    let shape = |kind: &usize| json!({"op": SHAPES[*kind].0, "fields": SHAPES[*kind].1});
    (parts.keys().map(shape).collect(), parts.into_values().map(Value::from).collect())
}

/// What the batch has added to rows that stay.
fn added(rows: &[Value], verdicts: &[Verdict]) -> i64 {
    let patches = rows.iter().flat_map(|rows| rows.as_array().unwrap());
    patches
        .filter(|patch| patch["id"].as_u64().unwrap() < ROWS_THAT_STAY)
        .filter(|patch| matches!(verdicts[patch["#"].as_u64().unwrap() as usize], Verdict::Applied | Verdict::Merged))
        .filter_map(|patch| patch["n"].as_i64())
        .sum()
}

/// Inserts children of rows that stay, three at a time in any order, until it is over. Returns how often.
async fn have_children(dsn: String, child: u64, is_over: Arc<AtomicBool>) -> u64 {
    let (mut dice, client) = (Dice::new(0xD1B5_4A32_D192_ED03 + child), connect(&dsn).await);
    let mut transactions = 0;
    while !is_over.load(Ordering::Acquire) {
        let insert =
            (0..3).map(|_| format!("INSERT INTO child VALUES ({});", dice.below(ROWS_THAT_STAY))).collect::<String>();
        let inserted = client.batch_execute(&format!("BEGIN; {insert} COMMIT")).await;
        inserted.unwrap_or_else(|error| panic!("{error}: {:?}", error.as_db_error()));
        transactions += 1;
    }
    transactions
}

/// Clears away what the updates of a few rows leave behind, as autovacuum does where it comes by often enough.
async fn clear_away(dsn: String, is_over: Arc<AtomicBool>) {
    let client = connect(&dsn).await;
    while !is_over.load(Ordering::Acquire) {
        client.batch_execute("VACUUM parent").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_batches_end_without_error_or_deadlock() {
    let db = Database::with_extension();
    db.psql(TABLES);
    db.psql(&format!("INSERT INTO parent (id, log) SELECT n, '{{}}' FROM generate_series(0, {ROWS_THAT_STAY} - 1) n"));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|client| {
            let dsn = db.dsn();
            tokio::spawn(async move {
                let (mut dice, mut sum) = (Dice::new(0x9E37_79B9_7F4A_7C15 + client), 0);
                let mut batches = Batches::open_as(&dsn, "parent").await;
                let stamp = batches.now().await;
                for _ in 0..BATCHES {
                    let (shapes, rows) = random_batch(&mut dice, stamp);
                    let records = batches.send(shapes.clone(), &rows).await;
                    let records = records.unwrap_or_else(|error| panic!("{error}: {:?}", error.as_db_error()));
                    let verdicts: Vec<_> = records.iter().map(|record| record.verdict).collect();
                    assert!(
                        !verdicts.contains(&Verdict::Rejected) && !verdicts.contains(&Verdict::Swallowed),
                        "{shapes} {verdicts:?}"
                    );
                    sum += added(&rows, &verdicts);
                }
                sum
            })
        })
        .collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let parents: Vec<_> = (0..2).map(|child| tokio::spawn(have_children(db.dsn(), child, is_over.clone()))).collect();
    let clearing = tokio::spawn(clear_away(db.dsn(), is_over.clone()));
    let mut sum = 0;
    for client in clients {
        sum += client.await.unwrap();
    }
    is_over.store(true, Ordering::Release);
    for parent in parents {
        assert!(parent.await.unwrap() > 0);
    }
    clearing.await.unwrap();
    assert_eq!(db.psql(&format!("SELECT sum(n) FROM parent WHERE id < {ROWS_THAT_STAY}")), sum.to_string());
    let deadlocks = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", db.name());
    assert_eq!(db.psql(&deadlocks), "0");
}
