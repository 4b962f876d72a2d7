//! Player state in a game: rule `max` for the best score, `min` for the best time, and a change that no rule can express.

use cache_sync::{Cache, Client};
use cache_sync_examples::{Result, database_url, plain_sql};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Player {
    best_score: i32,
    best_seconds: i32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    let sql = plain_sql(&dsn).await?;
    // The key has two columns, so it is a pair here. A plain table gets no column of its own: nothing is added to it.
    sql.batch_execute(
        r#"DROP TABLE IF EXISTS player;
           CREATE TABLE player (game int, name text, best_score int NOT NULL, best_seconds int NOT NULL,
                                PRIMARY KEY (game, name));
           SELECT cache_sync.attach('player', rules => '{"best_score": "max", "best_seconds": "min"}')"#,
    )
    .await?;

    let client = Client::connect(&dsn).await?;
    let players: Cache<(i32, String), Player> = client.cache("player").open().await?;
    let ann = (1, "Ann".to_owned());
    players.put(ann.clone(), Player { best_score: 100, best_seconds: 90 }).await?.written().await?;

    // Results come in any order and from anywhere; the best stays.
    for (score, seconds) in [(80, 70), (120, 95), (110, 60)] {
        let receipt = players.put(ann.clone(), Player { best_score: score, best_seconds: seconds }).await?;
        receipt.written().await?;
    }
    let best = players.get(&ann).await?.ok_or("Ann is missing")?;
    println!("best score {}, best time {} s", best.best_score, best.best_seconds);
    assert_eq!((best.best_score, best.best_seconds), (120, 60));

    // Lowering a maximum is no change that the rule can express; it says so instead of being lost.
    let lowered = players.update(&ann, |player| player.best_score = 0).await;
    match lowered {
        Err(error) if error.is_rule_violation() => println!("refused: {error}"),
        other => return Err(format!("should have been refused: {other:?}").into()),
    }
    client.close(Duration::from_secs(5)).await?;
    Ok(())
}
