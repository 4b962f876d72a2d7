//! Certificates are renewed while a client works.

use super::{HOSTS, dsn_with, encrypted};
use cache_sync::{Client, Freshness, Patch};
use cache_sync_tests::certificates::{Authority, let_in, libpq, serve, write};
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::Duration;

/// Ends the client's connections.
fn cut(db: &Database<'_>) {
    db.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cache_sync %'");
}

/// The server's comes from another authority. Until the client is told of that, it is as if Postgres were away.
#[tokio::test]
async fn another_root_is_trusted_once_it_is_in_the_file() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 2);
    let root = write(&cluster, "root.crt", &encrypted(&cluster).pem());
    let builder = Client::builder(&dsn_with(&db, &format!("sslmode=verify-full sslrootcert={root}")));
    let bound = Duration::from_secs(600);
    let client = open(builder.feed_timeout(Duration::from_millis(1500)).stale_while_unavailable(bound)).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();

    let next = Authority::new("next");
    serve(&cluster, &next.server(&HOSTS), &next.pem(), &next.pem());
    cut(&db);
    let trouble = || client.status().feed_trouble.map(|trouble| trouble.error);
    let is_said = async || trouble().is_some_and(|error| error.to_string().contains("not signed by a root of"));
    wait_until(SOON, "the feed's trouble is said", is_said).await;
    assert!(trouble().is_some_and(|error| error.is_unavailable()), "{:?}", trouble());
    assert!(cache.lookup(&1, Freshness::Cached).await.unwrap().value.is_some(), "what is held is served");
    let error = cache.get(&2).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains(&root), "{error}");
    let receipt = cache.patch(&1, Patch::new().add("balance", 3)).await.unwrap();

    // Half a file is a trouble that passes, too.
    write(&cluster, "root.crt", "-----BEGIN CERTIFICATE-----\n");
    let error = cache.get(&2).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains(&root), "{error}");

    write(&cluster, "root.crt", &next.pem());
    tokio::time::timeout(SOON, receipt.written()).await.expect("it is not written").unwrap();
    wait_until(SOON, "the feed is heard again", async || client.status().feed_live).await;
    assert!(cache.get(&2).await.unwrap().is_some());
    close(client).await;
}

/// New connections show the new one; those that there are stay.
#[tokio::test]
async fn a_clients_certificate_is_read_anew() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let authority = encrypted(&cluster);
    let_in(&cluster, "hostssl all postgres 0.0.0.0/0 cert\nhostnossl all postgres 0.0.0.0/0 trust");
    let is_asked = async || libpq(&cluster, &dsn_with(&db, "sslmode=require")).is_err();
    wait_until(SOON, "the server knows its rules", is_asked).await;
    let renew = |serial: u64| {
        let identity = authority.client("postgres", serial);
        (write(&cluster, "client.crt", &identity.cert), write(&cluster, "client.key", &identity.key))
    };
    let (cert, key) = renew(11);
    let client = open(Client::builder(&dsn_with(&db, &format!("sslmode=require sslcert={cert} sslkey={key}")))).await;
    let cache = accounts(&client).await;
    let serials = || {
        db.psql(
            "SELECT DISTINCT client_serial FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name LIKE 'cache_sync %' ORDER BY 1",
        )
    };
    wait_until(SOON, "the feed is heard", async || client.status().feed_live).await;
    assert_eq!(serials(), "11");
    renew(12);
    assert!(cache.get(&1).await.unwrap().is_some());
    assert_eq!(serials(), "11");
    cut(&db);
    let is_new = async || client.status().feed_live && serials() == "12";
    wait_until(SOON, "all connections show the new one", is_new).await;
    assert!(cache.get(&1).await.unwrap().is_some());
    close(client).await;
}
