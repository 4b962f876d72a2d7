//! A router on a port, until ctrl-c.

use crate::{Result, close};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use cache_sync::Client;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{RwLock, oneshot};
use tokio::time::timeout;

/// How long requests that are under way may take when the node ends, and then how long those may who are still sent something.
const GRACE: Duration = Duration::from_secs(5);

/// Serves on a free port of this machine, which it prints, until ctrl-c. Then it takes no more requests, lets the handlers end that are under
/// way, and writes what is buffered.
///
/// # Errors
/// There is no port, nor a way to hear of ctrl-c, or what is buffered could not be written: see [`close`].
pub async fn serve(router: Router, client: &Client) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let under_way = Arc::new(RwLock::new(()));
    let router = router.layer(from_fn_with_state(under_way.clone(), with_the_others));
    let (ending, is_ending) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async { drop(is_ending.await) });
    let serving = tokio::spawn(serving.into_future());
    let signal = tokio::signal::ctrl_c().await;
    drop(ending);
    // Streams go on after their handler, and end with the client; so who only watches is not waited for here.
    if timeout(GRACE, under_way.write()).await.is_err() {
        eprintln!("some requests take longer than {GRACE:?}");
    }
    let closed = close([client.clone()]).await;
    match timeout(GRACE, serving).await {
        Ok(ended) => ended??,
        Err(_) => eprintln!("some answers take longer than {GRACE:?}"),
    }
    closed.and(signal.map_err(Into::into))
}

/// Requests share the lock; whoever gets it alone knows that no handler runs.
async fn with_the_others(State(under_way): State<Arc<RwLock<()>>>, request: Request, next: Next) -> Response {
    let _guard = under_way.read().await;
    next.run(request).await
}
