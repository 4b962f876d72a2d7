//! How a client gets in: with patience, without any, or later.

use cache_sync::{Cache, Client};
use cache_sync_cluster::free_port;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// An application and its database start together.
#[tokio::test]
async fn it_waits_for_postgres_for_as_long_as_it_is_told() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let dsn = db.dsn();
    cluster.stop("fast").unwrap();
    assert!(Client::connect(&dsn).await.expect_err("it is not there").is_unavailable());
    let begun = Instant::now();
    let told = Duration::from_millis(500);
    let given_up = Client::builder(&dsn).retry_for(told).connect().await.expect_err("it is not there");
    assert!(given_up.is_unavailable() && begun.elapsed() >= told && begun.elapsed() < SOON, "{given_up}");

    let connecting = tokio::spawn(Client::builder(&dsn).retry_for(Duration::MAX).connect());
    cluster.launch().unwrap();
    let client = timeout(SOON, connecting).await.expect("it connects").unwrap().unwrap();
    assert!(accounts(&client).await.get(&1).await.unwrap().is_some());
    close(client).await;
    // What does not pass is not waited for.
    let wrong = dsn.replace(db.name(), "no_such_db");
    let error =
        timeout(SOON, Client::builder(&wrong).retry_for(Duration::MAX).connect()).await.expect("it ends at once");
    assert!(error.expect_err("there is no such database").to_string().contains("no_such_db"));
}

/// A client that connects later says then what there is to say, and goes on once that has passed.
#[tokio::test]
async fn it_may_come_later() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    db.psql("CREATE DATABASE bare");
    cluster.stop("fast").unwrap();
    let client = Client::builder(&db.dsn()).connect_lazy().unwrap();
    assert!(!client.status().feed_live);
    assert!(client.cache::<i64, Account>("account").open().await.expect_err("it is not there").is_unavailable());
    let count = || client.query::<i64>("SELECT count(*) FROM account").fetch();
    assert!(count().await.unwrap_err().is_unavailable());
    cluster.launch().unwrap();
    let cache: Cache<i64, Account> = accounts(&client).await;
    assert!(cache.get(&1).await.unwrap().is_some());
    assert_eq!(*count().await.unwrap(), [1]);
    close(client).await;
    // It is the same check.
    let lacking = Client::builder(&db.dsn().replace(db.name(), "bare")).connect_lazy().unwrap();
    let error = lacking.cache::<i64, Account>("account").open().await.expect_err("there is no extension");
    assert!(error.to_string().contains("CREATE EXTENSION"), "{error}");
    close(lacking).await;
    assert!(Client::builder("host=h port=none").connect_lazy().is_err());
}

/// Many who come first find out together that nobody is there, and not one after the other.
#[tokio::test]
async fn those_who_come_first_wait_for_one_another_no_longer_than_for_one_try() {
    // It takes connections, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let timeout = Duration::from_secs(1);
    let builder = Client::builder(&format!("postgresql://postgres@127.0.0.1:{port}/shop")).connect_timeout(timeout);
    let client = builder.connect_lazy().unwrap();
    let begun = Instant::now();
    let open = || client.cache::<i64, Account>("account").open();
    for opened in futures_util::future::join_all((0..50).map(|_| open())).await {
        assert!(opened.unwrap_err().is_unavailable());
    }
    assert!(begun.elapsed() < 10 * timeout, "{:?}", begun.elapsed());
    close(client).await;
}

#[test]
fn it_needs_a_runtime_and_says_so() {
    let error = Client::builder("host=h").connect_lazy().expect_err("there is none");
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

/// Settings that are no string, such as a host per region.
#[tokio::test]
async fn it_takes_settings_that_are_no_string() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let mut postgres = tokio_postgres::Config::new();
    postgres.host("127.0.0.1").port(free_port().unwrap()).host("127.0.0.1").port(db.cluster().port());
    postgres.user("postgres").dbname(db.name()).application_name("shop");
    let client = open(Client::builder_from(postgres)).await;
    assert!(accounts(&client).await.get(&1).await.unwrap().is_some());
    let names =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'shop %'";
    wait_until(SOON, "its connections bear its name", async || db.psql(names).parse::<u32>().unwrap() >= 2).await;
    close(client).await;
}
