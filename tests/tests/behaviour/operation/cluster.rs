//! The throw-away clusters that all other tests stand on.

use cache_sync_cluster::Options;
use cache_sync_tests::{Database, start};

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
