//! Takes each rule out of a scratch copy and checks that its test turns red.
//!
//! A file `tests/mutants/*.patch` starts with `# rule: <number>` and `# test: <package> <test's full name>`; the rest is a
//! patch that takes the rule out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use cache_sync_cluster::{Profile, TREES_VARIABLE, Tree, setup, workspace_root};
use cache_sync_kit::{CommandLine, During, Error, Result, write_json};
use serde_json::json;

use crate::scratch::Scratch;

/// The package whose tests need clusters, and with them the extension.
const BLACK_BOX: &str = "cache-sync-tests";

const LINE: CommandLine<'_> = CommandLine {
    valued: &["--only", "--json"],
    alone: &[],
    usage: "usage: cargo xtask mutants [--only RULE] [--json FILE]",
};

/// What the extension is compiled from.
const EXTENSION_DIRS: [&str; 2] = ["pg_ext/", "core/"];

/// How many lines of a failed compilation or test are shown.
const LINES_SHOWN: usize = 30;

struct Mutant {
    file: PathBuf,
    rule: u32,
    package: String,
    test: String,
    /// The patch changes what the extension is compiled from.
    changes_extension: bool,
}

/// What became of a mutant; only the first is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Caught,
    Survived,
    /// The test is red without the patch: it says nothing.
    RedBefore,
    NoSuchTest,
    DoesNotApply,
    DoesNotCompile,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Caught => "caught",
            Verdict::Survived => "survived",
            Verdict::RedBefore => "test is red without the patch",
            Verdict::NoSuchTest => "no such test",
            Verdict::DoesNotApply => "patch does not apply",
            Verdict::DoesNotCompile => "does not compile",
        }
    }
}

/// Tries every mutant, or those of one rule.
///
/// # Errors
/// The options or a patch's header are wrong, or the copy cannot be made.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let values = LINE.parse(args)?;
    let (only, json_file): (Option<u32>, Option<PathBuf>) = (values.maybe("--only")?, values.maybe("--json")?);
    let mut mutants = read_all(&workspace_root().join("tests/mutants"))?;
    mutants.retain(|mutant| only.is_none_or(|rule| rule == mutant.rule));
    if mutants.is_empty() {
        return Err(Error::from("there is no such mutant in tests/mutants"));
    }
    let mut scratch = Scratch::new()?;
    let trees = if mutants.iter().any(|mutant| mutant.package == BLACK_BOX) { Some(extension()?) } else { None };
    if let Some(trees) = &trees {
        scratch.use_extension(trees.clone());
    }
    let before = before(&scratch, &mutants)?;
    let mut results = Vec::new();
    for mutant in &mutants {
        let begun = Instant::now();
        println!("rule {}: {} ...", mutant.rule, name(&mutant.file));
        let verdict = match before.get(&*mutant.test) {
            Some(true) => try_one(&mut scratch, mutant, trees.as_deref())?,
            Some(false) => Verdict::RedBefore,
            None => Verdict::NoSuchTest,
        };
        let seconds = begun.elapsed().as_secs_f64();
        println!("rule {}: {} ({seconds:.0} s)", mutant.rule, verdict.text());
        results.push((mutant, verdict, seconds));
    }
    scratch.restore()?;
    println!("\n{:>4}  {:<30}  {:<44}  {:>7}", "rule", "verdict", "test", "seconds");
    for (mutant, verdict, seconds) in &results {
        println!("{:>4}  {:<30}  {:<44}  {seconds:>7.0}", mutant.rule, verdict.text(), mutant.test);
    }
    let caught = results.iter().filter(|(_, verdict, _)| *verdict == Verdict::Caught).count();
    println!("{caught} of {} caught", results.len());
    if let Some(file) = json_file {
        let list: Vec<_> = results
            .iter()
            .map(|(mutant, verdict, seconds)| {
                json!({"rule": mutant.rule, "patch": name(&mutant.file), "package": mutant.package, "test": mutant.test,
                       "verdict": verdict.text(), "caught": *verdict == Verdict::Caught, "seconds": seconds})
            })
            .collect();
        write_json(&file, &list.into())?;
    }
    Ok(if caught == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The trees of the extension as it is in the working tree: ready, or built now.
fn extension() -> Result<PathBuf> {
    if let Some(trees) = std::env::var_os(TREES_VARIABLE) {
        return Ok(trees.into());
    }
    Tree::build_all(&setup()?, Profile::from_env())
}

/// Whether each test passes without any patch.
fn before(scratch: &Scratch, mutants: &[Mutant]) -> Result<HashMap<String, bool>> {
    let mut by_package: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for mutant in mutants {
        by_package.entry(&mutant.package).or_default().push(&mutant.test);
    }
    let mut passed = HashMap::new();
    for (package, tests) in by_package {
        println!("without a patch: {} tests of {package} ...", tests.len());
        scratch.compile(package)?;
        let ran = scratch.test(package, &tests)?;
        if ran.timed_out || ran.passed.values().any(|passed| !passed) {
            show(&ran.said);
        }
        passed.extend(ran.passed);
    }
    Ok(passed)
}

fn try_one(scratch: &mut Scratch, mutant: &Mutant, trees: Option<&Path>) -> Result<Verdict> {
    scratch.restore()?;
    if let Err(error) = scratch.apply(&mutant.file) {
        show(&error.to_string());
        return Ok(Verdict::DoesNotApply);
    }
    if let Some(trees) = trees {
        let own = if mutant.changes_extension { scratch.compile_extension() } else { Ok(trees.to_owned()) };
        match own {
            Ok(trees) => scratch.use_extension(trees),
            Err(error) => {
                show(&error.to_string());
                return Ok(Verdict::DoesNotCompile);
            }
        }
    }
    if let Err(error) = scratch.compile(&mutant.package) {
        show(&error.to_string());
        return Ok(Verdict::DoesNotCompile);
    }
    let ran = scratch.test(&mutant.package, &[&mutant.test])?;
    Ok(match ran.passed.get(&mutant.test) {
        Some(true) => Verdict::Survived,
        // A test that waits for ever has noticed too, if rudely, and so has one that does not come to its end.
        Some(false) | None => Verdict::Caught,
    })
}

/// The end of what a command said.
fn show(said: &str) {
    let lines: Vec<&str> = said.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
        println!("    {line}");
    }
}

fn read_all(dir: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(dir).during(|| dir.display().to_string())? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&file)?;
            mutants.push(parse(&file, &text).ok_or_else(|| {
                Error::from(format!("{} lacks `# rule: N` or `# test: package name`", file.display()))
            })?);
        }
    }
    mutants.sort_by(|a, b| (a.rule, &a.file).cmp(&(b.rule, &b.file)));
    Ok(mutants)
}

fn parse(file: &Path, text: &str) -> Option<Mutant> {
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let (package, test) = header("# test:")?.split_once(' ')?;
    Some(Mutant {
        file: file.to_owned(),
        rule: header("# rule:")?.parse().ok()?,
        package: package.to_owned(),
        test: test.trim().to_owned(),
        changes_extension: text
            .lines()
            .filter_map(|line| line.strip_prefix("+++ b/"))
            .any(|file| EXTENSION_DIRS.iter().any(|dir| file.starts_with(dir))),
    })
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_sync_kit::command;

    const RULES: u32 = 51;

    #[test]
    fn reads_a_header() {
        let mutant = parse(Path::new("a.patch"), "# rule: 7\n# test: cache-sync-tests gap::raises\n\ndiff --git a b\n");
        let mutant = mutant.unwrap();
        assert_eq!((mutant.rule, &*mutant.package, &*mutant.test), (7, "cache-sync-tests", "gap::raises"));
        assert!(!mutant.changes_extension);
        let text = "# rule: 1\n# test: p t\n--- a/pg_ext/src/ring.rs\n+++ b/pg_ext/src/ring.rs\n";
        assert!(parse(Path::new("a.patch"), text).unwrap().changes_extension);
        assert!(parse(Path::new("a.patch"), "# rule: x\n").is_none());
    }

    /// Trying them takes minutes; that each rule has one which fits the code is told at once.
    #[test]
    fn every_rule_has_a_patch_that_applies() {
        let mutants = read_all(&workspace_root().join("tests/mutants")).unwrap();
        let mut rules: Vec<u32> = mutants.iter().map(|mutant| mutant.rule).collect();
        // A rule may be broken in more ways than one.
        rules.dedup();
        assert_eq!(rules, (1..=RULES).collect::<Vec<_>>());
        for mutant in mutants {
            let mut git = std::process::Command::new("git");
            command::output(git.args(["apply", "--check"]).arg(&mutant.file).current_dir(workspace_root())).unwrap();
        }
    }
}
