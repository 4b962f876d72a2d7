//! What a deletion does to writes, and what writes do after a deletion, is told in `docs/deletions.md`, a table per
//! question, a row per rule, a column per case. The tests read these tables: every cell must be so.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::document::read;
use serde_json::{Value, json};

/// A table with the field `f` under a rule, and what is written to it. Rows begin with the stamp 100.
struct Ruled {
    /// As the document names it.
    name: &'static str,
    ty: &'static str,
    rule: &'static str,
    /// Whether the rule goes by stamps, so that it needs a versioned table.
    is_stamped: bool,
    /// Whether the table has another field, `g`, which the last write wins.
    has_other: bool,
    /// The field in the row, as SQL; in a put; in an edit.
    values: (&'static str, &'static str, &'static str),
}

const RULES: &[Ruled] = &[
    ruled("lww", "int", r#""lww""#, true, ("1", "2", "2")),
    ruled("first", "int", r#""first""#, true, ("1", "2", "2")),
    ruled("json", "jsonb", r#""json""#, true, (r#"'{"a": 1}'"#, r#"{"b": 2}"#, r#"{"b": 2}"#)),
    ruled(
        "json, counter b",
        "jsonb",
        r#"{"rule": "json", "members": {"b": "add"}}"#,
        true,
        (r#"'{"a": 1}'"#, r#"{"b": 2}"#, r#"{"b": 2}"#),
    ),
    ruled("arrival", "int", r#""arrival""#, false, ("1", "2", "2")),
    ruled("add", "int", r#""add""#, false, ("1", "2", "2")),
    ruled("max", "int", r#""max""#, false, ("1", "2", "2")),
    ruled("min", "int", r#""min""#, false, ("3", "2", "2")),
    ruled("append", "int[]", r#""append""#, false, ("'{1}'", "[2]", "[2]")),
    ruled("union", "int[]", r#""union""#, false, ("'{1}'", "[2]", r#"{"add": [2]}"#)),
    ruled("function", "int", r#"{"rule": "function", "name": "digits(int,int)"}"#, false, ("1", "2", "2")),
    Ruled { has_other: true, ..ruled("add beside lww", "int", r#""add""#, true, ("1", "2", "2")) },
];

const fn ruled(
    name: &'static str,
    ty: &'static str,
    rule: &'static str,
    is_stamped: bool,
    values: (&'static str, &'static str, &'static str),
) -> Ruled {
    Ruled { name, ty, rule, is_stamped, has_other: false, values }
}

/// What happens to a row.
#[derive(Clone, Copy)]
enum Step {
    Insert,
    Update,
    SqlDelete,
    /// The following ones come with a stamp.
    Delete(i64),
    Edit(i64),
    Put(i64),
    /// A put of a writer that had seen the row.
    SeenPut(i64),
    Replace(i64),
    /// With the version that is expected.
    CompareAndSet(i64),
}

use Step::*;

/// The tables of the document, by their first cell: the cases, each with what happens before and the last step, whose
/// outcome and row the cells tell. Every row begins at 100, unless there is none.
const DELETION_COMES: &[(&str, &[Step])] = &[
    ("is older", &[Delete(50)]),
    ("is as old", &[Delete(100)]),
    ("is newer", &[Delete(200)]),
    ("is older than an edit", &[Edit(200), Delete(150)]),
    ("is older than a put", &[Put(200), Delete(150)]),
    ("is older than a replacement", &[Replace(200), Delete(150)]),
    ("is older than a compare-and-set", &[CompareAndSet(100), Delete(150)]),
    ("is older than an UPDATE", &[Update, Delete(150)]),
    ("is older than an INSERT", &[SqlDelete, Insert, Delete(150)]),
    ("is older than the put that made the row", &[SqlDelete, Put(200), Delete(150)]),
    ("is newer than that put", &[SqlDelete, Put(200), Delete(250)]),
    ("comes after a DELETE", &[SqlDelete, Delete(200)]),
    ("comes after a deletion", &[Delete(200), Delete(300)]),
];

/// What comes after a deletion; the deletion itself may be a patch or plain SQL.
const AFTER_DELETION: &[(&str, Step)] = &[
    ("a newer edit", Edit(300)),
    ("an older edit", Edit(150)),
    ("a newer put", Put(300)),
    ("an older put", Put(150)),
    ("a newer put by who had seen the row", SeenPut(300)),
    ("an older put by who had seen the row", SeenPut(150)),
    ("a newer replacement", Replace(300)),
    ("an older replacement", Replace(150)),
    ("a compare-and-set of its version", CompareAndSet(100)),
    ("a compare-and-set of no row", CompareAndSet(0)),
    ("an UPDATE", Update),
    ("an INSERT", Insert),
];

/// A table under test.
struct Bench {
    ruled: &'static Ruled,
    table: String,
    is_versioned: bool,
    batches: Batches,
    next_id: i64,
}

impl Bench {
    async fn new(db: &Database<'_>, ruled: &'static Ruled, is_versioned: bool) -> Bench {
        let table = format!("\"{} {is_versioned}\"", ruled.name);
        let other = if ruled.has_other { ", g int" } else { "" };
        db.psql(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, f {}{other});
             SELECT cache_sync.attach('{table}', {is_versioned}, '{{\"f\": {}}}')",
            ruled.ty, ruled.rule
        ));
        let batches = Batches::open(db, &table).await;
        Bench { ruled, table, is_versioned, batches, next_id: 0 }
    }

    /// What the last step comes to, for a row of its own.
    async fn cell(&mut self, steps: &[Step]) -> String {
        self.next_id += 1;
        let (columns, values) = if self.ruled.has_other { ("f, g", ", 1") } else { ("f", "") };
        let (version, stamp) = if self.is_versioned { (", cs_version", ", 100") } else { ("", "") };
        let (table, id, first) = (&self.table, self.next_id, self.ruled.values.0);
        // As replication does: what plain SQL inserts is of now.
        let insert = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             INSERT INTO {table} (id, {columns}{version}) VALUES ({id}, {first}{values}{stamp}); COMMIT"
        );
        self.batches.client().batch_execute(&insert).await.unwrap();
        let mut outcome = String::new();
        for step in steps {
            outcome = self.step(*step).await;
        }
        let (client, row) = (self.batches.client(), format!("SELECT f::text FROM {} WHERE id = {id}", self.table));
        let row = client.query_opt(&row, &[]).await.unwrap();
        format!("{outcome}: {}", row.map_or("no row".to_owned(), |row| row.get(0)))
    }

    async fn step(&mut self, step: Step) -> String {
        let (id, (_, put, edit)) = (self.next_id, self.ruled.values);
        let (put, edit): (Value, Value) = (serde_json::from_str(put).unwrap(), serde_json::from_str(edit).unwrap());
        match step {
            Insert => self.sql("INSERT INTO {t} (id, f) VALUES ({id}, {f})").await,
            Update => self.sql("UPDATE {t} SET f = (SELECT {new}) WHERE id = {id}").await,
            SqlDelete => self.sql("DELETE FROM {t} WHERE id = {id}").await,
            Delete(stamp) => self.patch(json!({"op": "delete"}), json!({"#": 0, "@": stamp, "id": id}), None).await,
            Edit(stamp) => self.patch(json!({"op": "edit"}), json!({"#": 0, "@": stamp, "id": id}), Some(edit)).await,
            Put(stamp) => self.patch(json!({"op": "put"}), json!({"#": 0, "@": stamp, "id": id}), Some(put)).await,
            SeenPut(stamp) => {
                let shape = json!({"op": "put", "seen": true});
                self.patch(shape, json!({"#": 0, "@": stamp, "id": id}), Some(put)).await
            }
            Replace(stamp) => {
                self.patch(json!({"op": "replace"}), json!({"#": 0, "@": stamp, "id": id}), Some(put)).await
            }
            CompareAndSet(version) => {
                let shape = json!({"op": "compare_and_set"});
                self.patch(shape, json!({"#": 0, "=": version, "id": id}), Some(put)).await
            }
        }
    }

    async fn patch(&mut self, mut shape: Value, mut patch: Value, value: Option<Value>) -> String {
        if let Some(value) = value {
            let is_whole = shape["op"] != "edit";
            shape["fields"] = if self.ruled.has_other && is_whole { json!(["f", "g"]) } else { json!(["f"]) };
            patch["f"] = value;
            if self.ruled.has_other && is_whole {
                patch["g"] = json!(2);
            }
        }
        self.batches.verdicts(json!([shape]), &[json!([patch])]).await.remove(0)
    }

    async fn sql(&self, text: &str) -> String {
        let (first, put, _) = self.ruled.values;
        let new = match self.ruled.ty {
            "int" => put.to_owned(),
            "jsonb" => format!("'{put}'::jsonb"),
            _ => "'{2}'::int[]".to_owned(),
        };
        let text = text.replace("{t}", &self.table).replace("{id}", &self.next_id.to_string());
        let text = text.replace("{f}", first).replace("{new}", &new);
        let rows = self.batches.client().execute(&text, &[]).await.unwrap();
        format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
    }
}

/// The table whose first header is `title`, as it should stand in the document.
fn table(title: &str, cases: &[&str], rows: &[(&str, Vec<String>)]) -> String {
    let mut lines = format!("| {title} | {} |\n|{}\n", cases.join(" | "), " --- |".repeat(cases.len() + 1));
    for (rule, cells) in rows {
        lines += &format!("| `{rule}` | {} |\n", cells.join(" | "));
    }
    lines
}

/// The document says what was found.
fn document_says(title: &str, cases: &[&str], rows: &[(&str, Vec<String>)]) {
    let text = read("docs/deletions.md");
    let found = table(title, cases, rows);
    let written: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {title} |")))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(written.len() == rows.len() + 2, "the document lacks rows or the table:\n{found}");
    assert_eq!(written[0][1..], *cases, "the document has other cases:\n{found}");
    let mut wrong = Vec::new();
    for ((rule, cells), line) in rows.iter().zip(&written[2..]) {
        assert_eq!((line[0], line.len()), (&*format!("`{rule}`"), cases.len() + 1), "{found}");
        for ((case, cell), written) in cases.iter().zip(cells).zip(&line[1..]) {
            if cell != written {
                wrong.push(format!("{rule}, {case}: the document says \"{written}\", Postgres \"{cell}\""));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{found}", wrong.join("\n"));
}

async fn found(db: &Database<'_>, cases: &[Vec<Step>]) -> Vec<(&'static str, Vec<String>)> {
    let mut rows = Vec::new();
    for ruled in RULES {
        let mut bench = Bench::new(db, ruled, true).await;
        let mut cells = Vec::new();
        for steps in cases {
            cells.push(bench.cell(steps).await);
        }
        if !ruled.is_stamped {
            let mut plain = Bench::new(db, ruled, false).await;
            for (steps, cell) in cases.iter().zip(&cells) {
                if !steps.iter().any(|step| matches!(step, CompareAndSet(_))) {
                    assert_eq!(plain.cell(steps).await, *cell, "{}: a plain table differs", ruled.name);
                }
            }
        }
        rows.push((ruled.name, cells));
    }
    rows
}

fn database() -> Database<'static> {
    let db = Database::with_extension();
    db.psql("CREATE FUNCTION digits(a int, b int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 10 * a + b'");
    db
}

#[tokio::test]
async fn a_deletion_that_comes() {
    let db = database();
    let cases: Vec<_> = DELETION_COMES.iter().map(|(_, steps)| steps.to_vec()).collect();
    let titles: Vec<_> = DELETION_COMES.iter().map(|(case, _)| *case).collect();
    document_says("the deletion", &titles, &found(&db, &cases).await);
}

#[tokio::test]
async fn what_comes_after_a_deletion() {
    let titles: Vec<_> = AFTER_DELETION.iter().map(|(case, _)| *case).collect();
    let mut tables = Vec::new();
    for deletion in [Delete(200), SqlDelete] {
        let cases: Vec<_> = AFTER_DELETION.iter().map(|(_, step)| vec![deletion, *step]).collect();
        tables.push(found(&database(), &cases).await);
    }
    assert_eq!(tables[0], tables[1], "it makes no difference who deleted the row");
    document_says("after the deletion", &titles, &tables[0]);
}
