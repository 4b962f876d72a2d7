//! A wallet: spending takes what is there, and no more, however many spend at a time. Paying in needs no look, so it is a patch that creates the
//! wallet if need be. Run it several times at once.

use cache_sync::{Cache, Client, Error, Patch};
use cache_sync_examples::{Result, close, database_url, make_once, plain_sql};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wallet {
    gold: i64,
}

/// Why nothing was spent.
#[derive(Debug, thiserror::Error)]
enum NotSpent {
    #[error("there is not enough")]
    NotEnough,
    #[error(transparent)]
    Failed(#[from] Error),
}

#[tokio::main]
async fn main() -> Result<()> {
    const PRICE: i64 = 7;
    let dsn = database_url()?;
    make_once(
        &plain_sql(&dsn).await?,
        "wallet",
        r#"CREATE TABLE wallet (owner text PRIMARY KEY, gold bigint NOT NULL CHECK (gold >= 0));
           SELECT cache_sync.attach('wallet', versioned => true, rules => '{"gold": "add"}')"#,
    )
    .await?;

    let client = Client::connect(&dsn).await?;
    let wallets: Cache<String, Wallet> = client.cache("wallet").open().await?;
    for _ in 0..5 {
        wallets.patch_or_put("ann", Patch::new().add("gold", 4), || Wallet { gold: 4 }).await?;
    }
    println!("paid in: 20");
    let mut spent = 0;
    for _ in 0..5 {
        let spending = wallets.modify("ann", |wallet| {
            if wallet.gold < PRICE {
                return Err(NotSpent::NotEnough);
            }
            wallet.gold -= PRICE;
            Ok(PRICE)
        });
        match spending.await {
            Ok(price) => spent += price,
            Err(NotSpent::NotEnough) => {}
            Err(NotSpent::Failed(error)) => return Err(error.into()),
        }
    }
    println!("spent: {spent}");
    close([client]).await
}
