//! Connections that are encrypted, and servers and clients that show who they are, as libpq has it.

mod certificates;
mod clients;
mod errors;
mod everywhere;
mod home;
mod modes;
mod own;
mod renewal;
mod several;

use cache_sync::{Client, Error};
use cache_sync_cluster::Cluster;
use cache_sync_tests::Database;
use cache_sync_tests::certificates::{Authority, serve};
use cache_sync_tests::rows::close;
use std::sync::atomic::{AtomicU32, Ordering};

/// The hosts that a server's certificate is for.
const HOSTS: [&str; 3] = ["db.test", "localhost", "127.0.0.1"];

/// Has the server show a certificate, which trusts clients by the same authority.
fn encrypted(cluster: &Cluster) -> Authority {
    let authority = Authority::new("ours");
    serve(cluster, &authority.server(&HOSTS), &authority.pem(), &authority.pem());
    authority
}

/// A connection string with options. The host is a name that is looked up nowhere.
fn dsn_with(db: &Database<'_>, options: &str) -> String {
    let port = db.cluster().port();
    let host = if options.contains("host=") { "" } else { "host=db.test" };
    let user = if options.contains("user=") { "" } else { "user=postgres" };
    format!("{host} {user} hostaddr=127.0.0.1 port={port} dbname={} {options}", db.name())
}

/// Connects, and hands back whether all the client's connections are encrypted.
async fn connected(db: &Database<'_>, dsn: &str) -> Result<bool, Error> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("probe{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let client = Client::builder(&format!("{dsn} application_name={name}")).connect().await?;
    let is_encrypted = encryption(db, &name);
    close(client).await;
    assert!(["t", "f"].contains(&&*is_encrypted), "{dsn}: {is_encrypted:?}");
    Ok(is_encrypted == "t")
}

/// Which values `pg_stat_ssl` has for connections with names that begin so.
fn encryption(db: &Database<'_>, name: &str) -> String {
    db.psql(&format!(
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE '{name} %'"
    ))
}
