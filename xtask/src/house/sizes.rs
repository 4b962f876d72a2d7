//! Functions and files that are too long to be read at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Error, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Most lines of a function, from its `fn` to its last brace.
const FUNCTION_LINES_MAX: usize = 60;
/// Most lines of a file.
const FILE_LINES_MAX: usize = 400;
/// What was made elsewhere, and is kept as it came.
const FIXTURES: &str = "tests/fixtures/";

/// Every function and file that is too long.
pub(super) fn findings(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in files(root, &["*.rs", "*.sql"])? {
        let text = std::fs::read_to_string(root.join(&file))?;
        let name = file.display().to_string();
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{name} has {lines} lines"));
        }
        if file.extension().is_some_and(|extension| extension == "rs") {
            findings.extend(long_functions(&name, &text)?);
        }
    }
    Ok(findings)
}

/// The files of the repository that have such names, without fixtures.
pub(super) fn files(root: &Path, patterns: &[&str]) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).args(patterns).current_dir(root);
    let listed = git.output()?;
    if !listed.status.success() {
        return Err(Error::from("`git ls-files` failed: a git checkout is needed"));
    }
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = names.split('\0').filter(|name| !name.is_empty() && !name.starts_with(FIXTURES));
    Ok(names.map(PathBuf::from).filter(|name| root.join(name).is_file()).collect())
}

fn long_functions(name: &str, text: &str) -> Result<Vec<String>> {
    let syntax = syn::parse_file(text).map_err(|error| Error::from(format!("{name}: {error}")))?;
    let mut found = Functions { name, findings: Vec::new() };
    found.visit_file(&syntax);
    Ok(found.findings)
}

struct Functions<'a> {
    name: &'a str,
    findings: Vec<String>,
}

impl Functions<'_> {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.fn_token.span().start().line, block.span().end().line);
        let lines = last + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            self.findings.push(format!("{}:{first}: {} has {lines} lines", self.name, signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_function_is_told() {
        let text = |lines: usize| format!("impl A {{\n    fn f() {{\n{}    }}\n}}\n", "        g();\n".repeat(lines));
        assert!(long_functions("a.rs", &text(58)).unwrap().is_empty());
        assert_eq!(long_functions("a.rs", &text(59)).unwrap(), ["a.rs:2: f has 61 lines"]);
    }
}
