//! Somebody else's change lies between what we hold and what our own write made of the row: it must not be skipped.

use cache_sync::{Client, Patch, Verdict};
use cache_sync_tests::Database;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, node_with, open, shown, stored};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// psql changes the row between our load and our outcome, and the feed has not told it yet.
#[tokio::test]
async fn psql_changes_a_row_before_our_outcome() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).flush_interval(LONG).feed_timeout(LONG)).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    proxy.faults.set(|faults| &faults.silent_feed, true);
    let receipt = cache.update(&1, |account| account.balance += 1).await.unwrap();
    db.psql("UPDATE account SET balance = balance + 100, note = 'psql'");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 1, "nobody has told us yet");
    client.flush().await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), "1|name 1|101|psql");
    close(client).await;
}

/// The same with the feed heard: before the batch is frozen, and while it waits for the row.
#[tokio::test]
async fn a_change_that_is_heard_before_our_outcome() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::ZERO)).await;
    let cache = accounts(&client).await;
    for round in 1..=20 {
        cache.get(&1).await.unwrap();
        let theirs = db.connect().await;
        theirs.batch_execute("BEGIN; UPDATE account SET balance = balance + 100").await.unwrap();
        let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, (round - 1) * 101 + 1);
        theirs.batch_execute("COMMIT").await.unwrap();
        receipt.written().await.unwrap();
        client.catch_up().await.unwrap();
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, round * 101);
    }
    close(client).await;
}

/// A user's AFTER trigger changes the row once more, after apply's RETURNING was computed.
#[tokio::test]
async fn an_after_trigger_changes_the_row_after_apply() {
    let (db, client, cache) = node_with(1).await;
    // Once without the trigger, so that the statements are compiled before it is there.
    for round in 1..=2 {
        cache.get(&1).await.unwrap();
        let receipt = cache.update(&1, |account| account.balance += 1).await.unwrap();
        assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
        client.catch_up().await.unwrap();
        assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1), "round {round}");
        db.psql(
            "CREATE OR REPLACE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               UPDATE public.account SET note = 'audited ' || NEW.balance WHERE id = NEW.id; RETURN NULL; END $$;
             CREATE OR REPLACE TRIGGER audit AFTER UPDATE ON account FOR EACH ROW
               WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit()",
        );
    }
    assert_eq!(stored(&db, 1), "1|name 1|2|audited 2");
    close(client).await;
}

/// A user's BEFORE trigger makes something else of what the patch wrote: what we expected is not what is there. The feed
/// has nothing to say about it, because the version is the one that the outcome told.
#[tokio::test]
async fn a_before_trigger_changes_what_the_patch_wrote() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(LONG)).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    proxy.faults.set(|faults| &faults.silent_feed, true);
    for name in ["plain", "raised"] {
        let receipt = cache.update(&1, |account| account.name = name.into()).await.unwrap();
        receipt.written().await.unwrap();
        assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1));
        db.psql(
            "CREATE OR REPLACE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
             CREATE OR REPLACE TRIGGER raise_it BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION raise_it()",
        );
    }
    assert_eq!(stored(&db, 1), "1|RAISED|0|");
    close(client).await;
}
