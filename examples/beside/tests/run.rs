//! What others write drops the entry, what the cache writes they read, and what it does shows in their traces.

use cache_sync_tests::{Database, output};
use std::process::Command;

const OPENTELEMETRY: &str = env!("CARGO_BIN_EXE_beside_opentelemetry");
/// The programs that write, and what each shows.
const WRITERS: [(&str, &[&str]); 3] = [
    (
        env!("CARGO_BIN_EXE_beside_sqlx"),
        &[
            "from Postgres: Some(0)",
            "before the commit: Some(0)",
            "after the commit: Some(1)",
            r#"sqlx reads: ("Anna", 6)"#,
        ],
    ),
    (
        env!("CARGO_BIN_EXE_beside_diesel"),
        &[
            r#"from Postgres: Some(Reader { id: 1, name: "Ann", loans: 0 })"#,
            r#"what diesel wrote: Some(Reader { id: 1, name: "Ann", loans: 1 })"#,
            r#"diesel reads: Reader { id: 1, name: "Anna", loans: 6 }"#,
        ],
    ),
    (
        env!("CARGO_BIN_EXE_beside_sea_orm"),
        &[
            r#"from Postgres: Some(Model { id: 1, name: "Ann", loans: 0 })"#,
            r#"what SeaORM wrote: Some(Model { id: 1, name: "Ann", loans: 1 })"#,
            r#"SeaORM reads: Some(Model { id: 1, name: "Anna", loans: 6 })"#,
        ],
    ),
];

fn run(db: &Database<'_>, program: &str) -> Vec<String> {
    let shown = output(Command::new(program).env("DATABASE_URL", db.dsn()));
    shown.lines().map(str::to_owned).collect()
}

/// Each in the database in which the others have run, and itself.
#[test]
fn what_either_side_writes_the_other_reads() {
    let db = Database::with_extension();
    for _ in 0..2 {
        for (program, lines) in WRITERS {
            assert_eq!(run(&db, program), lines, "{program}");
        }
        a_load_is_in_the_trace_of_its_request(&run(&db, OPENTELEMETRY));
    }
}

fn a_load_is_in_the_trace_of_its_request(shown: &[String]) {
    // Name, number, and that of the span around it.
    let spans = shown
        .iter()
        .filter_map(|line| line.split_once(": ").and_then(|(name, ids)| Some((name, ids.split_once(" in ")?))));
    let of = |wanted: &str| spans.clone().filter(|(name, _)| *name == wanted).map(|(_, ids)| ids).collect::<Vec<_>>();
    let (requests, loads) = (of("request"), of("cache_sync.load of public.traced_reader"));
    // The first request loads, the others find what it has found.
    let [(_, around)] = loads[..] else { panic!("{shown:#?}") };
    assert_eq!(requests.len(), 3, "{shown:#?}");
    assert_eq!(requests[0].0, around, "{shown:#?}");
}
