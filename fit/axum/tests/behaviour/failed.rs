//! Errors as answers.

use crate::{Page, Pages, database, get, node};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing};
use cache_sync::{Error, ErrorKind, Patch};
use cache_sync_axum::{Failed, status_of};
use cache_sync_tests::document::read;
use tower::ServiceExt;

/// The kinds that the documentation names, with the status beside them.
const DOCUMENTED: [(ErrorKind, u16); 10] = [
    (ErrorKind::Missing, 404),
    (ErrorKind::Conflict, 409),
    (ErrorKind::TooLarge, 413),
    (ErrorKind::RuleViolation, 422),
    (ErrorKind::Rejected, 422),
    (ErrorKind::Unavailable, 503),
    (ErrorKind::Full, 503),
    (ErrorKind::Overloaded, 503),
    (ErrorKind::Closed, 503),
    (ErrorKind::Unwritten, 202),
];

#[test]
fn each_kind_has_the_status_that_the_documentation_says() {
    let source = read("fit/axum/src/failed.rs");
    for (kind, status) in DOCUMENTED {
        assert_eq!(status_of(kind).as_u16(), status, "{kind:?}");
        let named = |row: &&str| row.contains(&format!("`{kind:?}`"));
        let row = source.lines().filter(|line| line.starts_with("/// |")).find(named);
        assert!(row.is_some_and(|row| row.contains(&format!("| {status}"))), "{kind:?}: {row:?}");
    }
    for kind in [ErrorKind::Database, ErrorKind::Config, ErrorKind::Mismatch, ErrorKind::Value] {
        assert_eq!(status_of(kind), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

fn service(pages: Pages) -> Router {
    type Answered = Result<(), Failed>;
    async fn missing(State(pages): State<Pages>) -> Answered {
        drop(pages.update("nowhere", |page| page.views += 1).await?);
        Ok(())
    }
    async fn against_the_rule(State(pages): State<Pages>) -> Answered {
        drop(pages.patch("home", Patch::new().set("views", 1)).await?);
        Ok(())
    }
    async fn against_the_constraint(State(pages): State<Pages>) -> Answered {
        let raise = |page: &mut Page| {
            page.views = 5000;
            Ok::<_, Error>(())
        };
        Ok(pages.modify("home", raise).await?)
    }
    Router::new()
        .route("/missing", routing::get(missing))
        .route("/rule", routing::get(against_the_rule))
        .route("/constraint", routing::get(against_the_constraint))
        .with_state(pages)
}

#[tokio::test]
async fn a_handler_that_fails_says_the_status_and_nothing_of_the_row() {
    let db = database();
    let (_client, pages) = node(&db.dsn()).await;
    let service = service(pages);
    for (path, status, text) in [
        ("/missing", StatusCode::NOT_FOUND, "Not Found"),
        ("/rule", StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable Entity"),
        ("/constraint", StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable Entity"),
    ] {
        let answer = get(&service, path).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, text), "{path}");
    }
    let request = axum::http::Request::get("/constraint").body(axum::body::Body::empty()).unwrap();
    let answer = service.oneshot(request).await.unwrap();
    // For a layer that logs.
    assert!(answer.extensions().get::<Error>().is_some_and(|error| error.is_rejected()), "{answer:?}");
}
