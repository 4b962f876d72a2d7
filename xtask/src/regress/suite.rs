//! PostgreSQL's own tests, and what they print on a server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_cluster::{Cluster, Options, Postgres, Tree};
use cache_sync_kit::{Error, Result, command};

use super::source;

const DATABASE: &str = "regression";
/// What pg_regress sets in a database that it creates itself.
const SETTINGS: &str = "ALTER DATABASE regression SET lc_messages TO 'C'; ALTER DATABASE regression SET lc_monetary TO 'C';
    ALTER DATABASE regression SET lc_numeric TO 'C'; ALTER DATABASE regression SET lc_time TO 'C';
    ALTER DATABASE regression SET bytea_output TO 'hex'; ALTER DATABASE regression SET timezone_abbreviations TO 'Default'";
/// Fewer tests than any version has.
const TESTS_MIN: usize = 150;

/// What each test printed.
pub(super) type Printed = BTreeMap<String, String>;

/// PostgreSQL's tests, ready to run.
pub(super) struct Suite {
    /// The program that runs them.
    pg_regress: PathBuf,
    /// `src/test/regress` of the source.
    sources: PathBuf,
    /// The libraries that some of them load.
    libraries: PathBuf,
}

impl Suite {
    /// Those of the source package, compiled as far as they must be.
    pub(super) fn get(postgres: &Postgres) -> Result<Suite> {
        let pg_regress = postgres.lib.join("pgxs/src/test/regress/pg_regress");
        if !pg_regress.is_file() {
            return Err(Error::from(format!(
                "{} is not there: it comes with the server's headers",
                pg_regress.display()
            )));
        }
        let dir = Tree::parent_dir(postgres)?.join("regression");
        let sources = source::tests_of(postgres, &dir)?;
        let libraries = dir.join("lib");
        fs::create_dir_all(&libraries)?;
        let include = command::output(Command::new(&postgres.pg_config).arg("--includedir-server"))?;
        let include = format!("-I{}", include.trim());
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-w", &include, "-o"]).arg(libraries.join("regress.so"));
        command::run(compile.arg(sources.join("regress.c")))?;
        for library in ["autoinc.so", "refint.so"] {
            fs::copy(postgres.lib.join(library), libraries.join(library))?;
        }
        Ok(Suite { pg_regress, sources, libraries })
    }

    /// Runs them all on a server of their own, and hands back what they printed.
    pub(super) fn run(&self, name: &str, options: Options, setup: &str) -> Result<Printed> {
        println!("\n==== {name} ====");
        let cluster = options.fsync(false).start()?;
        cluster.createdb(DATABASE)?;
        cluster.psql(DATABASE, SETTINGS)?;
        if !setup.is_empty() {
            cluster.psql(DATABASE, setup)?;
        }
        let out = cluster.socket_dir().join("regress");
        command::run(cluster.beside(Path::new("mkdir")).arg(&out))?;
        let status = self.command(&cluster, &out).status()?;
        println!("pg_regress: {status}");
        let mut printed = Printed::new();
        for file in fs::read_dir(out.join("results"))?.flatten() {
            let test = file.file_name().to_string_lossy().into_owned();
            if let Some(test) = test.strip_suffix(".out") {
                let text = String::from_utf8_lossy(&fs::read(file.path())?).into_owned();
                // Where the files are differs from run to run.
                printed.insert(test.to_owned(), text.replace(&*out.to_string_lossy(), "OUT"));
            }
        }
        if printed.len() < TESTS_MIN {
            return Err(Error::from(format!("only {} tests printed something", printed.len())));
        }
        Ok(printed)
    }

    /// Where whole differences are written.
    pub(super) fn differences_dir(&self) -> Result<PathBuf> {
        let dir = self.libraries.with_file_name("differences");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn command(&self, cluster: &Cluster, out: &Path) -> Command {
        let mut command = cluster.beside(&self.pg_regress);
        let psql = cluster.tree().program("psql");
        let named = |name: &str, path: &Path| format!("--{name}={}", path.display());
        command
            .args(["--use-existing", "--max-concurrent-tests=20", "--user=postgres", "--host=127.0.0.1"])
            .arg(format!("--dbname={DATABASE}"))
            .arg(format!("--port={}", cluster.port()))
            .arg(named("inputdir", &self.sources))
            .arg(named("outputdir", out))
            .arg(named("bindir", psql.parent().unwrap_or(Path::new("/"))))
            .arg(named("dlpath", &self.libraries))
            .arg(named("schedule", &self.sources.join("parallel_schedule")));
        command
    }
}
