//! Runs the demo and the benchmarks: prepares the cluster's software, then hands over.

use std::process::{Command, ExitCode};

use cache_sync_cluster::{Profile, TREES_VARIABLE, Tree, Variant, cargo, setup, setup_redis, target_dir};
use cache_sync_kit::Result;

/// Runs the release build of `package` with `args` against a freshly built extension.
///
/// # Errors
/// Something is missing, or does not compile.
pub(crate) fn run(package: &str, args: &[String]) -> Result<ExitCode> {
    let postgres = setup()?;
    if args.iter().any(|arg| arg == "--web") {
        setup_redis()?;
    }
    println!("Using PostgreSQL {} ({})", postgres.major, postgres.pg_config.display());
    Tree::build(&postgres, Variant::Plain, Profile::from_env())?;
    let mut command = cargo();
    // cargo shows what it compiles: on a new machine that takes minutes.
    command.args(["run", "--release", "--package", package, "--"]);
    command.args(args).env(TREES_VARIABLE, Tree::parent_dir(&postgres)?);
    let status = command.status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The command that runs `package` as it was compiled for the tests; its arguments are still to be added.
pub(crate) fn command(package: &str) -> Command {
    Command::new(target_dir().join("debug").join(format!("{package}{}", std::env::consts::EXE_SUFFIX)))
}
