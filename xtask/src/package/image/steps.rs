//! Takes the steps of the Dockerfile without anything that makes images: each stage is a Debian in a folder with its own PostgreSQL, and the
//! Rust of this machine stands for that of the image it would be copied from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_cluster::{free_port, workspace_root};
use cache_sync_kit::{Error, Result, command};

use super::dockerfile::{Dockerfile, Stage, Step};
use crate::package::content::empty;
use crate::package::folder::Folder;
use crate::package::place::{Debian, lent};
use crate::package::project::workshop;

/// The stage that only brings Rust.
const RUST: &str = "rust";
/// Makes a cluster as the image does, and asks whether it is ready. Arguments: the directory of PostgreSQL's programs, then the words of the
/// image's command.
const START: &str = r#"
bin=$1; shift
runuser -u postgres -- "$bin/initdb" -D /tmp/data -U postgres -E UTF8 --locale=C.UTF-8 > /tmp/initdb 2>&1
cache-sync-ready 2> /dev/null && { echo "ready before there is a server" >&2; exit 1; }
program=$1; shift
runuser -u postgres -- "$bin/$program" -D /tmp/data "$@" > /tmp/server 2>&1 &
tries=0
until psql -h 127.0.0.1 -U postgres -XqAt -c 'SELECT 1' > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat /tmp/server >&2; exit 1; }
    sleep 0.1
done
cache-sync-ready 2> /dev/null && { echo "ready before there is the extension" >&2; exit 1; }
psql -h 127.0.0.1 -U postgres -Xq -v ON_ERROR_STOP=1 -f /docker-entrypoint-initdb.d/10-cache_sync.sql
cache-sync-ready
runuser -u postgres -- "$bin/pg_ctl" -D /tmp/data -w stop > /dev/null
"#;

/// A stage that is done.
struct Done<'d> {
    name: &'d str,
    folder: Folder,
}

/// Takes all steps, starts what comes out, and says what was done.
///
/// # Errors
/// A step fails, or the server is not ready in the end.
pub(super) fn take(dockerfile: &Dockerfile, debian: &Debian) -> Result<String> {
    let mut done: Vec<Done<'_>> = Vec::new();
    let mut command = Vec::new();
    for stage in dockerfile.stages.iter().filter(|stage| stage.name != RUST) {
        println!("Taking the steps of {} in a folder", if stage.name.is_empty() { "the image" } else { &stage.name });
        let folder = base(stage, debian)?;
        let mut taking =
            Taking { folder: &folder, debian, done: &done, env: dockerfile.values.clone(), dir: "/".into() };
        for step in &stage.steps {
            match step {
                Step::Cmd(words) => command.clone_from(words),
                step => taking.step(step)?,
            }
        }
        done.push(Done { name: &stage.name, folder });
    }
    let image = done.last().ok_or_else(|| Error::from("docker/Dockerfile has no stage"))?;
    let bin = format!("/usr/lib/postgresql/{}/bin", debian.release.postgres);
    let mut start = image.folder.script("start", START, &[])?;
    start.arg(bin).args(command).env("PGPORT", free_port()?.to_string());
    command::output(&mut start)?;
    Ok(format!(
        "its steps in a folder (Debian {} and its PostgreSQL for the images): built, started, ready",
        debian.release.name
    ))
}

/// What stands for the image that a stage begins with.
fn base(stage: &Stage, debian: &Debian) -> Result<Folder> {
    let major = debian.release.postgres;
    let image = format!("postgres:{major}-{}", debian.release.name);
    if stage.from != image {
        return Err(Error::from(format!("docker/Dockerfile begins a stage with {}, not with {image}", stage.from)));
    }
    let name = if stage.name.is_empty() { "image" } else { &stage.name };
    let folder = Folder::passing(debian.release, &debian.mirror, &format!("docker-{name}"))?;
    command::output(&mut folder.install(&[format!("postgresql-{major}")])?)?;
    Ok(folder)
}

/// A stage that is being done.
struct Taking<'s> {
    folder: &'s Folder,
    debian: &'s Debian,
    done: &'s [Done<'s>],
    env: Vec<(String, String)>,
    dir: String,
}

impl Taking<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Env(values) => self.env.extend(values.iter().cloned()),
            Step::Workdir(dir) => self.dir.clone_from(dir),
            Step::Run(script) => self.run(script)?,
            // The checkout, and Rust, are lent to what runs.
            Step::Copy(None, what, _) if what == "." => {}
            Step::Copy(Some(from), _, _) if from == RUST => {}
            Step::Copy(from, what, to) => self.copy(from.as_deref(), what, to)?,
            Step::Cmd(_) => {}
        }
        Ok(())
    }

    fn run(&self, script: &str) -> Result<()> {
        let work = workshop().join("docker");
        empty(&work)?;
        let built = self.debian.built("built")?;
        let mut run = self.folder.program("env", &lent(&workspace_root(), &built, &work)?)?;
        run.args(["-C", &self.dir]);
        run.args(self.env.iter().map(|(name, value)| format!("{name}={}", self.value(value))));
        run.args(["CARGO_NET_OFFLINE=true", "bash", "-euo", "pipefail", "-c", script]);
        command::output(&mut run).map(drop)
    }

    /// Values may name the variables that were set before: only the path does.
    fn value(&self, value: &str) -> String {
        value.replace("$PATH", "/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    }

    fn copy(&self, from: Option<&str>, what: &str, to: &str) -> Result<()> {
        let from: PathBuf = match from {
            None => workspace_root(),
            Some(name) => {
                let stage = self.done.iter().find(|done| done.name == name);
                stage.ok_or_else(|| Error::from(format!("there is no stage {name} before")))?.folder.dir().to_owned()
            }
        };
        let inside = |root: &Path, path: &str| root.join(path.trim_start_matches('/'));
        let (what, to) = (inside(&from, what), inside(self.folder.dir(), to));
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        // A directory is copied for what is in it.
        let what = if what.is_dir() { what.join(".") } else { what };
        command::output(Command::new("cp").arg("--recursive").arg("--preserve=mode").arg(what).arg(to)).map(drop)
    }
}
