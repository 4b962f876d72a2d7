//! What users hold who watch something.

use super::live::{Live, Watchable};
use super::liveness::Liveness;
use crate::error::Error;
use futures_util::stream::{BoxStream, select_all, unfold};
use futures_util::{Stream, StreamExt};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What something is, and then each time that it has changed: see [`Cache::watch`](crate::Cache::watch),
/// [`Cache::watch_many`](crate::Cache::watch_many), [`Query::watch`](crate::Query::watch) and [`Client::changes`](crate::Client::changes).
///
/// It is a stream. Whoever takes its items slowly, or not for a while, is shown the last state then, not each one in between, and keeps nobody
/// waiting. It ends when the client is closed.
#[must_use = "nothing is watched before somebody takes its items"]
pub struct Watch<T>(BoxStream<'static, T>);

impl<T> Watch<T> {
    pub(crate) fn new(items: impl Stream<Item = T> + Send + 'static) -> Watch<T> {
        Watch(items.fuse().boxed())
    }

    /// The next item; `None` at the end. May be given up, and called again.
    pub async fn next(&mut self) -> Option<T> {
        self.0.next().await
    }

    /// Several as one, with the name of each.
    pub(crate) fn of_many<K: Clone + Send + 'static>(watches: impl IntoIterator<Item = (K, Watch<T>)>) -> Watch<(K, T)>
    where
        T: Send + 'static,
    {
        let named = |(key, watch): (K, Watch<T>)| watch.0.map(move |item| (key.clone(), item));
        Watch::new(select_all(watches.into_iter().map(named)))
    }
}

impl<R: Send + 'static> Watch<Result<R, Error>> {
    /// Shows what `show` makes of each look. What has to go on for as long as somebody watches is `kept`.
    pub(crate) fn of<W>(
        watched: W,
        liveness: Liveness,
        show: impl Fn(W::Read) -> R + Send + 'static,
        kept: impl Send + 'static,
    ) -> Watch<Result<R, Error>>
    where
        W: Watchable + 'static,
    {
        let watching = (Live::new(watched, liveness), show, kept);
        let next = async |(mut live, show, kept): (Live<W>, _, _)| {
            let item = live.next().await?.map(&show);
            Some((item, (live, show, kept)))
        };
        Watch::new(unfold(watching, next))
    }
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl<T> Stream for Watch<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(context)
    }
}
