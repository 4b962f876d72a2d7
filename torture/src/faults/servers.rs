//! Where the servers are: two places, of which one is the primary's, and the other its standby's if there is one.

use cache_sync_cluster::Cluster;
use cache_sync_kit::locked;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many.
pub(crate) const PLACES: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Servers(Arc<Places>);

#[derive(Debug)]
struct Places {
    ports: [AtomicU16; PLACES],
    primary: AtomicUsize,
    data_dir: Mutex<PathBuf>,
    database: &'static str,
}

impl Servers {
    pub(crate) fn new(primary: &Cluster, standby: Option<&Cluster>, database: &'static str) -> Servers {
        let ports = [primary.port(), standby.map_or(0, Cluster::port)].map(AtomicU16::new);
        let data_dir = Mutex::new(primary.data_dir());
        Servers(Arc::new(Places { ports, primary: AtomicUsize::new(0), data_dir, database }))
    }

    /// The port of whatever server is in this place.
    pub(crate) fn port(&self, place: usize) -> u16 {
        self.0.ports[place].load(Ordering::Acquire)
    }

    /// A connection string for the primary as it is now.
    pub(crate) fn dsn(&self) -> String {
        let port = self.port(self.0.primary.load(Ordering::Acquire));
        format!("postgresql://postgres@127.0.0.1:{port}/{}", self.0.database)
    }

    /// Where the primary's data is.
    pub(crate) fn data_dir(&self) -> PathBuf {
        locked(&self.0.data_dir).clone()
    }

    pub(crate) fn database(&self) -> &'static str {
        self.0.database
    }

    /// What was the standby is the primary now.
    pub(super) fn switch(&self, primary: &Cluster) {
        *locked(&self.0.data_dir) = primary.data_dir();
        self.0.primary.fetch_xor(1, Ordering::AcqRel);
    }

    /// There is a new standby in the other place.
    pub(super) fn follow(&self, standby: &Cluster) {
        let place = self.0.primary.load(Ordering::Acquire) ^ 1;
        self.0.ports[place].store(standby.port(), Ordering::Release);
    }
}
