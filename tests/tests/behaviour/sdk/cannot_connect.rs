//! Why a client cannot connect: the message says the cause, and only what can pass is said to be unavailable.

use cache_sync::{Cache, Client, Error, Patch};
use cache_sync_cluster::free_port;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, wait_until};
use std::time::{Duration, Instant};

async fn refused(dsn: &str) -> Error {
    let began = Instant::now();
    let connected = Client::builder(dsn).connect_timeout(Duration::from_secs(3)).connect().await;
    let error = connected.err().unwrap_or_else(|| panic!("{dsn} connects"));
    assert!(began.elapsed() < SOON, "{dsn}: {error}");
    error
}

#[tokio::test]
async fn the_message_says_the_cause() {
    let db = Database::with_extension();
    let (port, closed) = (db.cluster().port(), free_port().unwrap());
    let role = format!("left_out_of_{}", db.name());
    db.psql(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0"));
    let name = db.name();
    // The DSN, what the message says, the SQLSTATE, and whether it can pass.
    for (dsn, says, sqlstate, passes) in [
        (format!("postgresql://postgres@127.0.0.1:{closed}/{name}"), "Connection refused", None, true),
        (format!("postgresql://postgres@db.invalid:{port}/{name}"), "db.invalid", None, true),
        (format!("postgresql://{role}@127.0.0.1:{port}/{name}"), "too many connections", Some("53300"), true),
        (format!("postgresql://nobody_at_all@127.0.0.1:{port}/{name}"), "nobody_at_all", Some("28000"), false),
        (format!("postgresql://postgres@127.0.0.1:{port}/no_such_db"), "no_such_db", Some("3D000"), false),
        (format!("postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=require"), "TLS", None, false),
        (format!("postgresql://postgres@127.0.0.1:{port}/{name}?sslpassword=x"), "`sslpassword`", None, false),
    ] {
        let error = refused(&dsn).await;
        assert!(error.to_string().contains(says), "{dsn}: {error}");
        assert_eq!(
            (error.sqlstate(), error.is_unavailable(), error.is_retryable()),
            (sqlstate, passes, passes),
            "{error:?}"
        );
    }
}

/// The server has no connection left for the feed. To open a cache once took half a minute then, and failed without a cause; and the
/// feed of those that were open was given up first.
#[tokio::test]
async fn a_feed_without_a_connection_says_so_and_leaves_others_alone() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 1);
    db.psql("CREATE TABLE other (LIKE account INCLUDING ALL); SELECT cache_sync.attach('other')");
    let role = format!("few_of_{}", db.name());
    db.psql(&format!(
        "CREATE ROLE {role} LOGIN IN ROLE cache_sync_user CONNECTION LIMIT 2; GRANT ALL ON account, other TO {role}"
    ));
    // It is tried for longer than what is held may be served without a feed.
    let builder = Client::builder(&db.dsn_as(&role)).pool_size(2).feed_timeout(Duration::from_millis(1000));
    let client = open(builder.connect_timeout(Duration::from_millis(1800))).await;
    let began = Instant::now();
    let error = client.cache::<i64, Account>("account").open().await.expect_err("it opens without a feed");
    assert_eq!((error.sqlstate(), error.is_unavailable()), (Some("53300"), true), "{error:?}");
    assert!(error.to_string().contains("too many connections"), "{error}");
    assert!(began.elapsed() < SOON, "it takes {:?}", began.elapsed());

    db.psql(&format!("ALTER ROLE {role} CONNECTION LIMIT 3"));
    let cache: Cache<i64, Account> = client.cache("account").open().await.unwrap();
    let is_held = async || cache.get(&1).await.is_ok() && cache.cached(&1).is_some();
    wait_until(SOON, "it is held", is_held).await;
    let before = client.status();
    let opening = client.cache::<i64, Account>("other").open();
    tokio::pin!(opening);
    let error = loop {
        tokio::select! {
            opened = &mut opening => break opened.expect_err("it opens without a connection"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                assert!(cache.cached(&1).is_some(), "the other one's feed is lost: {:?}", client.status());
            }
        }
    };
    assert_eq!(error.sqlstate(), Some("53300"), "{error:?}");
    assert_eq!((client.status().gaps, client.status().feed_live), (before.gaps, true));
    close(client).await;
}

#[tokio::test]
async fn a_value_that_is_too_large_is_called_so() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).buffer_bytes_max(4096)).await;
    let cache = accounts(&client).await;
    let patch = Patch::new().set("name", "a").set("note", "x".repeat(10_000));
    let error = cache.patch(&1, patch).await.unwrap_err();
    assert!(error.is_too_large() && !error.is_rule_violation() && !error.is_retryable(), "{error:?}");
    let bytes: usize = error.to_string().split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!((10_000..11_500).contains(&bytes), "{error}");
    close(client).await;
}
