//! How long functions and files may be.

use std::fs;
use std::path::Path;

use cache_sync_kit::Result;

use super::functions;
use super::sources;

/// From the line of `fn` to that of the closing brace.
const FUNCTION_LINES_MAX: usize = 60;
const FILE_LINES_MAX: usize = 400;

/// What is too long in a crate.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn check(root: &Path, name: &str) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in sources::below(root, name, &["rs", "sql"])? {
        let text = fs::read_to_string(root.join(&file))?;
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{file}: {lines} lines (at most {FILE_LINES_MAX})"));
        }
        if file.ends_with(".rs") {
            for function in functions::read(&file, &text)? {
                let lines = function.last_line - function.first_line + 1;
                if lines > FUNCTION_LINES_MAX {
                    let place = format!("{file}:{}: {}", function.first_line, function.full_name());
                    findings.push(format!("{place} has {lines} lines (at most {FUNCTION_LINES_MAX})"));
                }
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn finds_long_functions_wherever_they_stand() {
        let long = |head: &str| format!("{head} {{\n{}}}\n", "    g();\n".repeat(59));
        let fitting = format!("/// A comment\n/// of two lines.\nfn fits() {{\n{}}}\n", "    g();\n".repeat(58));
        let method = format!("impl T {{ {} }}\n", long("fn method()"));
        let in_macro = format!("functions! {{\n{}}}\n", long("fn in_macro / finfo(a)"));
        let test = format!("#[cfg(test)] mod tests {{\n{}}}\n", long("#[test] fn a_test()"));
        let file = Fixture::new(&[("a/src/lib.rs", &[fitting, method, in_macro, test].concat())]);
        let found = check(file.root(), "a").unwrap();
        assert_eq!(found.len(), 3, "{found:#?}");
        for (name, found) in ["T::method", "in_macro", "a_test"].iter().zip(&found) {
            assert!(found.contains(name) && found.contains("61 lines"), "{found}");
        }
    }

    #[test]
    fn finds_long_files() {
        let files = [("a/src/lib.rs", &*"// b\n".repeat(400)), ("a/sql/a.sql", &*"SELECT 1;\n".repeat(401))];
        let file = Fixture::new(&files);
        assert_eq!(check(file.root(), "a").unwrap(), ["a/sql/a.sql: 401 lines (at most 400)"]);
    }
}
