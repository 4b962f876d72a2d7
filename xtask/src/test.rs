//! Every check, step by step, up to the first that fails.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use cache_sync_cluster::{
    Postgres, Profile, TREES_VARIABLE, Tree, build_command_env, cargo, setup, setup_tools, workspace_root,
};
use cache_sync_kit::{Error, Result, command};

use crate::program;
use crate::steps::Steps;

/// What has tests. The extension has none of its own that could be linked outside a server. Everything is compiled as this, so that
/// nothing is compiled twice with other features.
const TESTED: [&str; 3] = ["--workspace", "--exclude", "cache-sync-pg"];

/// What runs beside the tests.
const PROGRAMS: [&str; 2] = [TORTURE, DEMO];
const TORTURE: &str = "cache-sync-torture";
const DEMO: &str = "cache-sync-demo";

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
    // The last step of a library that is compiled as one unit keeps only one processor busy.
    let trees = std::thread::scope(|scope| {
        let trees = scope.spawn(|| extension(&postgres));
        let checked = checks(steps, &postgres);
        let trees = steps.step("extension, beside that", |_| {
            trees.join().map_err(|_| Error::from("the thread that builds the extension panicked"))?
        });
        checked.and(trees)
    })?;
    // Both libraries are called cache_sync: the extension's pages, made beside that, go before.
    steps.step("docs", |_| command::run(&mut Half::Others.docs(&postgres)))?;
    steps.step("tests", |steps| {
        steps.count_tests(cargo().args(["test", "--no-fail-fast"]).args(TESTED).env(TREES_VARIABLE, &trees))
    })?;
    steps.step("soak", |_| {
        let mut soak = program::command(TORTURE);
        // The same faults each time: looking for others takes longer than this.
        command::run(soak.args(["--seconds", "22", "--seed", "11"]).env(TREES_VARIABLE, &trees))
    })?;
    steps.step("demo", |_| {
        let mut demo = program::command(DEMO);
        command::run(demo.args(["--seconds", "5", "--scale", "1"]).env(TREES_VARIABLE, &trees))
    })
}

/// What needs no extension: form, lints, and that all compiles.
fn checks(steps: &mut Steps, postgres: &Postgres) -> Result<()> {
    steps.step("format", |_| command::run(cargo().args(["fmt", "--all", "--check"])))?;
    steps.step("clippy", |_| command::run(&mut Half::Others.clippy(postgres)))?;
    // Beside the others it has all its features: what is there without them is compiled nowhere else.
    steps.step("clippy, the SDK alone", |_| {
        command::run(cargo().args(["clippy", "--package", "cache-sync", "--", "-D", "warnings"]))
    })?;
    // Of features that are always on together one may lean upon another.
    steps.step("features, each alone", |_| {
        ["tls", "metrics", "in-memory"].into_iter().try_for_each(|feature| {
            let sdk = ["clippy", "--package", "cache-sync", "--no-default-features", "--features", feature];
            command::run(cargo().args(sdk).args(["--", "-D", "warnings"]))
        })
    })?;
    steps.step("tests, compiled", |_| command::run(cargo().args(["test", "--no-run"]).args(TESTED)))?;
    let programs = PROGRAMS.into_iter().flat_map(|program| ["--bin", program]);
    steps.step("programs, compiled", |_| command::run(cargo().arg("build").args(programs).args(TESTED)))
}

/// The extension's lints and documents, and its trees.
fn extension(postgres: &Postgres) -> Result<PathBuf> {
    command::run(&mut Half::Extension.clippy(postgres))?;
    command::run(&mut Half::Extension.docs(postgres))?;
    Tree::build_all(postgres, Profile::from_env())
}

/// Half of the workspace. Each is linted as it is documented and compiled: with the same features, and the same profile, so that nothing
/// is compiled twice.
#[derive(Clone, Copy)]
enum Half {
    Extension,
    Others,
}

impl Half {
    fn clippy(self, postgres: &Postgres) -> Command {
        let mut command = self.command("clippy", postgres);
        command.args(["--all-targets", "--", "-D", "warnings"]);
        command
    }

    fn docs(self, postgres: &Postgres) -> Command {
        let mut command = self.command("doc", postgres);
        command.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
        if matches!(self, Half::Extension) {
            command.arg("--document-private-items");
        }
        command
    }

    /// A command of cargo for it; the extension is compiled against `postgres`.
    fn command(self, name: &str, postgres: &Postgres) -> Command {
        let mut command = cargo();
        command.arg(name);
        match self {
            Half::Extension => {
                let feature = postgres.feature();
                command.args(["--package", "cache-sync-pg", "--no-default-features", "--features", &feature]);
                command.args(["--profile", Profile::from_env().name()]).envs(build_command_env(postgres));
            }
            Half::Others => {
                command.args(TESTED);
            }
        }
        command
    }
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
