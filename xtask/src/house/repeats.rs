//! Runs of lines that stand in a crate twice.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use cache_sync_kit::Result;

use super::sources;

/// So many lines in a row are one run too long.
const RUN_LINES: usize = 10;

/// A line that says something.
struct Line {
    file: usize,
    number: usize,
    text: String,
}

/// The repeats in the sources of these crates, and in their SQL.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn check(root: &Path, crates: &[String]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (part, extension) in [("/src/", "rs"), ("/sql/", "sql")] {
        let (mut files, mut lines) = (Vec::new(), Vec::new());
        for name in crates {
            files.extend(sources::below(root, name, &[extension])?.into_iter().filter(|file| file.contains(part)));
        }
        for (index, file) in files.iter().enumerate() {
            lines.extend(telling_lines(index, &fs::read_to_string(root.join(file))?, extension));
        }
        findings.extend(repeats(&files, &lines));
    }
    Ok(findings)
}

/// The lines without blank ones, comments, attributes, imports and lone punctuation.
fn telling_lines(file: usize, text: &str, extension: &str) -> Vec<Line> {
    let comment = if extension == "sql" { "--" } else { "//" };
    let mut lines = Vec::new();
    // What ends an attribute or an import that goes over several lines.
    let mut until: Option<char> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(end) = until {
            until = (!line.ends_with(end)).then_some(end);
        } else if extension == "rs" && (line.starts_with("#[") || line.starts_with("#![")) {
            until = (!line.ends_with(']')).then_some(']');
        } else if extension == "rs" && is_import(line) {
            until = (!line.ends_with(';')).then_some(';');
        } else if line.contains(char::is_alphanumeric) && !line.starts_with(comment) {
            lines.push(Line { file, number: at + 1, text: line.to_owned() });
        }
    }
    lines
}

fn is_import(line: &str) -> bool {
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches("(crate)").trim_start_matches("(super)").trim_start(),
        None => line,
    };
    line.starts_with("use ")
}

/// Each pair of runs once, as long as it goes.
fn repeats(files: &[String], lines: &[Line]) -> Vec<String> {
    let mut starts: HashMap<Vec<&str>, Vec<usize>> = HashMap::new();
    let is_one_file = |window: &[Line]| window[0].file == window[RUN_LINES - 1].file;
    for (at, window) in lines.windows(RUN_LINES).enumerate().filter(|(_, window)| is_one_file(window)) {
        starts.entry(window.iter().map(|line| line.text.as_str()).collect()).or_default().push(at);
    }
    let same = |a: usize, b: usize| lines.get(a).zip(lines.get(b)).is_some_and(|(a, b)| a.text == b.text);
    let in_file = |at: usize, file: usize| lines.get(at).is_some_and(|line| line.file == file);
    let mut pairs: Vec<(usize, usize)> = starts
        .values()
        .flat_map(|places| places.iter().flat_map(|&a| places.iter().map(move |&b| (a, b))))
        .filter(|&(a, b)| a < b)
        .collect();
    pairs.sort_unstable();
    let mut findings = Vec::new();
    for (a, b) in pairs {
        let (file_a, file_b) = (lines[a].file, lines[b].file);
        // The run has been told of from its start on.
        let goes_on = a > 0 && in_file(a - 1, file_a) && in_file(b - 1, file_b) && same(a - 1, b - 1);
        if goes_on {
            continue;
        }
        let more = |run: usize| in_file(a + run, file_a) && in_file(b + run, file_b) && same(a + run, b + run);
        let run = (RUN_LINES..).find(|&run| !more(run)).unwrap_or(RUN_LINES);
        let place =
            |at: usize| format!("{}:{}-{}", files[lines[at].file], lines[at].number, lines[at + run - 1].number);
        findings.push(format!("{} stands again at {} ({run} lines)", place(a), place(b)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn run(name: &str, lines: usize) -> String {
        (0..lines).map(|line| format!("    {name}{line}();\n")).collect()
    }

    #[test]
    fn finds_a_run_that_stands_twice() {
        let a = format!("use x;\nfn a() {{\n{}}}\n", run("f", 12));
        let b = format!(
            "fn b() {{\n    before();\n{}\n    // why\n    }}\n{}}}\n",
            run("f", 5),
            run("f", 12).replace("f0", "g")
        );
        let c = format!("mod c {{\n    fn c() {{\n{}    }}\n}}\n", run("f", 11));
        let file = Fixture::new(&[("k/src/a.rs", &a), ("k/src/b.rs", &b), ("l/src/c.rs", &c)]);
        let found = check(file.root(), &["k".into(), "l".into()]).unwrap();
        let expected = [
            "k/src/a.rs:3-13 stands again at l/src/c.rs:3-13 (11 lines)",
            "k/src/a.rs:4-14 stands again at k/src/b.rs:12-22 (11 lines)",
            "k/src/b.rs:12-21 stands again at l/src/c.rs:4-13 (10 lines)",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nine_lines_may_stand_twice_and_so_may_imports_and_attributes() {
        let text = format!(
            "pub(crate) use a::{{\n{}}};\n#[derive(\n    A\n)]\n{}",
            run("x", 9).replace("();", ","),
            run("f", 9)
        );
        let file = Fixture::new(&[("k/src/a.rs", &text), ("k/src/b.rs", &text), ("k/sql/a.sql", &run("f", 10))]);
        assert!(check(file.root(), &["k".into()]).unwrap().is_empty());
    }
}
