//! Rows and results as server-sent events.

use crate::{Page, Pages, database, node};
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{Request, header};
use axum::{Router, routing};
use cache_sync::Client;
use cache_sync_axum::sse;
use cache_sync_tests::SOON;
use cache_sync_tests::proxy::Proxy;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt;

fn service(client: Client, pages: Pages) -> Router {
    let titles = async |State((client, _)): State<(Client, Pages)>| {
        sse(client.query::<(String, i64)>("SELECT title, views FROM page ORDER BY path").watch())
    };
    let home = async |State((_, pages)): State<(Client, Pages)>| sse(pages.watch("home"));
    Router::new().route("/home", routing::get(home)).route("/titles", routing::get(titles)).with_state((client, pages))
}

/// The events of an answer.
struct Events {
    body: BodyDataStream,
    heard: String,
}

impl Events {
    async fn of(service: &Router, path: &str) -> Events {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events { body: answer.into_body().into_data_stream(), heard: String::new() }
    }

    /// The next one: its name and its data, as they are sent; comments are passed over. `None` at the end.
    async fn next(&mut self) -> Option<String> {
        timeout(SOON, self.coming()).await.expect("an event comes soon")
    }

    async fn coming(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.heard.split_once("\n\n") {
                let event = event.replace('\n', " ");
                self.heard = rest.to_owned();
                if !event.starts_with(':') {
                    return Some(event);
                }
                continue;
            }
            let bytes = self.body.next().await?.unwrap();
            self.heard.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn until(&mut self, event: &str) {
        while self.next().await.expect("it goes on") != event {}
    }
}

#[tokio::test]
async fn a_row_is_shown_as_it_is_and_as_it_becomes() {
    let db = database();
    let (client, pages) = node(&db.dsn()).await;
    let service = service(client.clone(), pages.clone());
    let mut events = Events::of(&service, "/home").await;
    assert_eq!(events.next().await.unwrap(), r#"data: {"title":"Home","views":1}"#);
    db.psql("UPDATE page SET title = E'two\\nlines'");
    events.until(r#"data: {"title":"two\nlines","views":1}"#).await;
    db.psql("DELETE FROM page");
    events.until("data: null").await;
    pages.put("home".to_owned(), Page { title: "Again".to_owned(), views: 2 }).await.unwrap().written().await.unwrap();
    events.until(r#"data: {"title":"Again","views":2}"#).await;
    client.close(SOON).await.unwrap();
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn a_result_is_shown_as_it_is_and_as_it_becomes() {
    let db = database();
    let (client, pages) = node(&db.dsn()).await;
    let service = service(client, pages);
    let mut events = Events::of(&service, "/titles").await;
    assert_eq!(events.next().await.unwrap(), r#"data: [["Home",1]]"#);
    db.psql("INSERT INTO page VALUES ('new', 'New', 3)");
    events.until(r#"data: [["Home",1],["New",3]]"#).await;
}

#[tokio::test]
async fn it_is_said_when_freshness_is_lost_and_what_is_fresh_again() {
    let db = database();
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_millis(1500)).connect().await.unwrap();
    let service = service(client.clone(), client.cache("page").open().await.unwrap());
    let (mut home, mut titles) = (Events::of(&service, "/home").await, Events::of(&service, "/titles").await);
    assert_eq!(home.next().await.unwrap(), r#"data: {"title":"Home","views":1}"#);
    assert_eq!(titles.next().await.unwrap(), r#"data: [["Home",1]]"#);
    proxy.cut_feed().await;
    home.until(r#"event: stale data: {"title":"Home","views":1}"#).await;
    titles.until(r#"event: stale data: [["Home",1]]"#).await;
    db.psql("UPDATE page SET views = 2");
    proxy.let_feed_through();
    home.until(r#"data: {"title":"Home","views":2}"#).await;
    titles.until(r#"data: [["Home",2]]"#).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_then_goes_on() {
    let db = database();
    let (client, pages) = node(&db.dsn()).await;
    let service = service(client, pages);
    let mut titles = Events::of(&service, "/titles").await;
    assert_eq!(titles.next().await.unwrap(), r#"data: [["Home",1]]"#);
    db.psql("ALTER TABLE page RENAME title TO heading");
    titles.until("event: failed data: 500").await;
    db.psql("ALTER TABLE page RENAME heading TO title");
    titles.until(r#"data: [["Home",1]]"#).await;
}
