//! A server before PostgreSQL 17 that has not preloaded the library: writers NOTIFY, and nodes hear it. Later ones have the ring
//! all the same, and nothing here concerns them. The sources of changes are tried in `freshness::sources_of_change`.

use cache_sync::{Cache, Client, FeedKind};
use cache_sync_core::number::{Epoch, HostTime, KeyHash, Lsn, Position, Stamp, TableId, Version};
use cache_sync_core::wire::{Body, Change, ChangeKind, Message};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, client, close, make_accounts, node, open, shown, stored};
use cache_sync_tests::{Database, SOON, cluster_without_preloading, connect, notifies_without_preloading, wait_until};
use std::future::poll_fn;
use std::time::Duration;
use tokio_postgres::{AsyncMessage, NoTls};

/// `None` where the server does not need NOTIFY.
fn database() -> Option<Database<'static>> {
    let db = Database::with_extension_in(cluster_without_preloading());
    let notifies = notifies_without_preloading(db.cluster());
    assert_eq!(db.psql("SELECT cache_sync_internal.feed_kind()") == "notify", notifies);
    notifies.then_some(db)
}

/// What `LISTEN cache_sync` hears of what is done meanwhile.
async fn heard(db: &Database<'_>, what: &str) -> Vec<Message> {
    let (client, mut connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
    let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                sender.send(Message::decode(notification.payload()).unwrap()).unwrap();
            }
        }
    });
    client.batch_execute("LISTEN cache_sync").await.unwrap();
    db.psql(what);
    client.batch_execute("").await.unwrap();
    let mut heard = Vec::new();
    while let Ok(message) = messages.try_recv() {
        heard.push(message);
    }
    heard
}

fn changes(messages: &[Message]) -> Vec<Change> {
    let of = |message: &Message| match &message.body {
        Body::Changes(changes) => changes.clone(),
        body => panic!("{body:?}"),
    };
    messages.iter().flat_map(of).collect()
}

#[tokio::test]
async fn it_says_so_wherever_one_looks() {
    let Some(db) = database() else { return };
    db.psql("CREATE TABLE t (id int PRIMARY KEY)");
    let said = db.client("psql").args(["-Xqc", "SELECT cache_sync.attach('t')"]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("WARNING:  cache_sync is not preloaded: changes are told by NOTIFY"), "{said}");
    assert!(said.contains("HINT:  Add cache_sync to shared_preload_libraries and restart the server."), "{said}");
    assert_eq!(db.psql("SELECT cache_sync.status() -> 'preloaded'"), "false");
    assert!(db.psql("SELECT problem FROM cache_sync.check_tables()").contains("not preloaded"));
    let client = client(&db).await;
    assert_eq!(client.status().feed_kind, None);
    make_accounts(&db, 1);
    let cache = accounts(&client).await;
    assert!(cache.get(&1).await.unwrap().is_some());
    assert_eq!((client.status().feed_kind, client.status().feed_live), (Some(FeedKind::Notify), true));
    close(client).await;
}

/// What is heard of a transaction: nothing of one that was rolled back, every key without a version, in as many notifications as
/// it takes, and from 4,096 keys on the table as a whole.
#[tokio::test]
async fn a_transaction_is_told_when_it_commits() {
    let Some(db) = database() else { return };
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t', versioned => true, tags => '{v}')",
    );
    assert_eq!(heard(&db, "BEGIN; INSERT INTO t VALUES (1, 0); ROLLBACK; SELECT 1").await, []);
    let told = changes(&heard(&db, "INSERT INTO t SELECT n, 7 FROM generate_series(1, 1000) n").await);
    let tags = told.iter().filter(|change| change.kind == ChangeKind::Tag).count();
    assert_eq!((told.len(), tags), (1001, 1));
    let messages = heard(&db, "UPDATE t SET v = 7").await;
    assert_eq!(messages.len(), 4);
    let told = changes(&messages);
    assert_eq!(told.len(), 1001);
    assert!(told.iter().all(|change| change.version == Version::NONE && change.kind != ChangeKind::Versioned));
    let hash = db.psql("SELECT cache_sync.key_hash('t', '{\"id\": 5}')").parse::<i64>().unwrap();
    assert!(told.iter().any(|change| change.key == KeyHash(hash as u64)));
    let told = changes(&heard(&db, "INSERT INTO t SELECT n, 7 FROM generate_series(1001, 6000) n").await);
    assert_eq!(told.iter().map(|change| change.kind).collect::<Vec<_>>(), [ChangeKind::FlushTable]);
    let told = changes(&heard(&db, "TRUNCATE t").await);
    assert_eq!(told.iter().map(|change| change.kind).collect::<Vec<_>>(), [ChangeKind::FlushTable]);
    // Two keys of which a savepoint's end undid one: both are told.
    let both = "BEGIN; INSERT INTO t VALUES (1, 0); SAVEPOINT s; INSERT INTO t VALUES (2, 0); ROLLBACK TO s; COMMIT";
    assert_eq!(changes(&heard(&db, both).await).iter().filter(|change| change.kind != ChangeKind::Tag).count(), 2);
}

/// More tables as a whole than a transaction can list.
#[tokio::test]
async fn a_transaction_of_everything_is_a_gap() {
    let Some(db) = database() else { return };
    // The triggers of as many attached tables, without the time that it takes to attach them.
    db.psql(
        "CREATE SCHEMA many; DO $$ BEGIN FOR n IN 1..1030 LOOP EXECUTE format('CREATE TABLE many.t%s ();
         CREATE TRIGGER t AFTER TRUNCATE ON many.t%1$s EXECUTE FUNCTION cache_sync.note_truncate(%s)', n, 1000 + n);
         END LOOP; END $$",
    );
    make_accounts(&db, 1);
    let (client, cache) = node(&db).await;
    cache.get(&1).await.unwrap();
    client.catch_up().await.unwrap();
    let gaps = client.status().gaps;
    let tables = (1..=1030).map(|n| format!("many.t{n}")).collect::<Vec<_>>().join(", ");
    let told = heard(
        &db,
        &format!("SET client_min_messages = error; BEGIN; UPDATE account SET note = 'x'; TRUNCATE {tables}; COMMIT"),
    )
    .await;
    assert_eq!(told.iter().map(|message| message.body.clone()).collect::<Vec<_>>(), [Body::Gap]);
    client.catch_up().await.unwrap();
    assert!(client.status().gaps > gaps);
    assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
    close(client).await;
}

/// Those who may read a table know how its keys are hashed, so where rows are hidden from some, no keys are told.
#[tokio::test]
async fn keys_of_tables_with_hidden_rows_are_not_told() {
    let Some(db) = database() else { return };
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t'); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
        CREATE TABLE u (id int PRIMARY KEY, v int); SELECT cache_sync.attach('u')");
    let told = changes(
        &heard(
            &db,
            "BEGIN; INSERT INTO t VALUES (1, 0); INSERT INTO u VALUES (1, 0); INSERT INTO t VALUES (2, 0); COMMIT",
        )
        .await,
    );
    assert_eq!(
        told.iter().map(|change| change.kind).collect::<Vec<_>>(),
        [ChangeKind::FlushTable, ChangeKind::Unversioned]
    );
}

/// A table's keys are hashed with a secret of its own, which nobody may try out on keys of his choice.
#[tokio::test]
async fn no_keys_are_told_of_a_table_that_has_anothers_trigger() {
    let Some(db) = database() else { return };
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t'); CREATE TABLE mine (id int PRIMARY KEY)");
    let id = db.psql("SELECT table_id FROM cache_sync.attached");
    db.psql(&format!(
        "CREATE TRIGGER x AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('{id}')"
    ));
    assert_eq!(heard(&db, "INSERT INTO mine VALUES (1)").await, []);
}

#[tokio::test]
async fn only_who_may_read_a_table_hears_of_it() {
    let Some(db) = database() else { return };
    make_accounts(&db, 1);
    db.psql("CREATE ROLE reader_of_nothing LOGIN; GRANT cache_sync_user TO reader_of_nothing");
    let id = db.psql("SELECT table_id FROM cache_sync.attached");
    let client = connect(&db.dsn_as("reader_of_nothing")).await;
    let refused = |sql: String| {
        let client = &client;
        async move { client.batch_execute(&sql).await.unwrap_err().code().unwrap().code().to_owned() }
    };
    assert_eq!(refused(format!("SELECT * FROM cache_sync.listen_state('{{{id}}}')")).await, "42501");
    assert_eq!(refused("SELECT * FROM cache_sync.listen_state('{77}')".to_owned()).await, "CS005");
    assert_eq!(refused("SELECT * FROM cache_sync.listen_state('{NULL}')".to_owned()).await, "22004");
    db.psql("GRANT SELECT ON account TO reader_of_nothing");
    client.batch_execute(&format!("SELECT * FROM cache_sync.listen_state('{{{id}}}')")).await.unwrap();
    // Who loses the right meanwhile is served nothing more once the bound is over.
    let node = open(Client::builder(&db.dsn_as("reader_of_nothing")).feed_timeout(Duration::from_millis(300))).await;
    let cache = accounts(&node).await;
    wait_until(SOON, "the row is served", async || {
        cache.get(&1).await.unwrap();
        cache.cached(&1).is_some()
    })
    .await;
    db.psql("REVOKE SELECT ON account FROM reader_of_nothing");
    wait_until(SOON, "the row is served no more", async || cache.cached(&1).is_none()).await;
    let error = cache.get(&1).await.unwrap_err();
    assert!(error.sqlstate() == Some("42501") || error.to_string().contains("open it again"), "{error}");
    db.psql("DROP OWNED BY reader_of_nothing; DROP ROLE reader_of_nothing");
}

/// Whatever anybody sends on the channel: at worst something is loaded again.
#[tokio::test]
async fn forged_notifications_cost_a_reload_at_most() {
    let Some(db) = database() else { return };
    make_accounts(&db, 10);
    let (client, cache) = node(&db).await;
    let keys: Vec<i64> = (1..=10).collect();
    cache.get_many(&keys).await.unwrap();
    let epoch = Epoch(client.status().epoch);
    let table = TableId(db.psql("SELECT table_id FROM cache_sync.attached").parse().unwrap());
    let key = |id: i64| {
        let hash = db.psql(&format!("SELECT cache_sync.key_hash('account', '{{\"id\": {id}}}')"));
        KeyHash(hash.parse::<i64>().unwrap() as u64)
    };
    let message = |epoch, body| {
        let (position, hlc, lsn) = (Position(u64::MAX), Stamp(i64::MAX), Lsn(u64::MAX));
        Message { epoch, position, hlc, lsn, sent: HostTime(i64::MAX), as_of: Some(HostTime(i64::MAX)), body }.encode()
    };
    let change = |key, version, kind| Body::Changes(vec![Change { table, key, version: Version(version), kind }]);
    let garbage = ["", "x", "A0M", "ü", &"-".repeat(7999)].map(|payload| (payload.to_owned(), 0));
    let forged = [
        (message(epoch, Body::Start { resumed: true }), 10),
        (message(epoch, Body::Heartbeat), 10),
        (message(epoch, Body::Gap), 10),
        (message(Epoch(1), Body::Gap), 10),
        (message(Epoch(1), change(key(1), 1, ChangeKind::Versioned)), 10),
        (message(epoch, change(key(2), i64::MAX, ChangeKind::Versioned)), 1),
        (message(epoch, change(key(3), i64::MIN, ChangeKind::Versioned)), 1),
        (message(epoch, change(key(4), 0, ChangeKind::Versioned)), 1),
        (message(epoch, change(KeyHash(0), i64::MAX, ChangeKind::FlushTable)), 10),
        (message(epoch, change(key(5), i64::MAX, ChangeKind::Tag)), 0),
        // Of another protocol.
        ("CUMAAAAAAAAAAQAAAAAAAAACAAAAAAAAAAMAAAAAAAAABA".to_owned(), 10),
    ];
    for (payload, reloads) in garbage.into_iter().chain(forged) {
        db.psql(&format!("NOTIFY cache_sync, '{payload}'; NOTIFY other, '{payload}'"));
        client.catch_up().await.unwrap();
        let loaded = cache.status().loaded_keys;
        cache.get_many(&keys).await.unwrap();
        let (reloaded, shown) = (cache.status().loaded_keys - loaded, &payload[..payload.len().min(60)]);
        assert_eq!(reloaded, reloads, "{shown}");
        assert!(keys.iter().all(|id| cache.cached(id).is_some()), "{shown}: held again after one load");
        assert!(client.status().feed_live);
    }
    assert_eq!(client.status().feed_connects, 1);
    db.psql("UPDATE account SET note = 'heard' WHERE id = 2");
    client.catch_up().await.unwrap();
    assert_eq!(shown(cache.get(&2).await.unwrap().as_deref()), stored(&db, 2));
    close(client).await;
}

/// A connection that is new has missed something.
#[tokio::test]
async fn every_reconnect_is_a_gap() {
    let Some(db) = database() else { return };
    make_accounts(&db, 100);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(600))).await;
    let cache = accounts(&client).await;
    let keys: Vec<i64> = (1..=100).collect();
    cache.get_many(&keys).await.unwrap();
    let before = client.status();
    proxy.cut_feed().await;
    db.psql("UPDATE account SET note = 'missed' WHERE id = 7");
    proxy.let_feed_through();
    client.catch_up().await.unwrap();
    assert_eq!(client.status().gaps, before.gaps + 1);
    assert_eq!(shown(cache.get(&7).await.unwrap().as_deref()), stored(&db, 7));
    assert_eq!(cache.status().loaded_keys, 101, "what nobody asks for is not loaded");
    close(client).await;
}

/// A table that is added does not make those doubtful that are heard already.
#[tokio::test]
async fn another_table_is_heard_on_the_same_connection() {
    let Some(db) = database() else { return };
    make_accounts(&db, 1);
    db.psql("CREATE TABLE other (id int PRIMARY KEY, v int); SELECT cache_sync.attach('other'); INSERT INTO other VALUES (1, 0)");
    let (client, cache) = node(&db).await;
    cache.get(&1).await.unwrap();
    let gaps = client.status().gaps;
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Other {
        v: i32,
    }
    let other: Cache<i32, Other> = client.cache("other").open().await.unwrap();
    assert_eq!(other.get(&1).await.unwrap().unwrap().v, 0);
    db.psql("UPDATE other SET v = 1; UPDATE account SET note = 'x'");
    client.catch_up().await.unwrap();
    assert_eq!(other.get(&1).await.unwrap().unwrap().v, 1);
    assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
    assert_eq!((client.status().gaps, client.status().feed_connects), (gaps, 1));
    close(client).await;
}

#[test]
fn there_is_no_feed_to_stream() {
    let Some(db) = database() else { return };
    assert_eq!(db.psql("SELECT cache_sync_internal.is_preloaded()"), "f");
    for sql in
        ["CALL cache_sync.stream()", "SELECT * FROM cache_sync.changes()", "SELECT * FROM cache_sync.feed_head()"]
    {
        let refused = db.psql_error(sql);
        assert!(refused.contains("CS006"), "{sql}: {refused}");
    }
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t', versioned => true)");
    db.psql("INSERT INTO t VALUES (1, 0); UPDATE t SET v = 1; DELETE FROM t; TRUNCATE t");
    assert_eq!(db.psql("SELECT cache_sync.hlc() < cache_sync.hlc()"), "t");
}
