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

#[test]
fn document() {
    let shown = run(env!("CARGO_BIN_EXE_document"));
    let both = ["ann", "ben"].map(|who| format!(r#""both": "{who} has typed 40 letters""#));
    assert!(both.iter().any(|both| shown.contains(both)), "{shown}");
    for part in [r#""intro": "ann has typed 40 letters""#, r#""end": "ben has typed 40 letters""#] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(shown.contains(r#"by ["ann", "ben"]"#) && !shown.contains("draft"), "{shown}");
}

#[test]
fn dashboard() {
    let shown = run(env!("CARGO_BIN_EXE_dashboard"));
    assert!(shown.starts_with("2000 orders, 9990.00"), "{shown}");
}

#[test]
fn preferences() {
    let shown = run(env!("CARGO_BIN_EXE_preferences"));
    let lines = [
        r#"before: Preferences { theme: "light", language: "en", font_size: 12, muted: [] }"#,
        r#"after:  Preferences { theme: "dark", language: "de", font_size: 12, muted: ["bob", "eve"] }"#,
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), lines, "{shown}");
}

#[test]
fn feature_flags() {
    let shown = run(env!("CARGO_BIN_EXE_feature_flags"));
    let lines = ["search: 1000 users, none yet: 0", "checkout: about half of them", "switched off: 0 and 0"];
    assert_eq!(shown.lines().collect::<Vec<_>>(), lines, "{shown}");
}

#[test]
fn player_state() {
    let shown = run(env!("CARGO_BIN_EXE_player_state"));
    // The levels 1 to 10 on one node and 20 to 11 on the other, in any order.
    assert!(shown.starts_with("210 coins, best score 120, best time 70 s, 3 keys\nrefused: "), "{shown}");
}
