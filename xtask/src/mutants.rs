//! Takes each rule out of a scratch copy and checks that its test turns red.
//!
//! A file `tests/mutants/*.patch` starts with `# rule: <number>` and `# test: <package> <test's full name>`; the rest is a
//! patch that takes the rule out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use cache_sync_cluster::{Error, Result, setup, workspace_root};
use serde_json::json;

use crate::scratch::{Run, Scratch};

/// How many lines of a failed compilation or test are shown.
const LINES_SHOWN: usize = 30;

struct Mutant {
    file: PathBuf,
    rule: u32,
    package: String,
    test: String,
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
    let (only, json_file) = options(args)?;
    let mut mutants = read_all(&workspace_root().join("tests/mutants"))?;
    mutants.retain(|mutant| only.is_none_or(|rule| rule == mutant.rule));
    if mutants.is_empty() {
        return Err(Error::new("there is no such mutant in tests/mutants"));
    }
    setup()?;
    let mut scratch = Scratch::new()?;
    let mut results = Vec::new();
    for mutant in &mutants {
        let begun = Instant::now();
        println!("rule {}: {} ...", mutant.rule, name(&mutant.file));
        let verdict = try_one(&mut scratch, mutant)?;
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
        fs::write(file, format!("{:#}\n", serde_json::Value::from(list)))?;
    }
    Ok(if caught == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn try_one(scratch: &mut Scratch, mutant: &Mutant) -> Result<Verdict> {
    scratch.restore()?;
    scratch.compile(&mutant.package)?;
    match scratch.test(&mutant.package, &mutant.test)? {
        (Run::Green, _) => {}
        (Run::NoSuchTest, _) => return Ok(Verdict::NoSuchTest),
        (Run::Red | Run::TimedOut, said) => {
            show(&said);
            return Ok(Verdict::RedBefore);
        }
    }
    if let Err(error) = scratch.apply(&mutant.file) {
        show(&error.to_string());
        return Ok(Verdict::DoesNotApply);
    }
    if let Err(error) = scratch.compile(&mutant.package) {
        show(&error.to_string());
        return Ok(Verdict::DoesNotCompile);
    }
    Ok(match scratch.test(&mutant.package, &mutant.test)?.0 {
        Run::Green => Verdict::Survived,
        // A test that waits for ever has noticed too, if rudely.
        Run::Red | Run::TimedOut => Verdict::Caught,
        Run::NoSuchTest => Verdict::NoSuchTest,
    })
}

/// The end of what a command said.
fn show(said: &str) {
    let lines: Vec<&str> = said.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
        println!("    {line}");
    }
}

fn options(args: &[String]) -> Result<(Option<u32>, Option<PathBuf>)> {
    let (mut only, mut json_file) = (None, None);
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let value = args.next().ok_or_else(|| Error::new(format!("{option} wants a value")))?;
        match option.as_str() {
            "--only" => {
                only = Some(value.parse().map_err(|_| Error::new(format!("--only wants a number, not {value}")))?);
            }
            "--json" => json_file = Some(value.into()),
            _ => return Err(Error::new(format!("mutants knows --only RULE and --json FILE, not {option}"))),
        }
    }
    Ok((only, json_file))
}

fn read_all(dir: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| Error::new(format!("{}: {error}", dir.display())))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&file)?;
            mutants.push(parse(&file, &text).ok_or_else(|| {
                Error::new(format!("{} lacks `# rule: N` or `# test: package name`", file.display()))
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
    })
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_header() {
        let mutant = parse(Path::new("a.patch"), "# rule: 7\n# test: cache-sync-tests gap::raises\n\ndiff --git a b\n");
        let mutant = mutant.unwrap();
        assert_eq!((mutant.rule, &*mutant.package, &*mutant.test), (7, "cache-sync-tests", "gap::raises"));
        assert!(parse(Path::new("a.patch"), "# rule: x\n").is_none());
    }
}
