//! A room that can be full: whoever joins looks at who is there already. Run it several times at once.
//!
//! **When** what somebody may do depends on what is there: rooms, seats, stock, turns. `modify` looks at the row and changes it.
//!
//! **When two nodes race** the one that is quicker gets the place, and the other looks again at the row as it is then: however many join at a time, on
//! however many nodes, nobody gets a place that is taken, and none is left empty that somebody wanted.

use cache_sync::{Cache, Client, Error};
use cache_sync_examples::{Result, close, database_url, make_once, plain_sql};
use serde::{Deserialize, Serialize};
use std::process;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Room {
    places: i32,
    members: Vec<String>,
}

/// Why somebody has not joined.
#[derive(Debug, thiserror::Error)]
enum NotJoined {
    #[error("the room is full")]
    IsFull,
    #[error(transparent)]
    Failed(#[from] Error),
}

async fn join(rooms: &Cache<i32, Room>, who: &str) -> std::result::Result<usize, NotJoined> {
    rooms
        .modify(&1, |room| {
            if room.members.len() >= room.places as usize {
                return Err(NotJoined::IsFull);
            }
            room.members.push(who.to_owned());
            Ok(room.members.len())
        })
        .await
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    make_once(
        &plain_sql(&dsn).await?,
        "room",
        "CREATE TABLE room (id int PRIMARY KEY, places int NOT NULL, members text[] NOT NULL);
         SELECT cache_sync.attach('room', versioned => true);
         INSERT INTO room VALUES (1, 20, '{}')",
    )
    .await?;

    let client = Client::connect(&dsn).await?;
    let rooms: Cache<i32, Room> = client.cache("room").open().await?;
    for number in 1..=4 {
        let who = format!("{}-{number}", process::id());
        match join(&rooms, &who).await {
            Ok(place) => println!("{who} has place {place}"),
            Err(NotJoined::IsFull) => println!("{who} finds it full"),
            Err(NotJoined::Failed(error)) => return Err(error.into()),
        }
    }
    close([client]).await
}
