//! What others write drops the entry, what the cache writes they read, and what it does shows in their traces.

use cache_sync_tests::{Database, output};
use std::process::Command;

fn run(program: &str) -> Vec<String> {
    let db = Database::with_extension();
    let shown = output(Command::new(program).env("DATABASE_URL", db.dsn()));
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn sqlx() {
    let lines = [
        "from Postgres: Some(0)",
        "before the commit: Some(0)",
        "after the commit: Some(1)",
        r#"sqlx reads: ("Anna", 6)"#,
    ];
    assert_eq!(run(env!("CARGO_BIN_EXE_beside_sqlx")), lines);
}

#[test]
fn diesel() {
    let lines = [
        r#"from Postgres: Some(Reader { id: 1, name: "Ann", loans: 0 })"#,
        r#"what diesel wrote: Some(Reader { id: 1, name: "Ann", loans: 1 })"#,
        r#"diesel reads: Reader { id: 1, name: "Anna", loans: 6 }"#,
    ];
    assert_eq!(run(env!("CARGO_BIN_EXE_beside_diesel")), lines);
}

#[test]
fn sea_orm() {
    let lines = [
        r#"from Postgres: Some(Model { id: 1, name: "Ann", loans: 0 })"#,
        r#"what SeaORM wrote: Some(Model { id: 1, name: "Ann", loans: 1 })"#,
        r#"SeaORM reads: Some(Model { id: 1, name: "Anna", loans: 6 })"#,
    ];
    assert_eq!(run(env!("CARGO_BIN_EXE_beside_sea_orm")), lines);
}

#[test]
fn opentelemetry() {
    let shown = run(env!("CARGO_BIN_EXE_beside_opentelemetry"));
    // Name, number, and that of the span around it.
    let spans = shown
        .iter()
        .filter_map(|line| line.split_once(": ").and_then(|(name, ids)| Some((name, ids.split_once(" in ")?))));
    let of = |wanted: &str| spans.clone().filter(|(name, _)| *name == wanted).map(|(_, ids)| ids).collect::<Vec<_>>();
    let (requests, loads) = (of("request"), of("cache_sync.load of public.reader"));
    // The first request loads, the others find what it has found.
    let [(_, around)] = loads[..] else { panic!("{shown:#?}") };
    assert_eq!(requests.len(), 3, "{shown:#?}");
    assert_eq!(requests[0].0, around, "{shown:#?}");
}
