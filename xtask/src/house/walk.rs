//! The walks that the docs list: each step is a function, and the code goes from one to the next as they say.

mod folder;
mod link;
mod text;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use cache_sync_kit::Result;

use super::functions::{self, Function};
use folder::Folder;
use text::{DOCUMENT, Step, Walk};

/// The walks that must be there.
const LISTED: [&str; 3] = ["read", "write", "change"];

/// What is wrong with the walks of [`DOCUMENT`].
///
/// # Errors
/// A file that they name is not Rust.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let (walks, mut findings) = text::read(&fs::read_to_string(root.join(DOCUMENT))?);
    let mut files = Files { root, read: HashMap::new() };
    for walk in &walks {
        files.check(walk, &mut findings)?;
    }
    Ok(findings)
}

/// Which of [`LISTED`] the document lacks.
///
/// # Errors
/// The document cannot be read.
pub(crate) fn lacking(root: &Path) -> Result<Vec<String>> {
    let (walks, _) = text::read(&fs::read_to_string(root.join(DOCUMENT))?);
    let is_there = |name: &&&str| walks.iter().any(|walk| walk.name == **name);
    Ok(LISTED.iter().filter(|name| !is_there(name)).map(|name| format!("{DOCUMENT} lacks the walk {name}")).collect())
}

/// The functions of the files that the walks lead through.
struct Files<'a> {
    root: &'a Path,
    read: HashMap<String, Vec<Function>>,
}

impl Files<'_> {
    fn check(&mut self, walk: &Walk, findings: &mut Vec<String>) -> Result<()> {
        for step in &walk.steps {
            if !self.read.contains_key(&step.file) {
                // A file that is not there has no functions.
                let text = fs::read_to_string(self.root.join(&step.file)).unwrap_or_default();
                self.read.insert(step.file.clone(), functions::read(&step.file, &text)?);
            }
        }
        let mut note = |step: &Step, what: String| {
            findings.push(format!("{DOCUMENT}:{}: walk {}: {what}", step.line, walk.name));
        };
        self.check_folders(walk, &mut note);
        let found: Vec<Option<&Function>> = walk.steps.iter().map(|step| self.find(step)).collect();
        for (step, _) in walk.steps.iter().zip(&found).filter(|(_, function)| function.is_none()) {
            note(step, format!("there is no {} in {}", step.function, step.file));
        }
        let Some(functions) = found.into_iter().collect::<Option<Vec<&Function>>>() else { return Ok(()) };
        for (at, what) in link::check(walk, &functions) {
            note(&walk.steps[at], what);
        }
        Ok(())
    }

    fn find(&self, step: &Step) -> Option<&Function> {
        let functions = self.read.get(&step.file)?;
        functions.iter().find(|function| !function.is_in_tests && function.full_name() == step.function)
    }

    fn check_folders(&self, walk: &Walk, note: &mut impl FnMut(&Step, String)) {
        let mut left: Vec<Folder> = Vec::new();
        for step in &walk.steps {
            let folder = Folder::of(self.root, &step.file);
            if left.last() == Some(&folder) {
                continue;
            }
            if left.contains(&folder) {
                note(step, format!("{folder} is entered again"));
            }
            left.push(folder);
        }
    }
}

#[cfg(test)]
mod tests;
