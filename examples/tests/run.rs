//! Every example runs to its end against a fresh database.

use cache_sync_tests::{Database, output};
use std::process::Command;

fn run(program: &str) -> String {
    let db = Database::with_extension();
    output(Command::new(program).env("DATABASE_URL", db.dsn()))
}

#[test]
fn profiles() {
    let shown = run(env!("CARGO_BIN_EXE_profiles"));
    assert!(shown.contains("now:        Anna of Some(\"Bern\")"), "{shown}");
}

#[test]
fn page_counters() {
    let shown = run(env!("CARGO_BIN_EXE_page_counters"));
    assert!(shown.starts_with("200 views"), "{shown}");
}

#[test]
fn high_scores() {
    let shown = run(env!("CARGO_BIN_EXE_high_scores"));
    assert!(shown.contains("best score 120, best time 60 s"), "{shown}");
}

#[test]
fn newest_posts() {
    let shown = run(env!("CARGO_BIN_EXE_newest_posts"));
    assert!(shown.contains("Ann's newest now: Post { id: 2001, body: \"hello\" }"), "{shown}");
}

#[test]
fn leaderboard() {
    let shown = run(env!("CARGO_BIN_EXE_leaderboard"));
    assert_eq!(shown.matches("after:  player 13, player 20, player 27").count(), 2, "{shown}");
}

#[test]
fn sessions() {
    let shown = run(env!("CARGO_BIN_EXE_sessions"));
    let lines: Vec<_> = shown.lines().collect();
    let expected = ["on the other node: Some(42)", "requests: 11", "expired: None and None", "logged out: None"];
    assert_eq!(lines, expected, "{shown}");
}
