//! The row that a path names, as an argument of a handler.

use crate::failed::{Failed, answer};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use cache_sync::{Cache, CacheValue, Key};
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::sync::Arc;

/// The row whose key the path names, from memory or from Postgres: 404 if there is none, 503 if it must be loaded and Postgres is away.
/// `Option<Cached<K, V>>` is `None` where there is no row.
///
/// The path's parameters are the key, all of them, in their order: `/pages/{id}` for an `i64`, `/games/{game}/players/{name}` for an
/// `(i32, String)`. The cache comes from the router's state. A route with another number of parameters than the key has columns is a mistake of the
/// program, which axum answers with 500.
#[derive(Clone, Debug)]
pub struct Cached<K, V> {
    /// What the path says.
    pub key: K,
    /// The row.
    pub value: Arc<V>,
}

impl<K, V> Deref for Cached<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

/// Why there is no row for a handler.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotCached {
    /// The path's parameters are no key: 400, and 500 where the route has another number of them.
    Path(PathRejection),
    /// There is no such row: 404.
    Missing,
    /// It could not be read: see [`Failed`].
    Failed(Failed),
}

impl IntoResponse for NotCached {
    fn into_response(self) -> Response {
        match self {
            NotCached::Path(rejection) => rejection.into_response(),
            NotCached::Missing => answer(StatusCode::NOT_FOUND),
            NotCached::Failed(failed) => failed.into_response(),
        }
    }
}

async fn row<K, V, S>(parts: &mut Parts, state: &S) -> Result<Option<Cached<K, V>>, NotCached>
where
    K: Key + DeserializeOwned,
    V: CacheValue,
    Cache<K, V>: FromRef<S>,
    S: Send + Sync,
{
    let path = <Path<K> as FromRequestParts<S>>::from_request_parts(parts, state).await;
    let Path(key) = path.map_err(NotCached::Path)?;
    let read = Cache::from_ref(state).get(&key).await;
    let value = read.map_err(|error| NotCached::Failed(error.into()))?;
    Ok(value.map(|value| Cached { key, value }))
}

impl<K, V, S> FromRequestParts<S> for Cached<K, V>
where
    K: Key + DeserializeOwned,
    V: CacheValue,
    Cache<K, V>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = NotCached;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Cached<K, V>, NotCached> {
        row(parts, state).await?.ok_or(NotCached::Missing)
    }
}

impl<K, V, S> OptionalFromRequestParts<S> for Cached<K, V>
where
    K: Key + DeserializeOwned,
    V: CacheValue,
    Cache<K, V>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = NotCached;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Cached<K, V>>, NotCached> {
        row(parts, state).await
    }
}
