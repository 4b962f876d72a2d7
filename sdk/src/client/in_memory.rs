//! Clients of a database in memory.

use super::{Client, ClientBuilder};
use crate::in_memory::{Builder, InMemory};

impl Client {
    /// A database in memory, for tests of services: see [`in_memory`](crate::in_memory).
    pub fn in_memory() -> Builder {
        Builder::default()
    }
}

impl InMemory {
    /// Settings of a client of this database, as [`Client::builder`] has them; what they say of connections, standbys, passwords and encryption
    /// has no meaning here. Each client is a node of its own, as if in another process.
    pub fn client(&self) -> ClientBuilder {
        Client::builder("host=in-memory dbname=in_memory user=in_memory").database(self.link())
    }
}
