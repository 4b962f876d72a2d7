//! Compare-and-set, by SQL and as the SDK sends it: one winner, and the loser is told what won.

use cache_sync_core::outcome::{Record, Verdict};
use cache_sync_tests::Database;
use cache_sync_tests::batches::{Batches, sqlstate, verdict};
use cache_sync_tests::connect;
use serde_json::{Value, json};

const RIVALS: i64 = 8;
const ROUNDS: i64 = 15;

fn shape(fields: &[&str]) -> Value {
    json!([{"op": "compare_and_set", "fields": fields}])
}

fn players(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE player (id int PRIMARY KEY, name text, score int NOT NULL DEFAULT 0, best int, log int[], tags text[],
                              doc jsonb, since int);
         SELECT cache_sync.attach('player', true, '{\"score\": \"add\", \"best\": \"max\", \"tags\": \"union\",
            \"log\": {\"rule\": \"append\", \"cap\": 2}, \"doc\": \"json\", \"since\": \"first\"}')",
    );
}

/// Version 0 of a row that is not there.
fn version(db: &Database<'_>, id: i64) -> i64 {
    db.psql(&format!("SELECT coalesce(max(cs_version), 0) FROM player WHERE id = {id}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn by_sql_one_of_many_wins_and_the_others_see_its_row() {
    let db = Database::with_extension();
    players(&db);
    for round in 0..ROUNDS {
        // Every third row is new.
        let (id, expected) = (round / 3, version(&db, round / 3));
        let rivals: Vec<_> = (0..RIVALS)
            .map(|rival| {
                let dsn = db.dsn();
                tokio::spawn(async move {
                    let doc = json!({"id": id, "score": rival}).to_string();
                    let call = "SELECT outcome, version, row_after::text
                                FROM cache_sync.compare_and_set('player', $1::text::jsonb, $2)";
                    let row = connect(&dsn).await.query_one(call, &[&doc, &expected]).await.unwrap();
                    let after: Value = serde_json::from_str(row.get(2)).unwrap();
                    (rival, row.get::<_, String>(0), row.get::<_, i64>(1), after)
                })
            })
            .collect();
        let mut answers = Vec::new();
        for rival in rivals {
            answers.push(rival.await.unwrap());
        }
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, outcome, _, _)| outcome == "applied");
        let [(winner, _, version_now, row)] = &won[..] else { panic!("{won:?}") };
        assert_eq!((*version_now, &row["score"]), (version(&db, id), &json!(winner)));
        for (_, outcome, version, after) in lost {
            assert_eq!((&*outcome, version, &after), ("conflict", *version_now, row));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_batches_one_of_many_wins_and_the_others_get_its_version() {
    let db = Database::with_extension();
    players(&db);
    let mut rivals = Vec::new();
    for rival in 0..RIVALS {
        rivals.push((rival, Batches::open(&db, "player").await));
    }
    for round in 0..ROUNDS {
        let ids = [2 * round, 2 * round + 1, 0, 1];
        let expected = ids.map(|id| version(&db, id));
        let ids = if round == 0 { &ids[..2] } else { &ids[..] };
        let tasks: Vec<_> = rivals
            .into_iter()
            .map(|(rival, mut batches)| {
                let row =
                    |(place, id): (usize, &i64)| json!({"#": place, "id": id, "=": expected[place], "score": rival});
                let rows = json!(ids.iter().enumerate().map(row).collect::<Vec<_>>());
                tokio::spawn(async move {
                    let records = batches.send(shape(&["score"]), &[rows]).await.unwrap();
                    (rival, batches, records)
                })
            })
            .collect();
        rivals = Vec::new();
        let mut records: Vec<Vec<Record>> = Vec::new();
        for task in tasks {
            let (rival, batches, answer) = task.await.unwrap();
            rivals.push((rival, batches));
            records.push(answer);
        }
        for (place, id) in ids.iter().enumerate() {
            let now = version(&db, *id);
            let winners: Vec<_> =
                (0..records.len()).filter(|rival| records[*rival][place].verdict == Verdict::Applied).collect();
            assert_eq!(winners.len(), 1, "{records:?}");
            assert_eq!(db.psql(&format!("SELECT score FROM player WHERE id = {id}")), rivals[winners[0]].0.to_string());
            for record in records.iter().map(|records| &records[place]) {
                assert!(matches!(record.verdict, Verdict::Applied | Verdict::Conflict));
                assert_eq!(record.version.0, now);
            }
        }
    }
}

#[tokio::test]
async fn expecting_no_row_inserts_one_and_expecting_one_that_is_gone_is_missing() {
    let db = Database::with_extension();
    players(&db);
    let call = |doc: &str, expected: &str| {
        db.psql(&format!(
            "SELECT outcome, version = (SELECT cs_version FROM player WHERE id = 1), row_after->>'name'
             FROM cache_sync.compare_and_set('player', '{doc}', {expected})"
        ))
    };
    assert_eq!(call(r#"{"id": 1, "name": "Ann"}"#, "5"), "missing||");
    // The version is that of the statement's snapshot, in which there is no row yet.
    assert_eq!(call(r#"{"id": 1, "name": "Ann"}"#, "0"), "applied||Ann");
    assert_eq!(call(r#"{"id": 1, "name": "Bob"}"#, "0"), "conflict|t|Ann");
    assert_eq!(call(r#"{"id": 1, "name": "Bob"}"#, "NULL"), "conflict|t|Ann");
    assert_eq!(call(r#"{"id": 1, "name": "Bob"}"#, "5"), "conflict|t|Ann");
    let mut batches = Batches::open(&db, "player").await;
    let now = version(&db, 1);
    db.psql("DELETE FROM player");
    let rows = json!([{"#": 0, "id": 1, "=": now, "name": "Bob"}, {"#": 1, "id": 2, "=": 0, "name": "Cid"}]);
    assert_eq!(batches.verdicts(shape(&["name"]), std::slice::from_ref(&rows)).await, ["missing", "applied"]);
    assert_eq!(batches.verdicts(shape(&["name"]), &[rows]).await, ["missing", "conflict"]);
    assert_eq!(db.psql("SELECT id, name, cs_version > 0 FROM player"), "2|Cid|t");
    let error = db.psql_error("SELECT cache_sync.compare_and_set('player', '{\"id\": 1}', -1)");
    assert!(error.contains("22023"), "{error}");
}

#[tokio::test]
async fn a_plain_table_has_no_versions_to_compare() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, a text); SELECT cache_sync.attach('t'); INSERT INTO t VALUES (1)");
    let error = db.psql_error("SELECT cache_sync.compare_and_set('t', '{\"id\": 1, \"a\": \"x\"}', 5)");
    assert!(error.contains("55000") && error.contains("versioned => true"), "{error}");
    let mut batches = Batches::open(&db, "t").await;
    let refused = batches.send(shape(&["a"]), &[json!([{"#": 0, "id": 1, "=": 5, "a": "x"}])]).await;
    let error = refused.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "55000");
    assert!(error.hint().is_some_and(|hint| hint.contains("versioned => true")), "{error:?}");
    assert_eq!(db.psql("SELECT last_seq FROM cache_sync.session"), "0");
}

/// The reply to a batch was lost, the row was changed meanwhile, and the batch is sent again: whoever won must be told so,
/// and not that the row has another version than it expects.
#[tokio::test]
async fn a_lost_reply_is_told_again_although_the_row_was_changed_meanwhile() {
    let db = Database::with_extension();
    players(&db);
    db.psql("INSERT INTO player (id) VALUES (1), (2)");
    let mut batches = Batches::open(&db, "player").await;
    let rows = [json!([
        {"#": 0, "id": 1, "=": version(&db, 1), "name": "won"},
        {"#": 1, "id": 2, "=": 7, "name": "lost"},
        {"#": 2, "id": 3, "=": 0, "name": "made"},
        {"#": 3, "id": 4, "=": 7, "name": "gone"},
    ])];
    let first = batches.send(shape(&["name"]), &rows).await.unwrap();
    assert_eq!(first.iter().map(verdict).collect::<Vec<_>>(), ["applied", "conflict", "applied", "missing"]);
    db.psql("UPDATE player SET name = 'changed' WHERE id < 3; DELETE FROM player WHERE id = 3; INSERT INTO player (id) VALUES (4)");
    let again = batches.send_as(1, 1, shape(&["name"]), &rows).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(db.psql("SELECT id, name FROM player ORDER BY id"), "1|changed\n2|changed\n4|");
    let refused = batches.send_as(1, 1, shape(&["name"]), &[json!([])]).await;
    assert_eq!(sqlstate(refused), "CS004");
}

#[tokio::test]
async fn it_sets_what_it_names_to_what_it_says_and_nothing_else() {
    let db = Database::with_extension();
    players(&db);
    db.psql(
        "INSERT INTO player VALUES (1, 'Ann', 50, 90, '{1,2}', '{a,b}', '{\"x\": 1, \"y\": 2}', 1),
                                   (2, 'Bob', 50, 90, '{1,2}', '{a,b}', '{\"x\": 1, \"y\": 2}', 1)",
    );
    let columns = "name, score, best, log, tags, doc, since";
    let doc = r#"{"id": 1, "score": 5, "best": 3, "log": [7, 8, 9], "tags": ["c"], "doc": {"z": 3}, "since": 2}"#;
    db.psql(&format!("SELECT cache_sync.compare_and_set('player', '{doc}', {})", version(&db, 1)));
    let set = r#"|5|3|{8,9}|{c}|{"z": 3}|2"#;
    assert_eq!(db.psql(&format!("SELECT {columns} FROM player WHERE id = 1")), format!("Ann{set}"));
    let mut batches = Batches::open(&db, "player").await;
    let mut row: Value = serde_json::from_str(doc).unwrap();
    (row["#"], row["="], row["id"]) = (json!(0), json!(version(&db, 2)), json!(2));
    let all = ["score", "best", "log", "tags", "doc", "since"];
    assert_eq!(batches.verdicts(shape(&all), &[json!([row])]).await, ["applied"]);
    assert_eq!(db.psql(&format!("SELECT {columns} FROM player WHERE id = 2")), format!("Bob{set}"));
    // Of no field: it only asks whether the row is still the same.
    let now = version(&db, 2);
    let patch = |expected: i64| [json!([{"#": 0, "id": 2, "=": expected}])];
    assert_eq!(batches.verdicts(shape(&[]), &patch(now + 1)).await, ["conflict"]);
    assert_eq!(batches.verdicts(shape(&[]), &patch(now)).await, ["unchanged"]);
    assert_eq!(version(&db, 2), now);
}

/// A compare-and-set that says what the row has already leaves the row's values alone, but it has written them now: an
/// edit that was buffered before must not come through afterwards.
#[tokio::test]
async fn a_buffered_older_edit_does_not_undo_it() {
    let db = Database::with_extension();
    players(&db);
    let mut batches = Batches::open(&db, "player").await;
    for (id, doc) in [(1, r#"{"x": 1}"#), (2, r#"{"x": 7}"#)] {
        db.psql_as_replica(&format!(
            "INSERT INTO player (id, name, doc, since, cs_version) VALUES ({id}, 'same', '{doc}', 5, 100)"
        ));
        let buffered = batches.now().await;
        let row = json!([{"#": 0, "id": id, "=": 100, "name": "same", "doc": {"x": 1}, "since": 4}]);
        assert_eq!(batches.verdicts(shape(&["name", "doc", "since"]), &[row]).await, ["applied"]);
        for (field, value) in
            [("name", json!("late")), ("doc", json!({"x": 2})), ("doc", json!({"w": 2})), ("since", json!(3))]
        {
            let edit = json!([{"op": "edit", "fields": [field]}]);
            let patch = |stamp: i64| [json!([{"#": 0, "@": stamp, "id": id, field: &value}])];
            assert_eq!(batches.verdicts(edit, &patch(buffered)).await, ["superseded"], "{field} {value}");
        }
        let shown = format!("SELECT name, doc, since FROM player WHERE id = {id}");
        assert_eq!(db.psql(&shown), r#"same|{"x": 1}|4"#);
        // What it did not name is as old as before.
        let edit = json!([{"op": "edit", "fields": ["score"]}]);
        let patch = [json!([{"#": 0, "@": buffered, "id": id, "score": 1}])];
        assert_eq!(batches.verdicts(edit, &patch).await, ["applied"]);
        // What is newer wins.
        let (edit, now) = (json!([{"op": "edit", "fields": ["name", "doc"]}]), batches.now().await);
        let patch = [json!([{"#": 0, "@": now, "id": id, "name": "newer", "doc": {"w": 2}}])];
        assert_eq!(batches.verdicts(edit, &patch).await, ["applied"]);
        assert_eq!(db.psql(&shown), r#"newer|{"w": 2, "x": 1}|4"#);
    }
}

#[tokio::test]
async fn a_field_that_it_does_not_name_keeps_its_stamp() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text); SELECT cache_sync.attach('t', true);
         SET session_replication_role = replica; INSERT INTO t (id, cs_version) VALUES (1, 100)",
    );
    let mut batches = Batches::open(&db, "t").await;
    let buffered = batches.now().await;
    let row = json!([{"#": 0, "id": 1, "=": 100, "a": "set"}]);
    assert_eq!(batches.verdicts(shape(&["a"]), &[row]).await, ["applied"]);
    let edit = json!([{"op": "edit", "fields": ["a", "b"]}]);
    let patch = [json!([{"#": 0, "@": buffered, "id": 1, "a": "late", "b": "late"}])];
    assert_eq!(batches.verdicts(edit, &patch).await, ["merged"]);
    assert_eq!(db.psql("SELECT a, b FROM t"), "set|late");
}

/// Rows that were there before their table was attached have no version, so no expectation fitted them: a service that reads, compares
/// and sets could not write them, ever. What is seen as null is expected as null, and wins once. Who expects no row still makes none where
/// there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_from_before_has_no_version_and_is_won_once() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t SELECT n, 'before' FROM generate_series(1, 9) n;
         SELECT cache_sync.attach('t', true)",
    );
    let call = |id: i64, expected: &str| {
        db.psql(&format!(
            "SELECT outcome, row_after->>'a' FROM cache_sync.compare_and_set('t', '{{\"id\": {id}, \"a\": \"set\"}}', {expected})"
        ))
    };
    assert_eq!(call(1, "0"), "conflict|before");
    assert_eq!(call(1, "(SELECT cs_version FROM t WHERE id = 1)"), "applied|set");
    assert_eq!(call(1, "NULL"), "conflict|set");
    assert_eq!(call(1, "(SELECT cs_version FROM t WHERE id = 1)"), "applied|set");
    assert_eq!(call(10, "NULL"), "applied|set", "nor is there a version where there is no row");
    assert_eq!(call(10, "NULL"), "conflict|set");
    // The conflict hands back what to expect next.
    let again = "SELECT (cache_sync.compare_and_set('t', '{\"id\": 2, \"a\": \"set\"}', c.version)).outcome
                 FROM cache_sync.compare_and_set('t', '{\"id\": 2, \"a\": \"x\"}', 0) c";
    assert_eq!(db.psql(again), "applied");
    // Fields that it does not name are as old as before.
    let mut batches = Batches::open(&db, "t").await;
    let late = [json!([{"#": 0, "@": 5, "id": 2, "a": "late", "b": "late"}])];
    assert_eq!(batches.verdicts(json!([{"op": "edit", "fields": ["a", "b"]}]), &late).await, ["merged"]);

    let mut rivals = Vec::new();
    for rival in 0..RIVALS {
        let mut batches = Batches::open(&db, "t").await;
        let row = |(place, id): (usize, i64)| json!({"#": place, "id": id, "=": null, "a": rival.to_string()});
        let rows = [Value::from((3..=9).chain([20]).enumerate().map(row).collect::<Vec<_>>())];
        rivals.push(tokio::spawn(async move { batches.send(shape(&["a"]), &rows).await.unwrap() }));
    }
    let mut records = Vec::new();
    for rival in rivals {
        records.push(rival.await.unwrap());
    }
    for place in 0..8 {
        let verdicts: Vec<_> = records.iter().map(|records| records[place].verdict).collect();
        let winner = verdicts.iter().position(|verdict| *verdict == Verdict::Applied).expect("somebody wins");
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Conflict).count(), RIVALS as usize - 1);
        let id = if place < 7 { place + 3 } else { 20 };
        assert_eq!(db.psql(&format!("SELECT a FROM t WHERE id = {id}")), winner.to_string());
    }
}
