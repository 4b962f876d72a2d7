//! Two keys with one hash: neither is taken for the other, and a change of the row is a change of both.

use cache_sync::{Cache, Key, KeyVisitor};
use cache_sync_tests::rows::{Account, client, close, make_accounts, shown, stored};
use cache_sync_tests::{Database, SOON, wait_until};

/// Keys that differ although they have the same parts, which the trait forbids: they stand for different parts with the
/// same hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Salted {
    id: i64,
    salt: u8,
}

impl Key for Salted {
    const COLUMNS: usize = 1;

    fn parts<V: KeyVisitor>(&self, visitor: &mut V) {
        self.id.parts(visitor);
    }
}

#[tokio::test]
async fn neither_key_is_served_stale() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client(&db).await;
    let cache: Cache<Salted, Account> = client.cache("account").open().await.unwrap();
    let keys = [0, 1].map(|salt| Salted { id: 1, salt });
    for round in 0..4 {
        for key in [&keys[round % 2], &keys[1 - round % 2]] {
            assert_eq!(shown(cache.get(key).await.unwrap().as_deref()), stored(&db, 1), "round {round}");
        }
        db.psql("UPDATE account SET balance = balance + 1");
        client.catch_up().await.unwrap();
        for key in &keys {
            assert_eq!(shown(cache.get(key).await.unwrap().as_deref()), stored(&db, 1), "round {round}, changed");
        }
    }
    close(client).await;
}

/// While one key has a write under way, the other goes past the cache, and its write waits for its turn.
#[tokio::test]
async fn writes_of_both_keys_arrive() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client(&db).await;
    let cache: Cache<Salted, Account> = client.cache("account").open().await.unwrap();
    let keys = [0, 1].map(|salt| Salted { id: 1, salt });
    let before: i64 = db.psql("SELECT balance FROM account").parse().unwrap();
    for round in 0..10 {
        let receipt = cache.update(&keys[round % 2], |account| account.balance += 1).await.unwrap();
        assert!(cache.get(&keys[1 - round % 2]).await.unwrap().is_some());
        let _ = receipt;
    }
    client.flush().await.unwrap();
    let arrived = || db.psql("SELECT balance FROM account") == (before + 10).to_string();
    wait_until(SOON, "every write arrives", async || arrived()).await;
    close(client).await;
}
