//! Tests for services that cache with cache_sync.
//!
//! As a dev-dependency it turns on [`Client::in_memory`](cache_sync::Client::in_memory): unit tests run in milliseconds, without a server, and
//! with faults to switch on. [`Server`] is for those that need the real thing.
//!
//! ```no_run
//! use cache_sync_testkit::Server;
//!
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::start()?;
//! server.psql("CREATE TABLE page (path text PRIMARY KEY, title text); SELECT cache_sync.attach('page')")?;
//! let client = cache_sync::Client::connect(&server.dsn()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! server   a throw-away PostgreSQL with the extension
//! ```
#![forbid(unsafe_code)]

mod server;

pub use cache_sync::in_memory::{Asked, Builder, DeadLetter, InMemory, Table};
pub use server::{Server, ServerError};
