//! pgbouncer in front of a cluster.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use cache_sync_cluster::{Cluster, free_port, pgbouncer};

use crate::{Database, SOON, output, wait_blocking};

/// A running pgbouncer. Dropping it ends it.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    port: u16,
}

impl Pooler {
    /// Starts one in a pool mode (`session`, `transaction`, `statement`), with up to `servers` connections to each database.
    pub fn start(cluster: &Cluster, mode: &str, servers: u32) -> Pooler {
        let port = free_port().unwrap_or_else(|error| panic!("{error}"));
        Pooler::start_at(port, cluster, mode, servers)
    }

    /// Ends it, and starts another one in its place.
    pub fn restart(self, cluster: &Cluster, mode: &str, servers: u32) -> Pooler {
        let port = self.port;
        drop(self);
        Pooler::start_at(port, cluster, mode, servers)
    }

    fn start_at(port: u16, cluster: &Cluster, mode: &str, servers: u32) -> Pooler {
        let program = pgbouncer().unwrap_or_else(|error| panic!("{error}"));
        // From 1.21 on it can prepare statements anew behind the client's back.
        let prepares = version_in(&output(cluster.beside(&program).arg("--version"))) >= (1, 21);
        let prepares = if prepares { "max_prepared_statements = 0\n" } else { "" };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\npool_mode = {mode}\ndefault_pool_size = {servers}\nmax_client_conn = 200\nserver_login_retry = 1\nunix_socket_dir =\n{prepares}",
            cluster.port()
        );
        let config: PathBuf = cluster.socket_dir().join(format!("pgbouncer-{port}.ini"));
        fs::write(&config, text).unwrap_or_else(|error| panic!("{}: {error}", config.display()));
        let mut command = cluster.beside(&program);
        command.arg("-q").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_blocking(SOON, || "pgbouncer listens".to_owned(), listens);
        Pooler { process, port }
    }

    /// A connection string for this database through the pooler.
    pub fn dsn(&self, db: &Database<'_>) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{}", self.port, db.name())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `PgBouncer 1.18.0` is 1 and 18.
fn version_in(text: &str) -> (u32, u32) {
    let numbers = text.split_whitespace().nth(1).map(|version| version.split('.').map_while(|part| part.parse().ok()));
    match numbers.map(Iterator::collect::<Vec<_>>).as_deref() {
        Some([major, minor, ..]) => (*major, *minor),
        _ => panic!("`{text}` is no version"),
    }
}
