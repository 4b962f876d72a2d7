//! Loads are single autocommitted READ COMMITTED statements, and so are batches, whatever the role's defaults say.

use cache_sync::{Client, Patch, Verdict};
use cache_sync_tests::locks::until_waiting_where;
use cache_sync_tests::rows::{accounts, close, make_accounts, open, shown, stored};
use cache_sync_tests::{Database, SOON, wait_until};
use std::time::Duration;

/// A role whose transactions are REPEATABLE READ unless somebody says otherwise; its rows can only be seen in
/// READ COMMITTED ones.
async fn client_of_role(db: &Database<'_>, role: &str) -> Client {
    db.psql(&format!(
        "CREATE ROLE {role} LOGIN IN ROLE cache_sync_user;
         ALTER ROLE {role} SET default_transaction_isolation = 'repeatable read';
         GRANT SELECT, INSERT, UPDATE, DELETE ON account TO {role};
         CREATE POLICY committed ON account USING (current_setting('transaction_isolation') = 'read committed');
         ALTER TABLE account ENABLE ROW LEVEL SECURITY"
    ));
    open(Client::builder(&db.dsn_as(role)).flush_interval(Duration::ZERO).pool_size(1)).await
}

/// Connections of the SDK's pool and flusher with a transaction open.
const OPEN: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND application_name SIMILAR TO 'cache_sync (pool|flusher)' AND (state <> 'idle' OR backend_xmin IS NOT NULL)";

#[tokio::test]
async fn of_loads_is_read_committed_whatever_the_role_says() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client_of_role(&db, "loads_in_repeatable_read").await;
    let cache = accounts(&client).await;
    for round in 1..=3 {
        assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), stored(&db, 1), "round {round}");
        wait_until(SOON, "no transaction stays open", async || db.psql(OPEN) == "0").await;
        db.psql("UPDATE account SET balance = balance + 1");
        client.catch_up().await.unwrap();
    }
    close(client).await;
}

/// Batches look at rows again in new snapshots; in REPEATABLE READ a change by others would fail them instead.
#[tokio::test]
async fn of_batches_is_read_committed_whatever_the_role_says() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client_of_role(&db, "writes_in_repeatable_read").await;
    let cache = accounts(&client).await;
    let theirs = db.connect().await;
    theirs.batch_execute("BEGIN; UPDATE account SET balance = 100").await.unwrap();
    let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    until_waiting_where(&db, 1, "application_name LIKE '% flusher'").await;
    theirs.batch_execute("COMMIT").await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(cache.status().flush_retries, 0, "it was not a serialization failure");
    assert_eq!(db.psql("SELECT balance FROM account"), "101");
    close(client).await;
}
