//! Player state in a game: coins, the best score and time, what somebody has found, and where he is.
//!
//! **When** a row has fields that each merge in a way of their own, and results come in any order from anywhere.
//!
//! **When two nodes race** coins that are won add up (`add`), the best score and time stay (`max`, `min`), what is found is kept (`union`), and of two
//! places the later stays (`lww`). A change that no rule can express says so instead of being lost; spending what may not be there is for `modify`: see
//! wallet.rs.

use cache_sync::{Cache, Patch};
use cache_sync_examples::{Result, close, database_url, in_step, make_anew, two_nodes};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Player {
    coins: i64,
    best_score: i32,
    best_seconds: i32,
    found: Vec<String>,
    place: String,
}

type Players = Cache<(i32, String), Player>;

/// A level that was played: what it changes is known without a look at the row.
async fn finish(players: &Players, ann: &(i32, String), level: i32) -> Result<()> {
    let patch = Patch::new()
        .add("coins", level)
        .max("best_score", 100 + level)
        .min("best_seconds", 90 - level)
        .insert("found", [format!("key {}", level % 3)])
        .set("place", format!("level {level}"));
    let _ = players.patch(ann, patch).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // The key has two columns, so it is a pair here.
    make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS player;
           CREATE TABLE player (game int, name text, coins bigint NOT NULL, best_score int NOT NULL, best_seconds int NOT NULL,
                                found text[] NOT NULL, place text NOT NULL, PRIMARY KEY (game, name));
           SELECT cache_sync.attach('player', versioned => true, rules =>
               '{"coins": "add", "best_score": "max", "best_seconds": "min", "found": "union"}')"#,
    )
    .await?;
    let nodes = two_nodes(&dsn).await?;
    let [here, there] = &nodes;
    let (one, other): (Players, Players) = (here.cache("player").open().await?, there.cache("player").open().await?);
    let ann = (1, "Ann".to_owned());
    let new = Player { coins: 0, best_score: 0, best_seconds: 999, found: Vec::new(), place: "start".into() };
    one.insert(ann.clone(), new).await?;

    let play = async |players: &Players, levels: [i32; 10]| -> Result<()> {
        for level in levels {
            finish(players, &ann, level).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let (up, down) = (std::array::from_fn(|at| at as i32 + 1), std::array::from_fn(|at| 20 - at as i32));
    tokio::try_join!(play(&one, up), play(&other, down))?;
    in_step(&nodes).await?;
    let best = one.get(&ann).await?.ok_or("Ann is missing")?;
    assert_eq!(other.get(&ann).await?.as_ref(), Some(&best), "all nodes show the same");
    println!(
        "{} coins, best score {}, best time {} s, {} keys",
        best.coins,
        best.best_score,
        best.best_seconds,
        best.found.len()
    );
    assert!(["level 10", "level 11"].contains(&&*best.place), "the last place of one of them: {}", best.place);

    let lowered = one.update(&ann, |player| player.best_score = 0).await;
    match lowered {
        Err(error) if error.is_rule_violation() => println!("refused: {error}"),
        other => return Err(format!("should have been refused: {other:?}").into()),
    }
    close(nodes).await
}
