//! Every rule, against a plain upsert.
//!
//! Rules that merge values are compared with an upsert that sets the column from the same JSON. What saves writing a whole
//! row, a patch of one field, is compared with an upsert of the whole row.

use crate::batches::{BATCH, Input, Ours, ROWS, Theirs, WriteRow};
use crate::flush;
use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync_kit::{Result, connect};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// A rule on one column, against an upsert of that column.
struct Case {
    name: &'static str,
    column: &'static str,
    rule: Value,
    op: &'static str,
    write: WriteRow,
    at_least: f64,
}

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let client = connect(dsn).await?;
    client
        .batch_execute(
            "CREATE FUNCTION mixed(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
                 AS 'SELECT $1 # ($2 | 1)'",
        )
        .await?;
    whole_rows(&client, rounds, report).await?;
    for case in cases() {
        let columns = format!("id bigint, v {}", case.column);
        make(&client, "theirs_one", &columns).await?;
        make(&client, "ours_one", &columns).await?;
        let rules = json!({ "v": case.rule }).to_string();
        client.execute("SELECT cache_sync.attach('ours_one', true, $1::text::jsonb)", &[&rules]).await?;
        let shape = json!({"op": case.op, "seen": true, "fields": ["v"]});
        let mut ours = Ours::new(&client, "ours_one", shape, case.write).await?;
        // A set takes a change, which is no list.
        let columns = if case.rule == json!("union") { "id bigint, v jsonb" } else { &columns };
        let theirs_write = if case.rule == json!("union") { list_row } else { case.write };
        let mut theirs = Theirs::new(&client, "theirs_one", Input { columns, json: "jsonb" }, theirs_write).await?;
        let sides = rounds.alternate(async || ours.round(rounds).await, async || theirs.round(rounds).await).await?;
        let row = format!("{} / upsert of the same values", case.name);
        report.rounds(Figure::new("merge", row, "rows/s", Target::AtLeast(case.at_least)), &sides);
        client.batch_execute("DROP TABLE ours_one, theirs_one; SELECT cache_sync.detach_all()").await?;
    }
    Ok(())
}

/// Ten typed columns: all of them, and one field alone.
async fn whole_rows(client: &Client, rounds: Rounds, report: &mut Report) -> Result<()> {
    flush::make(client, "theirs").await?;
    let mut theirs =
        Theirs::new(client, "theirs", Input { columns: flush::COLUMNS, json: "jsonb" }, flush::row).await?;
    let all = json!({"op": "put", "seen": true, "fields": flush::FIELDS});
    let one = json!({"op": "edit", "fields": ["b"]});
    let write_one: WriteRow = |_, id, number| format!("\"id\":{id},\"b\":{number}");
    let shapes = [
        ("lww, 10 columns", "lww", all, flush::row as WriteRow, 0.75),
        ("lww, one of 10 columns", "lww", one.clone(), write_one, 1.2),
        ("add, one of 10 columns", "add", one.clone(), |_, id, _| format!("\"id\":{id},\"b\":1"), 1.2),
        (
            "max, one of 10 columns",
            "max",
            one.clone(),
            |_, id, number| format!("\"id\":{id},\"b\":{}", number + 1_000_000),
            1.2,
        ),
        ("min, one of 10 columns", "min", one, |_, id, number| format!("\"id\":{id},\"b\":{}", -number), 1.2),
    ];
    for (name, rule, shape, write, at_least) in shapes {
        flush::make(client, "ours").await?;
        client.batch_execute(&format!("SELECT cache_sync.attach('ours', true, '{{\"b\": \"{rule}\"}}')")).await?;
        let mut ours = Ours::new(client, "ours", shape, write).await?;
        let sides = rounds.alternate(async || ours.round(rounds).await, async || theirs.round(rounds).await).await?;
        let row = format!("{name} / upsert of the whole row");
        report.rounds(Figure::new("merge", row, "rows/s", Target::AtLeast(at_least)), &sides);
        client.batch_execute("DROP TABLE ours; SELECT cache_sync.detach_all()").await?;
    }
    Ok(())
}

fn cases() -> Vec<Case> {
    let flat = json!({"rule": "json", "depth": 1});
    let capped = json!({"rule": "append", "cap": 20});
    let function = json!({"rule": "function", "name": "mixed(integer,integer)"});
    vec![
        Case { name: "lww, documents", column: "jsonb", rule: flat, op: "put", write: document_row, at_least: 0.75 },
        Case { name: "json", column: "jsonb", rule: json!("json"), op: "edit", write: document_row, at_least: 0.4 },
        Case { name: "append", column: "bigint[]", rule: capped.clone(), op: "edit", write: list_row, at_least: 0.5 },
        Case { name: "append, jsonb", column: "jsonb", rule: capped, op: "edit", write: list_row, at_least: 0.5 },
        Case { name: "union", column: "jsonb", rule: json!("union"), op: "edit", write: change_row, at_least: 0.5 },
        Case { name: "function", column: "integer", rule: function, op: "edit", write: number_row, at_least: 0.4 },
    ]
}

async fn make(client: &Client, table: &str, columns: &str) -> Result<()> {
    let sql = format!(
        "CREATE TABLE {table} ({columns}, PRIMARY KEY (id)) WITH (fillfactor = 50);
         INSERT INTO {table} (id) SELECT n FROM generate_series(0, {ROWS} - 1) n"
    );
    Ok(client.batch_execute(&sql).await?)
}

fn document_row(_: i64, id: i64, number: i64) -> String {
    format!(
        "\"id\":{id},\"v\":{{\"a\":{number},\"b\":{number}.25,\"c\":\"text {number}\",\"d\":\"another text, somewhat longer {number}\",\
         \"e\":{},\"f\":\"2026-01-01T00:00:00.{:06}+00:00\",\"g\":[1,2,{number}],\"h\":{{\"x\":{number},\"y\":\"z\"}},\"i\":null}}",
        number % 2 == 0,
        number % 1_000_000,
    )
}

fn list_row(_: i64, id: i64, number: i64) -> String {
    format!("\"id\":{id},\"v\":[{number},{}]", number + 1)
}

/// Adds two elements and removes the two that the batch before added to this row, whose number was that much smaller.
fn change_row(_: i64, id: i64, number: i64) -> String {
    let before = number - 7 * ROWS / BATCH;
    format!("\"id\":{id},\"v\":{{\"add\":[{number},{}],\"remove\":[{before},{}]}}", number + 1, before + 1)
}

/// Numbers that change a row each time, whatever bits it has.
fn number_row(_: i64, id: i64, number: i64) -> String {
    format!("\"id\":{id},\"v\":{number}")
}
