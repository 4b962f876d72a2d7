//! Rows of cache_sync in handlers of axum.
//!
//! ```text
//! cached  the row that a path names, as an argument of a handler      live   rows and results as server-sent events
//! failed  errors as answers                                           fresh  who has written reads that, on whichever node
//! seen    what a browser carries for that
//! ```
//!
//! ```no_run
//! use axum::Router;
//! use axum::extract::State;
//! use axum::middleware::from_fn_with_state;
//! use axum::response::IntoResponse;
//! use axum::routing::get;
//! use cache_sync::{Cache, Client};
//! use cache_sync_axum::{Cached, Failed, ReadYourWrites, read_your_writes, sse};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Page {
//!     title: String,
//! }
//!
//! async fn show(page: Cached<i64, Page>) -> String {
//!     page.title.clone()
//! }
//!
//! async fn live(State(pages): State<Cache<i64, Page>>, page: Cached<i64, Page>) -> impl IntoResponse {
//!     sse(pages.watch(&page.key))
//! }
//!
//! async fn rename(State(pages): State<Cache<i64, Page>>, page: Cached<i64, Page>, title: String) -> Result<(), Failed> {
//!     let _ = pages.update(&page.key, |page| page.title.clone_from(&title)).await?;
//!     Ok(())
//! }
//!
//! fn router(client: Client, pages: Cache<i64, Page>) -> Router {
//!     Router::new()
//!         .route("/pages/{id}", get(show).put(rename))
//!         .route("/pages/{id}/events", get(live))
//!         .layer(from_fn_with_state(ReadYourWrites::new(client), read_your_writes))
//!         .with_state(pages)
//! }
//! ```
//!
//! The crate is not published: take it from a checkout, as a path dependency.
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

mod cached;
mod failed;
mod fresh;
mod live;
mod seen;

pub use cached::{Cached, NotCached};
pub use failed::{Failed, status_of};
pub use fresh::{BEHIND, COOKIE, ReadYourWrites, TOKEN, read_your_writes};
pub use live::{Shown, sse};
