//! A peer's process that cannot go on says why and ends, though whoever has started it still holds its input. Its runtime once waited
//! for that input for ever, and the reason was to be shown after that.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use cache_sync_kit::wait;

const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn a_peer_that_fails_in_a_turn_ends_with_its_reason() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_cache-sync-bench"))
        .args(["peer", "plain", "C", "100", "host=/nowhere", ""])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut bound = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut bound).unwrap();
    assert_eq!(bound, "0.0\n", "how stale its reads may be");
    input.write_all(b"turn 1\n").unwrap();
    let has_ended = wait::until_blocking(SOON, PAUSE, || Ok(process.try_wait()?.is_some())).unwrap();
    if !has_ended {
        process.kill().unwrap();
    }
    let ended = process.wait().unwrap();
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(has_ended, "it goes on, and said {said:?}");
    assert!(!ended.success() && said.starts_with("bench: ") && said.contains("connect"), "{ended}: {said:?}");
    drop(input);
}
