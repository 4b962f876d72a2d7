//! Every check, step by step, up to the first that fails.

use std::process::{Command, ExitCode};

use cache_sync_cluster::{
    Postgres, Profile, TREES_VARIABLE, Tree, Variant, build_command_env, cargo, setup, setup_tools, workspace_root,
};
use cache_sync_kit::{Result, command};

use crate::program;
use crate::steps::Steps;

/// Runs every check.
///
/// # Errors
/// None: a failed check is an exit code.
pub(crate) fn run() -> Result<ExitCode> {
    let mut steps = Steps::default();
    let failed = all(&mut steps).err();
    steps.print_summary();
    let Some(error) = failed else { return Ok(ExitCode::SUCCESS) };
    println!("FAILED: {error}");
    Ok(ExitCode::FAILURE)
}

fn all(steps: &mut Steps) -> Result<()> {
    let postgres = steps.step("setup", |_| {
        let postgres = setup()?;
        setup_tools()?;
        println!("PostgreSQL {} ({})", postgres.major, postgres.pg_config.display());
        components()?;
        Ok(postgres)
    })?;
    steps.step("format", |_| command::run(cargo().args(["fmt", "--all", "--check"])))?;
    steps.step("clippy", |_| command::run(&mut clippy(&postgres)))?;
    // Both libraries are called cache_sync, so the extension's pages go before, not beside.
    steps.step("docs of the extension", |_| command::run(&mut docs(&postgres, true)))?;
    steps.step("docs", |_| command::run(&mut docs(&postgres, false)))?;
    for (variant, name) in [(Variant::Plain, "extension"), (Variant::TestFaults, "extension with test faults")] {
        steps.step(name, |_| Tree::build(&postgres, variant, Profile::from_env()))?;
    }
    let trees = Tree::parent_dir(&postgres)?;
    steps.step("tests", |steps| {
        let mut tests = cargo();
        // The extension has no tests of its own that could be linked outside a server.
        tests.args(["test", "--workspace", "--exclude", "cache-sync-pg", "--no-fail-fast"]);
        steps.count_tests(tests.env(TREES_VARIABLE, &trees))
    })?;
    steps.step("soak", |_| {
        let mut soak = program::command("cache-sync-torture");
        command::run(soak.args(["--seconds", "25"]).env(TREES_VARIABLE, &trees))
    })?;
    steps.step("demo", |_| {
        let mut demo = program::command("cache-sync-demo");
        command::run(demo.args(["--seconds", "5", "--scale", "1"]).env(TREES_VARIABLE, &trees))
    })
}

/// The features that make the whole workspace compile against `postgres`.
fn with_postgres<'a>(command: &'a mut Command, postgres: &Postgres) -> &'a mut Command {
    let feature = format!("cache-sync-pg/{}", postgres.feature());
    command.args(["--no-default-features", "--features", &feature]).envs(build_command_env(postgres))
}

fn clippy(postgres: &Postgres) -> Command {
    let mut command = cargo();
    with_postgres(command.args(["clippy", "--workspace", "--all-targets"]), postgres).args(["--", "-D", "warnings"]);
    command
}

fn docs(postgres: &Postgres, of_extension: bool) -> Command {
    let mut command = cargo();
    command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    if of_extension {
        with_postgres(command.args(["--package", "cache-sync-pg", "--document-private-items"]), postgres);
    } else {
        command.args(["--workspace", "--exclude", "cache-sync-pg"]);
    }
    command
}

/// rustfmt and clippy, which a minimal Rust lacks.
fn components() -> Result<()> {
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !command::succeeds(cargo().args([tool, "--version"])) {
            println!("Installing {component}");
            command::run(Command::new("rustup").args(["component", "add", component]).current_dir(workspace_root()))?;
        }
    }
    Ok(())
}
