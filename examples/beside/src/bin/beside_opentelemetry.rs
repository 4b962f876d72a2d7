//! Beside OpenTelemetry: a load stands in the trace of the request that waits for it, with its table, and a hit costs no span.
//!
//! The exporter here prints; in a service it is that of opentelemetry-otlp. Metrics go to OpenTelemetry by its collector, which scrapes what
//! examples/src/bin/metrics.rs serves (receiver `prometheus`).

use cache_sync::{Cache, Client};
use cache_sync_examples::{Result, close, database_url, make_anew};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, info_span};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};

#[derive(Clone, Serialize, Deserialize)]
struct Reader {
    name: String,
}

#[derive(Debug)]
struct Printer;

impl SpanExporter for Printer {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        for span in spans {
            let table = span.attributes.iter().find(|attribute| attribute.key.as_str() == "table");
            let table = table.map_or(String::new(), |attribute| format!(" of {}", attribute.value));
            println!("{}{table}: {:?} in {:?}", span.name, span.span_context.span_id(), span.parent_span_id);
        }
        Ok(())
    }
}

async fn request(readers: &Cache<i64, Reader>, id: i64) -> Result<Option<String>> {
    Ok(readers.get(&id).await?.map(|reader| reader.name.clone()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let provider = SdkTracerProvider::builder().with_simple_exporter(Printer).build();
    // Spans of loads, batches and queries are of the level DEBUG.
    let shown = Targets::new().with_target("cache_sync", LevelFilter::DEBUG).with_default(LevelFilter::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("reader service")).with_filter(shown);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;

    let dsn = database_url()?;
    make_anew(
        &dsn,
        "DROP TABLE IF EXISTS traced_reader;
         CREATE TABLE traced_reader (id bigint PRIMARY KEY, name text NOT NULL);
         SELECT cache_sync.attach('traced_reader', versioned => true)",
    )
    .await?;
    let client = Client::connect(&dsn).await?;
    let readers: Cache<i64, Reader> = client.cache("traced_reader").open().await?;
    for _ in 0..3 {
        request(&readers, 1).instrument(info_span!("request")).await?;
    }
    close([client]).await?;
    provider.shutdown()?;
    Ok(())
}
