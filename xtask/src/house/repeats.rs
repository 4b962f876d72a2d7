//! Lines that stand twice.

use std::collections::HashMap;
use std::path::Path;

use cache_sync_kit::Result;

use super::sizes::files;

/// A run of so many lines may not stand twice.
const LINES_MIN: usize = 10;

/// A line that counts: not blank, no comment, attribute, import or brace.
struct Line {
    place: String,
    text: String,
}

/// Every pair of places at which the same run of lines begins, in the crates' `src` and in the extension's SQL.
pub(super) fn findings(root: &Path) -> Result<Vec<String>> {
    let mut sources = Vec::new();
    for file in files(root, &["*/src/*.rs", "pg_ext/sql/*.sql"])? {
        let text = std::fs::read_to_string(root.join(&file))?;
        sources.push(lines(&file.display().to_string(), &text));
    }
    Ok(repeats(&sources))
}

fn lines(name: &str, text: &str) -> Vec<Line> {
    let mut is_import = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let begins_import = ["use ", "pub use ", "pub(crate) use "].iter().any(|begin| line.starts_with(begin));
        is_import |= begins_import;
        let counts = line.chars().any(char::is_alphanumeric)
            && !["//", "--", "#"].iter().any(|begin| line.starts_with(begin))
            && !is_import;
        if is_import && line.ends_with(';') {
            is_import = false;
        }
        if counts {
            lines.push(Line { place: format!("{name}:{}", number + 1), text: line.to_owned() });
        }
    }
    lines
}

fn repeats(sources: &[Vec<Line>]) -> Vec<String> {
    let mut seen: HashMap<Vec<&str>, &str> = HashMap::new();
    let mut findings = Vec::new();
    for lines in sources {
        let mut skip = 0;
        for run in lines.windows(LINES_MIN) {
            let texts: Vec<&str> = run.iter().map(|line| line.text.as_str()).collect();
            let first = *seen.entry(texts).or_insert(&run[0].place);
            skip = usize::saturating_sub(skip, 1);
            // The lines after the first of a run that is told begin runs of their own.
            if first != run[0].place && skip == 0 {
                findings.push(format!("{first} and {}", run[0].place));
                skip = LINES_MIN;
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_stands_twice_is_told_once() {
        let text: String = (0..12).map(|line| format!("let a{line} = {line};\n\n")).collect();
        let sources = [lines("a", &text), lines("b", &format!("fn f() {{\n{text}}}"))];
        assert_eq!(repeats(&sources), ["a:1 and b:2"]);
        let shorter: String = text.lines().take(2 * LINES_MIN - 2).map(|line| format!("{line}\n")).collect();
        assert!(repeats(&[lines("a", &text), lines("b", &shorter)]).is_empty());
    }

    #[test]
    fn comments_imports_and_braces_are_no_lines() {
        let text = "// a\n#[b]\nuse c::{\n    d,\n};\n}\n\nlet e = 1;\n";
        let counted: Vec<_> = lines("a", text).into_iter().map(|line| line.text).collect();
        assert_eq!(counted, ["let e = 1;"]);
    }
}
