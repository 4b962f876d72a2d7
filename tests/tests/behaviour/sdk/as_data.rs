//! What a client says of itself, for logs and metrics.

use cache_sync::{Client, ErrorKind};
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::Duration;

#[tokio::test]
async fn its_state_can_be_serialized() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).feed_timeout(Duration::from_millis(500))).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    let state = serde_json::to_value(client.status()).unwrap();
    assert_eq!(state["caches"][0]["table"], "public.account");
    assert_eq!(state["caches"][0]["misses"], 1);
    assert_eq!((&state["feed_kind"], &state["feed_trouble"]), (&"Stream".into(), &serde_json::Value::Null));
    cluster.stop("fast").unwrap();
    wait_until(SOON, "the feed cannot be heard", async || client.status().feed_trouble.is_some()).await;
    let state = serde_json::to_value(client.status()).unwrap();
    assert!(state["feed_trouble"]["error"].as_str().is_some_and(|error| !error.is_empty()), "{state}");
    assert!(state["feed_trouble"]["lasting"].is_f64(), "{state}");
    wait_until(SOON, "what is held is in doubt", async || cache.cached(&1).is_none()).await;
    assert_eq!(cache.get(&1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    close(client).await;
    assert_eq!(cache.get(&1).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn no_password_is_shown() {
    let dsn = "postgresql://ann:secret@127.0.0.1:1/shop";
    let builder = Client::builder(dsn);
    let shown = format!("{builder:?}");
    let client = builder.connect_lazy().unwrap();
    let error = client.cache::<i64, i64>("t").open().await.unwrap_err();
    for shown in [shown, format!("{client:?}"), format!("{:?}", client.status()), format!("{error} {error:?}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    close(client).await;
}
