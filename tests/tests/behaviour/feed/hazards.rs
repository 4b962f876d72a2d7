//! What a feed must not do to its server, and what its server may do to it.

use cache_sync_core::wire::Message;
use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use socket2::{SockFilter, SockRef};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokio_postgres::{AsyncMessage, NoTls};

/// What waits for old transactions and snapshots does not wait for feeds, idle and told of much.
#[tokio::test(flavor = "multi_thread")]
async fn maintenance_does_not_wait_for_it() {
    let cluster = start(unsynced().setting("autovacuum_naptime", "1s").setting("autovacuum_vacuum_threshold", "100"));
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t'); INSERT INTO t SELECT n, 0 FROM generate_series(1, 3000) n");
    let feeds = [Feed::open(&db).await, Feed::open(&db).await];
    db.psql("UPDATE t SET v = 1");
    db.psql("DELETE FROM t WHERE id > 1000");
    let vacuum = db.client("psql").args(["-Xqc", "VACUUM (VERBOSE) t"]).output().unwrap();
    let said = String::from_utf8_lossy(&vacuum.stderr);
    assert!(said.contains("0 are dead but not yet removable"), "{said}");
    let begun = Instant::now();
    db.psql("CREATE INDEX CONCURRENTLY ON t (v)");
    db.psql("REINDEX INDEX CONCURRENTLY t_v_idx");
    db.psql("DROP INDEX CONCURRENTLY t_v_idx");
    db.psql("ALTER TABLE t ADD w int");
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    db.psql("UPDATE t SET v = 2; UPDATE t SET v = 3");
    let vacuumed = "SELECT autovacuum_count > 0 AND n_dead_tup = 0 FROM pg_stat_user_tables WHERE relname = 't'";
    wait_until(SOON, "autovacuum has cleaned up", async || db.psql(vacuumed) == "t").await;
    let begun = Instant::now();
    let other = Database::empty_in(&cluster);
    other.psql("SELECT 1");
    db.psql(&format!("DROP DATABASE {}", other.name()));
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.listeners"), "2");
    drop(feeds);
}

/// The feed's transaction stays young and holds no snapshot while it waits, however long the feed runs.
#[tokio::test]
async fn its_transaction_stays_young() {
    let cluster = start(unsynced().setting("cache_sync.heartbeat_interval", "100ms"));
    let db = Database::with_extension_in(&cluster);
    let feed = Feed::open(&db).await;
    let client = db.connect().await;
    let look = "SELECT extract(epoch FROM clock_timestamp() - xact_start) < 2, backend_xmin IS NOT NULL AND wait_event IS NOT NULL,
                       xact_start::text FROM pg_stat_activity WHERE pid = $1 AND xact_start IS NOT NULL";
    let look = client.prepare(look).await.unwrap();
    let deadline = Instant::now() + SOON;
    let mut transactions = BTreeSet::new();
    let mut waited_with_a_snapshot = None;
    while transactions.len() < 30 {
        assert!(Instant::now() < deadline, "{transactions:?}");
        // Between two of them there is none.
        let Some(seen) = client.query_opt(&look, &[&feed.pid]).await.unwrap() else { continue };
        let (is_young, waits_with_a_snapshot, begun): (bool, bool, String) = (seen.get(0), seen.get(1), seen.get(2));
        assert!(is_young);
        if waits_with_a_snapshot {
            // A heartbeat has one while it reads the catalogs, and then begins the next transaction. A look that comes then reads
            // the snapshot before and the wait after; the next one sees another transaction.
            assert_ne!(waited_with_a_snapshot, Some(begun.clone()));
            waited_with_a_snapshot = Some(begun.clone());
        }
        transactions.insert(begun);
    }
}

/// A client without sockets that answer: no FIN, no reset, no acknowledgement.
#[tokio::test]
async fn a_client_that_vanished_is_forgotten() {
    let cluster = start(unsynced().setting("cache_sync.send_timeout", "2s"));
    let db = Database::with_extension_in(&cluster);
    let stream = TcpStream::connect(("127.0.0.1", cluster.port())).unwrap();
    let kept = stream.try_clone().unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut config: tokio_postgres::Config = db.dsn().parse().unwrap();
    config.application_name("vanishes");
    let from = kept.local_addr().unwrap();
    let (client, mut connection) =
        config.connect_raw(tokio::net::TcpStream::from_std(stream).unwrap(), NoTls).await.unwrap();
    let call = tokio::spawn(async move { client.batch_execute("CALL cache_sync.stream()").await.is_ok() });
    let Some(Ok(AsyncMessage::Notification(start))) = poll_fn(|context| connection.poll_message(context)).await else {
        panic!("the feed does not begin");
    };
    Message::decode(start.payload()).unwrap();
    let there = "SELECT count(*) FROM cache_sync.listeners";
    assert_eq!(db.psql(there), "1");
    // From here on this side's kernel drops whatever comes, before it is even acknowledged.
    const RETURN_NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(&kept).attach_filter(&[RETURN_NOTHING]).unwrap();
    let begun = Instant::now();
    wait_until(SOON, "it is forgotten", async || db.psql(there) == "0").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    call.abort();
    // An operator finds out whose feed it was.
    let log = cluster.log_tail();
    let client = format!(r#"client: user "postgres", application "vanishes", address {from}"#);
    assert!(log.lines().any(|line| line.contains("feed broke") && line.contains(&client)), "{log}");
}

/// Also a smart shutdown, which waits until clients leave by themselves: a feed would never.
#[tokio::test]
async fn it_ends_with_the_server() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    for mode in ["smart", "fast", "immediate"] {
        let feed = Feed::open(&db).await;
        let begun = Instant::now();
        cluster.stop(mode).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{mode}: it took {:?}", begun.elapsed());
        if mode != "immediate" {
            let end = feed.end().await;
            assert!(end.starts_with("57P01"), "{mode}: {end}");
        }
        cluster.launch().unwrap();
    }
}

/// A timeout or a cancellation ends the call, and leaves the connection.
#[tokio::test]
async fn it_ends_by_a_timeout() {
    let db = Database::with_extension();
    let client = db.connect().await;
    client.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = client.batch_execute("CALL cache_sync.stream()").await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("57014"));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    client.batch_execute("SELECT 1").await.unwrap();
    for refused in [
        "BEGIN; CALL cache_sync.stream()",
        "ROLLBACK; DO 'BEGIN CALL cache_sync.stream(); EXCEPTION WHEN division_by_zero THEN END'",
    ] {
        let error = client.batch_execute(refused).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("25001"), "{refused}");
    }
    client.batch_execute("ROLLBACK").await.unwrap();
}
