//! `dependencies()`: what a statement reads, and by what the rows that matter are pinned.
//!
//! Each case is a statement and what is said of it, in one line: `post` for all of a table, `post.author=$1|7` for the rows that have
//! or had one of these values in the tag, `comment.key=($1,2)` for one key, `any($1)` for the elements of an array, and `!...` for
//! what nobody would tell of.

mod conditions;
mod functions;
mod joins;
mod nested;
mod property;
mod refused;
mod rights;
mod schema;
mod views;

use serde_json::Value;
use std::fmt::Write;

/// What is said of a statement, as in the cases.
async fn said(client: &tokio_postgres::Client, sql: &str) -> String {
    let answer = client.query_one("SELECT cache_sync.dependencies($1)::text", &[&sql]).await;
    let answer: String = match answer {
        Ok(row) => row.get(0),
        Err(error) => return error.as_db_error().expect("an error of the server").code().code().to_owned(),
    };
    told(&serde_json::from_str(&answer).expect("JSON"))
}

fn told(answer: &Value) -> String {
    let mut said: Vec<String> = Vec::new();
    for table in answer["tables"].as_array().unwrap() {
        let name = table["relation"].as_str().unwrap().trim_start_matches("public.");
        if table["whole"] == true {
            said.push(name.to_owned());
            assert!(table["tags"].as_object().unwrap().is_empty() && table["keys"].as_array().unwrap().is_empty());
        }
        for (tag, values) in table["tags"].as_object().unwrap() {
            said.push(format!("{name}.{tag}={}", all(values, "|", value)));
        }
        if table["keys"].as_array().is_some_and(|keys| !keys.is_empty()) {
            let key = |key: &Value| match key.as_array().unwrap().as_slice() {
                [only] => value(only),
                _ => format!("({})", all(key, ",", value)),
            };
            said.push(format!("{name}.key={}", all(&table["keys"], "|", key)));
        }
    }
    said.sort();
    said.extend(answer["refused"].as_array().unwrap().iter().map(|refused| {
        assert!(!refused["hint"].as_str().unwrap().is_empty());
        format!("!{}", refused["what"].as_str().unwrap().replace("public.", ""))
    }));
    said.join(" ")
}

fn all(values: &Value, between: &str, each: impl Fn(&Value) -> String) -> String {
    values.as_array().unwrap().iter().map(each).collect::<Vec<_>>().join(between)
}

fn value(value: &Value) -> String {
    if let Some(number) = value.get("parameter") {
        return format!("${number}");
    }
    if let Some(number) = value.get("each_of") {
        return format!("any(${number})");
    }
    match &value["value"] {
        Value::String(word) => word.clone(),
        Value::Object(named) => named.values().map(|value| value.to_string().replace('"', "'")).collect(),
        other => panic!("{other}"),
    }
}

/// Asks about each statement and compares; all that differ are told at once.
async fn check(cases: &[(&str, &str)]) {
    let client = schema::database().connect().await;
    let mut differ = String::new();
    for (sql, expected) in cases {
        let said = said(&client, sql).await;
        if said != *expected {
            writeln!(differ, "{sql}\n  expected: {expected}\n  said:     {said}").unwrap();
        }
    }
    assert!(differ.is_empty(), "\n{differ}");
}
