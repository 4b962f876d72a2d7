//! The project's one door: `cargo xtask demo | test | bench | torture | regress | mutants | house | package`.
//!
//! ```text
//! test     every check, step by step       mutants  takes each rule out and asks its test
//! program  runs demo, benchmarks and torture        scratch  the copy that mutants breaks
//! regress  PostgreSQL's own tests with the library    house    the code against its plan
//! steps    headings, times                      package  what users install
//! pictures the guide's, from their texts
//! ```
#![forbid(unsafe_code)]

mod house;
mod mutants;
mod package;
mod pictures;
mod program;
mod regress;
mod scratch;
mod steps;
mod test;

use std::path::Path;
use std::process::ExitCode;

use cache_sync_cluster::{Profile, Tree, setup};
use cache_sync_kit::Result;

const USAGE: &str = "\
usage: cargo xtask <what> [options]

  demo       pgbench and two processes with the SDK on one throw-away cluster; checks that nothing is lost or stale
             [--seconds N] [--nodes N] [--scale N] [--json FILE] [--keep]
             --web: a page to look at, beside Redis  [--port N] [--listen ADDRESS] [--seconds N] [--bench FILE]
  test       everything that CI checks: format, clippy, docs, tests, a short demo
  bench      the figures to hold, each against what it is compared with; `bench feed` those of the feed;
             `bench peers` the same loads on Redis and others
             [NAME ...] [--rounds N] [--seconds N] [--full] [--json FILE]
  torture    random statements and kills, then faults of every kind; what nodes did and saw is held against the promises
             [--minutes N | --seconds N] [--seed N] [--faults NAME,...] [--json FILE]
  regress    PostgreSQL's own regression tests: without the library, preloaded, and with every table attached
             [--json FILE]
  mutants    takes each rule out of a scratch copy and checks that its test turns red
             [--only RULE] [--json FILE]
  house      the rooms of each crate, and whether the code keeps to their plan; --write draws them for the docs, --svg into
             another directory, also those of another revision
             [--crate NAME] [--write] [--at REVISION] [--svg DIR] [--json FILE]
  package    what users install: packages of Debian, archives, an image, the crates; each is tried
             [server] [pgxn] [image] [crates] [--pg 15,17,18] [--twice] [--json FILE]
  pictures   draws the guide's pictures from their texts
  extension  builds the extension into a private copy of PostgreSQL and prints where that is
  sql        writes the scripts of CREATE EXTENSION and ALTER EXTENSION into a directory
             DIR
  licences   writes the licences of the crates that are linked into the library for a PostgreSQL into a file
             MAJOR FILE

Each but the last two finds PostgreSQL 15 to 18 and what else it needs, or installs it (Debian, Ubuntu), or says what to install.
  CACHE_SYNC_PG_CONFIG=/path/to/pg_config   this PostgreSQL, not the newest
  CACHE_SYNC_PROFILE=dev                    compile the extension quickly, not well
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (what, rest) = match args.split_first() {
        Some((what, rest)) => (what.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match what {
        "test" if rest.is_empty() => test::run(),
        "demo" => program::run("cache-sync-demo", rest),
        "bench" => program::run("cache-sync-bench", rest),
        "torture" => program::run("cache-sync-torture", rest),
        "mutants" => mutants::run(rest),
        "house" => house::run(rest),
        "pictures" if rest.is_empty() => pictures::run(),
        "regress" => regress::run(rest),
        "package" => package::run(rest),
        "extension" if rest.is_empty() => extension(),
        "sql" if rest.len() == 1 => sql(Path::new(&rest[0])),
        "licences" if rest.len() == 2 => package::licences(&rest[0], Path::new(&rest[1])),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nxtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds both variants and prints the directory of their trees, alone on the last line.
fn extension() -> Result<ExitCode> {
    println!("{}", Tree::build_all(&setup()?, Profile::from_env())?.display());
    Ok(ExitCode::SUCCESS)
}

/// Puts the extension's scripts together.
fn sql(dir: &Path) -> Result<ExitCode> {
    cache_sync_cluster::write_scripts(dir)?;
    Ok(ExitCode::SUCCESS)
}
