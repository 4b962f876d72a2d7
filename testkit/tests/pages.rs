//! A service with its unit tests: the pages of the project's README.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use cache_sync::{Cache, Client, Error, Patch};
use cache_sync_testkit::{InMemory, Server, Table};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    title: Option<String>,
    views: i64,
}

/// The service.
struct Pages {
    client: Client,
    pages: Cache<String, Page>,
}

/// What is shown of a page.
#[derive(Debug, PartialEq)]
enum Shown {
    Page(Page),
    NotFound,
    TryAgain,
}

const MOST_VIEWED: &str = "SELECT path, views FROM page ORDER BY views DESC LIMIT 2";

impl Pages {
    async fn open(client: Client) -> Result<Pages, Error> {
        let pages = client.cache("page").max_capacity(1000).open().await?;
        Ok(Pages { client, pages })
    }

    async fn show(&self, path: &str) -> Result<Shown, Error> {
        match self.pages.get(path).await {
            Ok(Some(page)) => {
                let _ = self.pages.patch(path, Patch::new().add("views", 1)).await?;
                Ok(Shown::Page(Page::clone(&page)))
            }
            Ok(None) => Ok(Shown::NotFound),
            Err(error) if error.is_unavailable() => Ok(Shown::TryAgain),
            Err(error) => Err(error),
        }
    }

    async fn most_viewed(&self) -> Result<Vec<String>, Error> {
        let rows = self.client.query::<(String, i64)>(MOST_VIEWED).fetch().await?;
        Ok(rows.iter().map(|(path, _)| path.clone()).collect())
    }
}

fn database() -> InMemory {
    let table = Table::new("page")
        .key("path", "text")
        .column("title", "text")
        .column("views", "bigint")
        .not_null()
        .default(json!(0))
        .rule(json!("add"));
    Client::in_memory().table(table).start().unwrap()
}

async fn node(database: &InMemory) -> Pages {
    let client = database.client().query_timeout(Duration::from_secs(2)).connect().await.unwrap();
    Pages::open(client).await.unwrap()
}

#[tokio::test]
async fn views_of_all_nodes_are_counted() {
    let database = database();
    database.insert("page", json!({"path": "/home", "title": "Home"})).unwrap();
    let (one, other) = (node(&database).await, node(&database).await);
    for pages in [&one, &other, &one] {
        assert!(matches!(pages.show("/home").await.unwrap(), Shown::Page(_)));
    }
    assert_eq!(one.show("/nowhere").await.unwrap(), Shown::NotFound);
    one.client.flush().await.unwrap();
    other.client.flush().await.unwrap();
    assert_eq!(database.row("page", json!({"path": "/home"})).unwrap().unwrap()["views"], 3);
}

#[tokio::test]
async fn a_title_that_an_editor_changes_by_sql_is_shown() {
    let database = database();
    database.insert("page", json!({"path": "/home", "title": "Home"})).unwrap();
    let pages = node(&database).await;
    let _ = pages.show("/home").await.unwrap();
    assert!(database.update("page", json!({"path": "/home"}), json!({"title": "Welcome"})).unwrap());
    pages.client.catch_up().await.unwrap();
    let Shown::Page(page) = pages.show("/home").await.unwrap() else { panic!("it is there") };
    assert_eq!(page.title.as_deref(), Some("Welcome"));
}

/// What is held is shown for as long as the bound allows; what is not is asked for again later. What was counted is not lost.
#[tokio::test]
async fn an_outage_is_survived() {
    let database = database();
    for path in ["/home", "/other"] {
        database.insert("page", json!({"path": path})).unwrap();
    }
    let pages = node(&database).await;
    let _ = pages.show("/home").await.unwrap();
    database.set_outage(true);
    assert!(matches!(pages.show("/home").await.unwrap(), Shown::Page(_)));
    assert_eq!(pages.show("/other").await.unwrap(), Shown::TryAgain);
    database.set_outage(false);
    pages.client.flush().await.unwrap();
    assert_eq!(database.row("page", json!({"path": "/home"})).unwrap().unwrap()["views"], 2);
}

/// The answers to two batches are lost after they were applied: each is sent again, and applied once.
#[tokio::test]
async fn no_view_is_counted_twice() {
    let database = database();
    database.insert("page", json!({"path": "/home"})).unwrap();
    let pages = node(&database).await;
    for lost in [0, 1, 2] {
        database.lose_replies(lost);
        let _ = pages.show("/home").await.unwrap();
        pages.client.flush().await.unwrap();
    }
    assert_eq!(database.row("page", json!({"path": "/home"})).unwrap().unwrap()["views"], 3);
}

#[tokio::test]
async fn the_most_viewed_change_with_the_views() {
    let database = database();
    for (path, views) in [("/a", 1), ("/b", 5), ("/c", 3)] {
        database.insert("page", json!({"path": path, "views": views})).unwrap();
    }
    database.answer(MOST_VIEWED, &["page"], |asked| {
        let mut pages: Vec<_> = asked.rows("page").iter().map(|page| json!([page["path"], page["views"]])).collect();
        pages.sort_by_key(|page| -page[1].as_i64().unwrap());
        pages.truncate(2);
        pages
    });
    let pages = node(&database).await;
    assert_eq!(pages.most_viewed().await.unwrap(), ["/b", "/c"]);
    assert!(database.update("page", json!({"path": "/a"}), json!({"views": 9})).unwrap());
    pages.client.catch_up().await.unwrap();
    assert_eq!(pages.most_viewed().await.unwrap(), ["/a", "/b"]);
}

/// The same service on the real thing.
#[tokio::test]
async fn it_works_with_postgres() {
    let server = Server::start().unwrap();
    let made = server.psql(
        "CREATE TABLE page (path text PRIMARY KEY, title text, views bigint NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('page', versioned => true, rules => '{\"views\": \"add\"}');
         INSERT INTO page VALUES ('/home', 'Home')",
    );
    made.unwrap();
    let pages = Pages::open(Client::connect(&server.dsn()).await.unwrap()).await.unwrap();
    assert!(matches!(pages.show("/home").await.unwrap(), Shown::Page(_)));
    pages.client.flush().await.unwrap();
    server.restart().unwrap();
    assert_eq!(server.psql("SELECT views FROM page").unwrap().trim(), "1");
    assert!(server.psql("SELECT nothing").is_err());
}
