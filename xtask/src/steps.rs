//! Headings and times.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cache_sync_kit::{Error, Result};

/// The steps taken so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Duration, bool)>,
    passed: u64,
    failed: u64,
    failures: Failures,
}

impl Steps {
    /// Takes one step under a heading.
    pub(crate) fn step<T>(&mut self, name: &'static str, work: impl FnOnce(&mut Steps) -> Result<T>) -> Result<T> {
        println!("\n==== {name} ====");
        let begun = Instant::now();
        let result = work(self);
        let took = begun.elapsed();
        self.done.push((name, took, result.is_ok()));
        match &result {
            Ok(_) => println!("---- {name}: {:.1} s", took.as_secs_f64()),
            Err(error) => println!("---- {name}: FAILED after {:.1} s: {error}", took.as_secs_f64()),
        }
        result
    }

    /// Runs cargo's tests, shows what they say and counts them.
    pub(crate) fn count_tests(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines() {
                let line = line?;
                println!("{line}");
                self.failures.hear(&line);
                if let Some((passed, failed)) = test_result(&line) {
                    self.passed += passed;
                    self.failed += failed;
                }
            }
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(Error::from(format!("cargo test ({status})"))) }
    }

    /// The table of steps and the tests' sum.
    pub(crate) fn print_summary(&self) {
        println!("\n{:<44} {:>8}", "step", "seconds");
        for (name, took, ok) in &self.done {
            println!("{name:<44} {:>8.1}  {}", took.as_secs_f64(), if *ok { "ok" } else { "FAILED" });
        }
        let all: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        println!("{:<44} {:>8.1}", "all", all.as_secs_f64());
        println!("{} passed, {} failed", self.passed, self.failed);
        // Once more, at the end: what failed may be thousands of lines up.
        self.failures.told.iter().for_each(|line| println!("{line}"));
    }
}

/// What failed tests printed first.
#[derive(Default)]
struct Failures {
    told: Vec<String>,
    /// How many more lines are told of the test whose output is being printed.
    left: usize,
}

impl Failures {
    /// How many lines of a test are told.
    const LINES_MAX: usize = 12;

    /// Hears a line of what cargo's tests print: after them come the outputs of those that failed, each under a heading.
    fn hear(&mut self, line: &str) {
        if line.starts_with("---- ") {
            self.left = Failures::LINES_MAX;
        } else if line == "stack backtrace:" || line == "failures:" {
            self.left = 0;
        }
        if self.left > 0 && !line.is_empty() {
            self.left -= 1;
            self.told.push(line.to_owned());
        }
    }
}

/// Passed and failed, from `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
pub(crate) fn test_result(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        let before = counts.split(what).next()?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_failures_without_their_backtraces() {
        let mut failures = Failures::default();
        let lines = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\n\nthread 'a' panicked at f.rs:1:2:\nno\nstack backtrace:\n   0: f\n\n\nfailures:\n    a\n";
        lines.lines().for_each(|line| failures.hear(line));
        assert_eq!(failures.told, ["---- a stdout ----", "thread 'a' panicked at f.rs:1:2:", "no"]);
    }

    #[test]
    fn reads_the_test_result() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(test_result(line), Some((12, 3)));
        assert_eq!(test_result("running 15 tests"), None);
    }
}
