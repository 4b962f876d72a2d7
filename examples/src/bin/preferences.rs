//! Preferences: a document for each user, read with every page and changed now and then, one preference at a time.
//!
//! **When** a user has many small settings, most of them never set, and new ones come with each release: no migration is needed for one.
//!
//! **When two nodes race**, say with a telephone and a browser of one user, changes of different preferences both stay. Of two changes of one the later
//! stays, by the time at which each was made, even where the earlier one arrives last.

use cache_sync::{Cache, Patch};
use cache_sync_examples::{Result, close, database_url, in_step, make_anew, two_nodes};
use serde::{Deserialize, Serialize};

/// What is not set, or came later than the document, is as it is by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Preferences {
    theme: String,
    language: String,
    font_size: u32,
    muted: Vec<String>,
}

impl Default for Preferences {
    fn default() -> Preferences {
        Preferences { theme: "light".into(), language: "en".into(), font_size: 12, muted: Vec::new() }
    }
}

type AllPreferences = Cache<String, Preferences>;

/// Whoever has set nothing has no row, which is remembered, too.
async fn of(all: &AllPreferences, user: &str) -> Result<Preferences> {
    Ok(all.get(user).await?.map(|preferences| Preferences::clone(&preferences)).unwrap_or_default())
}

/// The document is made with the first preference that is set. Of two who do so at a time one makes it, from what is so by default; only then is
/// something set, so nothing that is by default is newer than that.
async fn set(all: &AllPreferences, user: &str, name: &str, value: &str) -> Result<()> {
    if all.get(user).await?.is_none() {
        all.insert(user.to_owned(), Preferences::default()).await?;
    }
    all.patch(user, Patch::new().set(name, value)).await?.written().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // A table of documents: the members are fields, each of which the last write wins.
    make_anew(
        &dsn,
        "DROP TABLE IF EXISTS preference; SELECT cache_sync.create_table('preference');
         SELECT cache_sync.set_rule('preference', 'muted', '\"union\"')",
    )
    .await?;
    let nodes = two_nodes(&dsn).await?;
    let [here, there] = &nodes;
    let (telephone, browser): (AllPreferences, AllPreferences) =
        (here.cache("preference").open().await?, there.cache("preference").open().await?);
    println!("before: {:?}", of(&browser, "ann").await?);

    tokio::try_join!(set(&telephone, "ann", "theme", "dark"), set(&browser, "ann", "language", "de"))?;
    let mute = |who| Patch::new().insert("muted", [who]);
    let receipts = tokio::try_join!(telephone.patch("ann", mute("bob")), browser.patch("ann", mute("eve")))?;
    tokio::try_join!(receipts.0.written(), receipts.1.written())?;
    in_step(&nodes).await?;
    let (mut ours, theirs) = (of(&telephone, "ann").await?, of(&browser, "ann").await?);
    assert_eq!(ours, theirs, "both devices show the same");
    ours.muted.sort();
    println!("after:  {ours:?}");
    close(nodes).await
}
