//! A cluster in a temporary directory that is gone with its owner.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{During, Error, Result, command};

use crate::extension::Variant;
use crate::lifetime::Lifetime;
use crate::tree::Tree;
use crate::user::{self, User};

/// How often a start is tried when somebody else takes the port in between.
const START_ATTEMPTS_MAX: usize = 5;
/// A socket's path has at most 107 bytes on Linux and 103 on macOS, `/data/.s.PGSQL.65535.lock` included.
const TEMP_DIR_BYTES_MAX: usize = 50;
/// How much of the server's log an error shows.
const LOG_LINES_SHOWN: usize = 30;

/// What a cluster is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    variant: Variant,
    tree: Option<Tree>,
    preload: bool,
    fsync: bool,
    settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options { variant: Variant::Plain, tree: None, preload: true, fsync: true, settings: Vec::new() }
    }
}

impl Options {
    /// Which build of the extension. Default: [`Variant::Plain`].
    pub fn variant(mut self, variant: Variant) -> Options {
        self.variant = variant;
        self
    }

    /// Of which PostgreSQL, instead of one for which the extension is compiled now.
    pub fn tree(mut self, tree: Tree) -> Options {
        self.tree = Some(tree);
        self
    }

    /// Whether the library is in `shared_preload_libraries`. Default: yes.
    pub fn preload(mut self, preload: bool) -> Options {
        self.preload = preload;
        self
    }

    /// Whether the server waits for its disk. Default: yes.
    pub fn fsync(mut self, fsync: bool) -> Options {
        self.fsync = fsync;
        self
    }

    /// One more line of `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Options {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Creates the cluster and starts it.
    ///
    /// # Errors
    /// The extension cannot be built, or the server does not start: the error holds the end of its log.
    pub fn start(self) -> Result<Cluster> {
        Cluster::start(&self)
    }
}

/// A running cluster. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub struct Cluster {
    tree: Tree,
    lifetime: Lifetime,
    user: Option<User>,
    port: u16,
}

impl Cluster {
    fn start(options: &Options) -> Result<Cluster> {
        let tree = options.tree.clone().map_or_else(|| Tree::of(options.variant), Ok)?;
        let user = user::server_user()?;
        let mut cluster = Cluster::in_empty_dir(tree, user)?;
        let data = cluster.data_dir();
        let mut initdb = cluster.command("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]);
        command::output(initdb.arg("-D").arg(&data))?;
        cluster.configure(options)?;
        let mut last = Error::from("the server was not started");
        for _ in 0..START_ATTEMPTS_MAX {
            cluster.port = free_port()?;
            match cluster.launch() {
                Ok(()) => return Ok(cluster),
                Err(error) => last = error,
            }
            if !cluster.log_tail().contains("Address already in use") {
                break;
            }
        }
        Err(last)
    }

    /// One that has a directory, and nothing in it.
    fn in_empty_dir(tree: Tree, user: Option<User>) -> Result<Cluster> {
        let lifetime = Lifetime::begin(&short_temp_dir())?;
        if let Some(user) = user {
            chown(lifetime.dir(), Some(user.uid), Some(user.gid))?;
        }
        Ok(Cluster { tree, lifetime, user, port: 0 })
    }

    /// A hot standby of this cluster that streams its log, with settings of its own. A slot keeps what it needs.
    ///
    /// # Errors
    /// The cluster cannot be copied, or the standby does not start.
    pub fn standby(&self, settings: &[(&str, &str)]) -> Result<Cluster> {
        let mut standby = Cluster::in_empty_dir(self.tree.clone(), self.user)?;
        let slot = format!("standby_{}", free_port()?);
        let mut copy = self.command("pg_basebackup");
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--create-slot", "--slot", &slot]);
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string(), "-D"]).arg(standby.data_dir());
        command::output(&mut copy)?;
        let lines = [("unix_socket_directories", &*standby.socket_dir().display().to_string())];
        append_settings(&standby.data_dir(), lines.into_iter().chain(settings.iter().copied()))?;
        standby.port = free_port()?;
        standby.launch()?;
        Ok(standby)
    }

    /// A connection string for `database`, as its superuser, over TCP.
    pub fn dsn(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its unix socket is.
    pub fn socket_dir(&self) -> &Path {
        self.lifetime.dir()
    }

    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.lifetime.dir().join("data")
    }

    /// The process that started all others of the server.
    ///
    /// # Errors
    /// The server does not run.
    pub fn postmaster_pid(&self) -> Result<u32> {
        let file = self.data_dir().join("postmaster.pid");
        let text = fs::read_to_string(&file).during(|| file.display().to_string())?;
        text.lines().next().unwrap_or_default().trim().parse().during(|| file.display().to_string())
    }

    /// Its log.
    pub fn log_file(&self) -> PathBuf {
        self.lifetime.dir().join("log")
    }

    /// The private copy of PostgreSQL that it runs from.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// A client program of PostgreSQL (`pgbench`, `pg_dump`), with the environment that makes it connect to `database` here.
    pub fn client(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.tree.program(program));
        command.env("PGHOST", self.socket_dir()).env("PGPORT", self.port.to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", database).env_remove("PGOPTIONS");
        command
    }

    /// Runs `sql` through psql, all of it or up to the first error, and hands back its rows, unaligned.
    ///
    /// # Errors
    /// psql fails: the error holds what it said.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.client("psql", database);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-c", sql]);
        command::output(&mut psql).map(|rows| rows.trim_end_matches('\n').to_owned())
    }

    /// Creates a database.
    ///
    /// # Errors
    /// It exists already.
    pub fn createdb(&self, database: &str) -> Result<()> {
        self.psql("postgres", &format!("CREATE DATABASE \"{}\"", database.replace('"', "\"\""))).map(drop)
    }

    /// Ends the server as a crash would, and starts it again on the same port.
    ///
    /// # Errors
    /// It does not come back.
    pub fn restart_immediate(&self) -> Result<()> {
        self.stop("immediate")?;
        self.launch()
    }

    /// Stops the server: `smart`, `fast` or `immediate`.
    ///
    /// # Errors
    /// It does not stop within a minute.
    pub fn stop(&self, mode: &str) -> Result<()> {
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.args(["stop", "--wait", "--silent", "--mode", mode, "-D"]).arg(self.data_dir());
        command::output(&mut pg_ctl).map(drop)
    }

    /// Starts the server (again) and waits until it takes connections.
    ///
    /// # Errors
    /// It does not start: the error holds the end of its log.
    pub fn launch(&self) -> Result<()> {
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.args(["start", "--wait", "--silent", "-D"]).arg(self.data_dir());
        pg_ctl.arg("-l").arg(self.log_file()).arg("-o").arg(format!("-p {}", self.port));
        command::output(&mut pg_ctl)
            .map(drop)
            .map_err(|error| Error::from(format!("{error}\nthe end of the server's log:\n{}", self.log_tail())))
    }

    /// Leaves the cluster running when this is dropped, and says where it is.
    ///
    /// # Errors
    /// Its directory cannot be written.
    pub fn keep(&self) -> Result<&Path> {
        self.lifetime.keep()?;
        Ok(self.lifetime.dir())
    }

    /// A program that is to run as the server's user.
    pub fn beside(&self, program: &Path) -> Command {
        user::command_as(self.user, program)
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        tail(&self.log_file())
    }

    /// A program of this tree, run as the server's user.
    fn command(&self, program: &str) -> Command {
        user::command_as(self.user, &self.tree.program(program))
    }

    fn configure(&self, options: &Options) -> Result<()> {
        let mut lines = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("unix_socket_directories".to_owned(), self.socket_dir().display().to_string()),
            ("fsync".to_owned(), if options.fsync { "on" } else { "off" }.to_owned()),
            ("max_connections".to_owned(), "300".to_owned()),
            ("log_line_prefix".to_owned(), "%m [%p] %q%a@%d ".to_owned()),
        ];
        if options.preload {
            lines.push(("shared_preload_libraries".to_owned(), "cache_sync".to_owned()));
        }
        lines.extend(options.settings.iter().cloned());
        append_settings(&self.data_dir(), lines.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// Writes settings after those that are there: of two the later one counts.
fn append_settings<'s>(data: &Path, lines: impl Iterator<Item = (&'s str, &'s str)>) -> Result<()> {
    let file = data.join("postgresql.conf");
    let mut text = fs::read_to_string(&file).during(|| file.display().to_string())?;
    for (name, value) in lines {
        text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    fs::write(&file, text).during(|| file.display().to_string())
}

/// The end of a server's log.
pub(crate) fn tail(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// Where servers go: the socket is in there, and its path must be short.
pub(crate) fn short_temp_dir() -> PathBuf {
    let dir = std::env::temp_dir();
    if dir.as_os_str().len() <= TEMP_DIR_BYTES_MAX { dir } else { PathBuf::from("/tmp") }
}

/// A port that nobody listened on a moment ago.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
