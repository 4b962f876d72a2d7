//! Rows and results as server-sent events.

use crate::failed::status_of;
use axum::response::sse::{Event, KeepAlive, Sse};
use cache_sync::{Error, ErrorKind, Lookup, QueryRead, Watch};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use std::convert::Infallible;

/// What a browser's `addEventListener` hears of states that are in doubt.
const STALE: &str = "stale";
/// And of those that could not be read.
const FAILED: &str = "failed";

/// What something that is watched shows, as server-sent events:
///
/// | event | data | when |
/// | --- | --- | --- |
/// | none (`onmessage`) | the row as JSON, `null` if there is none; of a query a list of rows | at first, and each time that it has changed |
/// | `stale` | the same | freshness is lost: this is the last state that is known, and it may have changed. The next message is fresh again |
/// | `failed` | the status code of [`Failed`](crate::Failed) | the row or result cannot be read; the next change may mend that |
///
/// A comment every 15 s keeps the connection alive. The same state may come twice, after an outage say. The stream ends when the client is closed;
/// browsers then connect again by themselves.
///
/// axum's graceful shutdown waits for every stream, so close the client before: in the future that tells axum to end.
///
/// ```no_run
/// # async fn run(router: axum::Router, client: cache_sync::Client) -> std::io::Result<()> {
/// let ending = async move {
///     tokio::signal::ctrl_c().await.ok();
///     match client.close(std::time::Duration::from_secs(5)).await {
///         Ok(unwritten) if unwritten.is_empty() => {}
///         Ok(unwritten) => eprintln!("Postgres may lack {} writes", unwritten.len()),
///         Err(error) => eprintln!("{error}"),
///     }
/// };
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, router).with_graceful_shutdown(ending).await
/// # }
/// ```
///
/// A query with `min_refresh` may begin with `stale`: rows that it has and that have changed since.
pub fn sse<R: Shown>(watch: Watch<Result<R, Error>>) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<R>> {
    Sse::new(watch.map(|read| Ok(event(read)))).keep_alive(KeepAlive::default())
}

fn event<R: Shown>(read: Result<R, Error>) -> Event {
    let failed = |kind| Event::default().event(FAILED).data(status_of(kind).as_str());
    let read = match read {
        Ok(read) => read,
        Err(error) => return failed(error.kind()),
    };
    match serde_json::to_string(&read.shown()) {
        Ok(shown) if read.is_stale() => Event::default().event(STALE).data(shown),
        Ok(shown) => Event::default().data(shown),
        Err(_) => failed(ErrorKind::Value),
    }
}

/// What can be watched: rows, and results of queries.
pub trait Shown: private::Sealed + Send + 'static {
    /// What a browser is shown.
    #[doc(hidden)]
    fn shown(&self) -> impl Serialize;

    /// Whether it could not be confirmed.
    #[doc(hidden)]
    fn is_stale(&self) -> bool;
}

mod private {
    #[expect(unnameable_types, reason = "only we implement it")]
    pub trait Sealed {}
}

impl<V> private::Sealed for Lookup<V> {}

impl<V: Serialize + Send + Sync + 'static> Shown for Lookup<V> {
    fn shown(&self) -> impl Serialize {
        self.value.as_deref()
    }

    fn is_stale(&self) -> bool {
        self.stale_for.is_some()
    }
}

impl<T> private::Sealed for QueryRead<T> {}

impl<T: Serialize + Send + Sync + 'static> Shown for QueryRead<T> {
    fn shown(&self) -> impl Serialize {
        &*self.rows
    }

    fn is_stale(&self) -> bool {
        self.stale_for.is_some()
    }
}
