//! A service whose cache is seen: `GET /metrics` is what Prometheus scrapes, and docs/grafana.json shows it. It makes its load itself.

use axum::Router;
use axum::routing::get;
use cache_sync::{Cache, Client, METRICS, Patch};
use cache_sync_examples::{Result, close, database_url, make_once, plain_sql};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Clone, Serialize, Deserialize)]
struct Article {
    title: String,
    reads: i64,
}

/// Without buckets the exporter makes summaries of histograms, which cannot be added up.
fn recorder() -> Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
        builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets)?;
    }
    Ok(builder.install_recorder()?)
}

/// Articles are read, reads are counted, and it is asked what is read most.
async fn serve(client: &Client, articles: &Cache<i64, Article>) -> Result<()> {
    let most_read = client.prepare_query::<i64>("SELECT id FROM article ORDER BY reads DESC LIMIT 3");
    let mut every = tokio::time::interval(Duration::from_millis(10));
    loop {
        every.tick().await;
        for id in (1..=20).cycle().take(400) {
            articles.get(&id).await?;
        }
        let _ = articles.patch(&1, Patch::new().add("reads", 1)).await?;
        most_read.fetch(()).await?;
    }
}

/// Another program, which knows nothing of the cache.
async fn edit(sql: &tokio_postgres::Client) -> Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    for id in (2..=20_i64).cycle() {
        every.tick().await;
        sql.execute("UPDATE article SET title = 'edited at ' || now() WHERE id = $1", &[&id]).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    // Before there is a client: what it measures goes to the recorder that there is then.
    let recorder = recorder()?;
    let dsn = database_url()?;
    let sql = plain_sql(&dsn).await?;
    let table = r#"CREATE TABLE article (id bigint PRIMARY KEY, title text NOT NULL, reads bigint NOT NULL DEFAULT 0);
                   INSERT INTO article SELECT n, 'article ' || n FROM generate_series(1, 20) n;
                   SELECT cache_sync.attach('article', versioned => true, rules => '{"reads": "add"}')"#;
    make_once(&sql, "article", table).await?;

    let client = Client::builder(&dsn).metrics_interval(Duration::from_secs(1)).connect().await?;
    let articles = client.cache("article").open().await?;
    let router = Router::new().route("/metrics", get(async move || recorder.render()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    tokio::select! {
        ended = axum::serve(listener, router) => ended?,
        ended = serve(&client, &articles) => ended?,
        ended = edit(&sql) => ended?,
        _ = tokio::signal::ctrl_c() => {}
    }
    close([client]).await
}
