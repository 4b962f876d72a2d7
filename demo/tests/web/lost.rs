//! A node that cannot go on ends, though whoever has started it still holds its input: else nobody would start it again. Its runtime once waited
//! for that input for ever.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use cache_sync_cluster::Redis;
use cache_sync_kit::wait;

const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn a_node_that_fails_ends() {
    let redis = Redis::start().unwrap();
    let mut node = Command::new(env!("CARGO_BIN_EXE_cache-sync-demo"))
        .args(["web-node", "--way", "redis_way", "--dsn", "host=/nowhere", "--redis", &redis.url(), "--seed", "1"])
        .args(["--reads", "100", "--writes", "1", "--bound-ms", "1000", "--ttl-ms", "1000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(node.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "\"Ready\"\n");
    // It cannot tell any more what it does.
    drop(said);
    let has_ended = wait::until_blocking(SOON, PAUSE, || Ok(node.try_wait()?.is_some())).unwrap();
    if !has_ended {
        node.kill().unwrap();
    }
    let ended = node.wait().unwrap();
    assert!(has_ended && ended.code() == Some(1), "{ended}");
}
