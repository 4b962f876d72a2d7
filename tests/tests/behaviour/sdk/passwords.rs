//! A password that is rotated while a client works: what is held is served, and with the new password everything goes on.

use cache_sync::{Client, Credentials, Freshness, Patch, Verdict};
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Hands out the password that is in it.
#[derive(Clone)]
struct Vault(Arc<Mutex<&'static str>>);

#[async_trait::async_trait]
impl Credentials for Vault {
    async fn password(&self) -> Result<String, Box<dyn Error + Send + Sync>> {
        let password = *self.0.lock().unwrap();
        match password {
            "" => Err("the vault is sealed".into()),
            "broken" => panic!("the vault is broken"),
            password => Ok(password.to_owned()),
        }
    }
}

/// A role that the server asks for its password.
fn role_with_password(db: &Database<'_>, password: &str) -> String {
    let role = format!("rotated_in_{}", db.name());
    let file = db.cluster().data_dir().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("host {} {role} 127.0.0.1/32 scram-sha-256\n{rules}", db.name())).unwrap();
    db.psql("SELECT pg_reload_conf()");
    db.psql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{password}' IN ROLE cache_sync_user; GRANT ALL ON account TO {role}"
    ));
    role
}

#[tokio::test]
async fn what_is_held_is_served_until_the_new_one_is_known() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let role = role_with_password(&db, "secret-one");
    let vault = Vault(Arc::new(Mutex::new("secret-none")));
    let builder = || {
        let builder = Client::builder(&db.dsn_as(&role)).credentials(vault.clone());
        builder.feed_timeout(Duration::from_millis(1500))
    };
    let is_asked = async || builder().connect().await.err().is_some_and(|error| error.sqlstate() == Some("28P01"));
    wait_until(SOON, "the server asks for passwords", is_asked).await;
    let error = builder().connect().await.err().unwrap();
    assert!(!error.is_unavailable() && !format!("{error} {error:?}").contains("secret"), "{error:?}");
    *vault.0.lock().unwrap() = "";
    let error = builder().connect().await.err().unwrap();
    assert!(error.to_string().contains("the vault is sealed") && error.is_unavailable(), "{error:?}");

    *vault.0.lock().unwrap() = "broken";
    let error = builder().connect().await.err().unwrap();
    assert!(error.to_string().contains("have panicked") && error.is_unavailable(), "{error:?}");

    *vault.0.lock().unwrap() = "secret-one";
    let (strict, lenient) =
        (open(builder()).await, open(builder().stale_while_unavailable(Duration::from_secs(600))).await);
    let (here, there) = (accounts(&strict).await, accounts(&lenient).await);
    for cache in [&here, &there] {
        cache.get(&1).await.unwrap();
    }
    db.psql(&format!("ALTER ROLE {role} PASSWORD 'secret-two'"));
    db.psql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"));
    let is_refused = |client: &Client| {
        let status = client.status();
        let refusal = status.feed_trouble.and_then(|trouble| trouble.error.sqlstate().map(str::to_owned));
        !status.feed_live && refusal.as_deref() == Some("28P01")
    };
    wait_until(SOON, "nothing counts as fresh", async || is_refused(&strict) && is_refused(&lenient)).await;
    let error = here.get(&1).await.unwrap_err();
    assert!(error.is_unavailable() && error.sqlstate() == Some("28P01"), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert!(there.lookup(&1, Freshness::Cached).await.unwrap().stale_for.is_some());
    let receipt = there.patch(&1, Patch::new().add("balance", 3)).await.unwrap();

    *vault.0.lock().unwrap() = "secret-two";
    let outcome = tokio::time::timeout(SOON, receipt.written()).await.expect("it is not written").unwrap();
    assert_eq!(outcome.verdict, Some(Verdict::Applied));
    for (client, cache) in [(&strict, &here), (&lenient, &there)] {
        wait_until(SOON, "the feed is heard again", async || client.status().feed_live).await;
        // Another client's change may be known a moment later.
        let is_followed = async || {
            let read = cache.lookup(&1, Freshness::Cached).await.unwrap();
            read.stale_for.is_none() && read.value.unwrap().balance == 3
        };
        wait_until(SOON, "rows are confirmed again, and the change is known", is_followed).await;
    }
    close(strict).await;
    close(lenient).await;
}
