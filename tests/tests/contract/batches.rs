//! Random patches with stamps of their own become the same, to the verdict and to the row.

use cache_sync::Client;
use cache_sync::in_memory::{InMemory, Table};
use cache_sync_core::outcome::{self, Record};
use cache_sync_kit::Dice;
use cache_sync_tests::Database;
use cache_sync_tests::batches::{Batches, verdict};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

const STEPS: u64 = 3000;
const KEYS: u64 = 4;

/// A column, its type, its rule, and values that a patch may have for it.
struct Column {
    name: &'static str,
    sql_type: &'static str,
    rule: Value,
    values: Vec<Value>,
}

fn columns() -> Vec<Column> {
    let column = |name, sql_type, rule, values: Value| {
        let Value::Array(values) = values else { panic!("{values}") };
        Column { name, sql_type, rule, values }
    };
    vec![
        column("name", "text", json!("lww"), json!(["a", "b", "c", null, "ä\"\\"])),
        column("seen", "boolean", json!("arrival"), json!([true, false, null])),
        column("first", "text", json!("first"), json!(["x", "y", null])),
        column("gold", "bigint", json!("add"), json!([1, -3, 10, null, 0])),
        column("best", "integer", json!("max"), json!([1, 5, 9, null, 40_000_000_000_i64])),
        column("least", "numeric", json!("min"), json!([3, 1.5, -2, null])),
        column("log", "jsonb", json!({"rule": "append", "cap": 3}), json!([[1], ["b", 2], []])),
        column(
            "tags",
            "jsonb",
            json!("union"),
            json!([{"add": ["r"]}, {"add": ["g", "b"], "remove": ["r"]}, {"remove": ["b"]}]),
        ),
        column(
            "doc",
            "jsonb",
            json!({"rule": "json", "members": {"n": "add", "top": "max"}}),
            json!([{"a": 1}, {"a": null, "b": {"c": 2}}, {"n": 2}, {"top": 7, "b": {"d": 1}}, {"b": 5}, {}]),
        ),
        column("score", "double precision", json!("lww"), json!([1.5, -0.25, null, "NaN"])),
        column("ref", "uuid", json!("lww"), json!(["6F9619FF-8B86-D011-B42D-00C04FC964FF", "no uuid", null])),
    ]
}

/// What a new row's fields may be: sets and lists begin as what they are.
fn fresh(column: &Column, dice: &mut Dice) -> Value {
    match column.name {
        "tags" => json!(["r", "g"]),
        _ => drawn(&column.values, dice),
    }
}

fn drawn<T: Clone>(from: &[T], dice: &mut Dice) -> T {
    from[dice.below(from.len() as u64) as usize].clone()
}

fn patch(
    columns: &[Column],
    now: i64,
    decided: &[Vec<RangeInclusive<i64>>],
    versions: &[i64],
    dice: &mut Dice,
) -> (Value, Value) {
    let ops = [("edit", 6), ("put", 4), ("replace", 2), ("delete", 2), ("compare_and_set", 1)];
    let ops: Vec<_> = ops.into_iter().flat_map(|(op, times)| std::iter::repeat_n(op, times)).collect();
    let op = drawn(&ops, dice);
    let chosen: Vec<_> = columns.iter().filter(|_| dice.below(3) == 0 || op == "replace").collect();
    let chosen = if chosen.is_empty() && op == "edit" { vec![&columns[0]] } else { chosen };
    let chosen = if op == "delete" { Vec::new() } else { chosen };
    let each = op != "delete" && op != "compare_and_set" && dice.below(3) == 0;
    let key = dice.below(KEYS);
    // Some are older than what is there, some as old, none newer than the server's clock.
    let mut stamp = || {
        let mut stamp = now - 1_000_000 + 100_000 * dice.below(10) as i64;
        // Compare-and-set writes now, which here and there is not the same moment: nobody writes between the two.
        while let Some(moments) = decided[key as usize].iter().find(|moments| moments.contains(&stamp)) {
            stamp = moments.start() - 1;
        }
        stamp
    };
    let mut row = json!({"#": 0, "@": stamp(), "id": key});
    if op == "compare_and_set" {
        row["="] = match stamp() % 3 {
            0 => Value::Null,
            1 => json!(0),
            _ => json!(versions[key as usize]),
        };
    }
    let stamps: Vec<i64> = chosen.iter().map(|_| stamp()).collect();
    for (place, column) in columns.iter().enumerate() {
        let Some(at) = chosen.iter().position(|one| one.name == column.name) else { continue };
        let sets = matches!(op, "put" | "replace" | "compare_and_set");
        let value = if sets { fresh(column, dice) } else { drawn(&column.values, dice) };
        // Fields are numbered as in the table, without the key.
        let id = place + 1;
        let is_document = column.name == "doc";
        match each {
            true if is_document && op != "replace" => row["doc"] = json!([[stamps[at], value]]),
            true => {
                row[column.name] = value;
                if matches!(column.rule.as_str(), Some("lww" | "first")) || is_document {
                    row[format!("@{id}")] = json!(stamps[at]);
                }
            }
            false => row[column.name] = value,
        }
    }
    let fields: Vec<_> = chosen.iter().map(|column| column.name).collect();
    let stamps = if each { "each" } else { "one" };
    let seen = op == "put" && dice.below(2) == 0;
    (json!({"op": op, "seen": seen, "fields": fields, "stamps": stamps}), row)
}

fn in_memory(columns: &[Column]) -> InMemory {
    let table = columns.iter().fold(Table::new("mixed").key("id", "bigint"), |table, column| {
        table.column(column.name, column.sql_type).rule(column.rule.clone())
    });
    Client::in_memory().table(table).start().unwrap()
}

fn in_postgres(columns: &[Column]) -> Database<'static> {
    let db = Database::with_extension();
    let list: String = columns.iter().map(|column| format!(", {} {}", column.name, column.sql_type)).collect();
    let rules: serde_json::Map<_, _> =
        columns.iter().map(|column| (column.name.to_owned(), column.rule.clone())).collect();
    db.psql(&format!(
        "CREATE TABLE mixed (id bigint PRIMARY KEY{list});
         SELECT cache_sync.attach('mixed', versioned => true, rules => '{}')",
        Value::Object(rules)
    ));
    db
}

/// The rows without what is the database's own.
async fn rows(batches: &Batches) -> (Vec<Value>, Vec<i64>) {
    let sql = "SELECT (to_jsonb(m) - 'cs_version' - 'cs_clock')::text, m.id, m.cs_version FROM mixed m ORDER BY m.id";
    let rows = batches.client().query(sql, &[]).await.unwrap();
    let mut versions = vec![0; KEYS as usize];
    rows.iter().for_each(|row| versions[row.get::<_, i64>(1) as usize] = row.get(2));
    (rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect(), versions)
}

/// The same patch with the version that a reader of the other database has seen.
fn as_seen_in(shape: &Value, row: &Value, versions: &[i64]) -> Value {
    let mut row = row.clone();
    if shape["op"] == "compare_and_set" && row["="].as_i64().is_some_and(|expected| expected != 0) {
        row["="] = json!(versions[row["id"].as_u64().unwrap() as usize]);
    }
    row
}

#[tokio::test]
async fn random_patches_become_the_same_as_in_postgres() {
    let columns = columns();
    let (db, memory) = (in_postgres(&columns), in_memory(&columns));
    let mut batches = Batches::open(&db, "mixed").await;
    let mut dice = Dice::new(7);
    // Both take versions for stamps that they have seen; the numbers of one say nothing to the other.
    let mut versions = (vec![0; KEYS as usize], vec![0; KEYS as usize]);
    let (mut differ, mut decided) = (Vec::new(), vec![Vec::new(); KEYS as usize]);
    let mut stories = vec![String::new(); KEYS as usize];
    let mut verdicts = std::collections::BTreeMap::<String, u32>::new();
    for step in 1..=STEPS {
        let now = batches.now().await;
        let (shape, row) = patch(&columns, now, &decided, &versions.0, &mut dice);
        let ours = as_seen_in(&shape, &row, &versions.1);
        let theirs = batches.send(json!([shape]), &[json!([row])]).await.unwrap();
        let ours =
            memory.apply("mixed", step as i64, &json!([shape]).to_string(), &[json!([ours]).to_string()]).unwrap();
        let ours: Vec<Record> = outcome::unpack(&ours).unwrap();
        if shape["op"] == "compare_and_set" {
            let until = theirs[0].version.0.max(ours[0].version.0).max(now);
            decided[row["id"].as_u64().unwrap() as usize].push(now..=until);
        }
        let (expected, got) = (verdict(&theirs[0]), verdict(&ours[0]));
        let story = &mut stories[row["id"].as_u64().unwrap() as usize];
        *story += &format!("{shape} {row} -> {expected}\n");
        let (there, their_versions) = rows(&batches).await;
        let is_same = got == expected
            && (theirs[0].version.0 == 0) == (ours[0].version.0 == 0)
            && (theirs[0].version == theirs[0].replaced) == (ours[0].version == ours[0].replaced)
            && memory.rows("mixed").unwrap() == there;
        if !is_same {
            let of = |rows: &[Value]| rows.iter().find(|there| there["id"] == row["id"]).cloned();
            differ.push(format!(
                "{story}in memory {got}\n{:?}\n{:?}\n",
                of(&there),
                of(&memory.rows("mixed").unwrap())
            ));
            // What follows is about others.
            batches.client().batch_execute("DELETE FROM mixed").await.unwrap();
            memory.truncate("mixed").unwrap();
            stories.iter_mut().for_each(String::clear);
            continue;
        }
        if there.iter().all(|there| there["id"] != row["id"]) {
            story.clear();
        }
        if theirs[0].version != theirs[0].replaced {
            let id = row["id"].as_u64().unwrap() as usize;
            versions.1[id] = ours[0].version.0;
        }
        versions.0 = their_versions;
        *verdicts.entry(expected).or_default() += 1;
    }
    assert!(differ.is_empty(), "{} of {STEPS} differ:\n{}", differ.len(), differ[..differ.len().min(6)].join("\n"));
    let known =
        ["applied", "merged", "superseded", "unchanged", "missing", "conflict", "rejected 22003", "rejected 22P02"];
    assert!(known.iter().all(|verdict| verdicts.get(*verdict).is_some_and(|count| *count > 10)), "{verdicts:?}");
}
