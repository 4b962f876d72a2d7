//! A collaborative document: people on several nodes edit it at once, and all of them see it as it becomes.
//!
//! **When** what several people change at a time has parts with names of their own: paragraphs, cells, cards, shapes.
//!
//! **When two nodes race** edits of different parts both stay. Of two edits of one part the later stays whole, by the time at which each was made; so a
//! part that is removed stays away from then on, unless somebody edits it later. Sets, such as who has edited, have what anybody added.

use cache_sync::{Cache, Patch};
use cache_sync_examples::{Result, close, database_url, in_step, make_anew, two_nodes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    parts: BTreeMap<String, String>,
    editors: Vec<String>,
}

type Documents = Cache<i32, Document>;

/// Types, key by key, into a part. Neither loads the document nor waits for Postgres: it shows here at once, and elsewhere after the next batch.
async fn write(documents: &Documents, who: &str, part: &str, letters: usize) -> Result<()> {
    for length in 1..=letters {
        let text = format!("{who} has typed {length} letters");
        let patch = Patch::new().merge("parts", BTreeMap::from([(part, text)])).insert("editors", [who]);
        let _ = documents.patch(&1, patch).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn remove(documents: &Documents, part: &str) -> Result<()> {
    let _ = documents.patch(&1, Patch::new().merge("parts", BTreeMap::from([(part, None::<String>)]))).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // With `depth` 1 a part is one value; without it what is in the parts would merge, too.
    make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS document;
           CREATE TABLE document (id int PRIMARY KEY, parts jsonb NOT NULL, editors text[] NOT NULL);
           SELECT cache_sync.attach('document', versioned => true,
                                    rules => '{"parts": {"rule": "json", "depth": 1}, "editors": "union"}');
           INSERT INTO document VALUES (1, '{"draft": "to be removed"}', '{}')"#,
    )
    .await?;
    let nodes = two_nodes(&dsn).await?;
    let [here, there] = &nodes;
    let (one, other): (Documents, Documents) =
        (here.cache("document").open().await?, there.cache("document").open().await?);

    let mut page = other.watch(&1);
    tokio::try_join!(
        write(&one, "ann", "intro", 40),
        write(&other, "ben", "end", 40),
        write(&one, "ann", "both", 40),
        write(&other, "ben", "both", 40),
        remove(&one, "draft"),
    )?;
    in_step(&nodes).await?;

    let (ours, theirs) = (one.get(&1).await?, other.get(&1).await?);
    let document = ours.ok_or("the document is missing")?;
    assert_eq!(theirs.as_deref(), Some(&*document), "all nodes show the same");
    // What is watched may leave states out; the last one comes for sure.
    while page.next().await.ok_or("it goes on")??.value.as_deref() != Some(&*document) {}
    let mut editors = document.editors.clone();
    editors.sort();
    println!("{:?} by {editors:?}", document.parts);
    close(nodes).await
}
