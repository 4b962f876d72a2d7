//! The throw-away clusters that all other tests stand on.

use cache_sync_cluster::{Options, Redis};
use cache_sync_tests::{Database, start};
use std::io::{BufRead, BufReader, Write};

#[test]
fn keeps_data_and_port_over_a_crash_and_leaves_nothing_behind() {
    let cluster = start(Options::default().preload(false).setting("max_connections", "20"));
    let db = Database::empty_in(&cluster);
    db.psql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let port = cluster.port();
    cluster.restart_immediate().unwrap();
    assert_eq!(db.psql("SELECT current_setting('port'), count(*), current_setting('max_connections') FROM t"), {
        format!("{port}|1|20")
    });
    let dir = cluster.socket_dir().to_owned();
    drop(cluster);
    assert!(!dir.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the server still runs");
}

#[test]
fn says_why_a_server_does_not_start() {
    let error = Options::default().preload(false).setting("max_connections", "many").start().unwrap_err().to_string();
    assert!(error.contains("invalid value for parameter \"max_connections\""), "{error}");
}

#[test]
fn a_server_of_redis_answers_and_leaves_nothing_behind() {
    let redis = Redis::start_with(&[("maxmemory", "7mb")]).unwrap_or_else(|error| panic!("{error}"));
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.write_all(b"CONFIG GET maxmemory\r\n").unwrap();
    let mut answer = String::new();
    let mut lines = BufReader::new(&stream);
    while lines.read_line(&mut answer).unwrap() > 0 && !answer.ends_with("7340032\r\n") {}
    assert_eq!(answer, "*2\r\n$9\r\nmaxmemory\r\n$7\r\n7340032\r\n");
    let (dir, port) = (redis.log_file().parent().unwrap().to_owned(), redis.port());
    drop(redis);
    assert!(!dir.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the server still runs");
}

#[test]
fn says_why_a_server_of_redis_does_not_start() {
    let error = Redis::start_with(&[("maxmemory", "much")]).unwrap_err().to_string();
    assert!(error.contains("maxmemory \"much\""), "{error}");
}
