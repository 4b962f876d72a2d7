//! Where a name leads: to the file that defines it, through what faces hand on.

use super::source::{File, Named, Source};

/// A path is followed through so many `pub use` at most.
const HANDED_ON_MAX: usize = 16;

/// The module that defines what the path, written in `module`, names; `None` for what is not this crate's.
pub(super) fn definer(source: &Source, module: &[String], named: &Named) -> Option<Vec<String>> {
    follow(source, module, &named.path, HANDED_ON_MAX)
}

fn follow(source: &Source, module: &[String], path: &[String], hops: usize) -> Option<Vec<String>> {
    let (mut at, mut rest) = start(source, module, path)?;
    while let Some((next, after)) = rest.split_first() {
        let file = source.files.get(&at)?;
        if file.children.contains(next) {
            at.push(next.clone());
            rest = after;
            continue;
        }
        return handed_on(source, file, &at, next, hops).or(Some(at));
    }
    Some(at)
}

/// The module that a path begins in, and what follows.
fn start<'p>(source: &Source, module: &[String], path: &'p [String]) -> Option<(Vec<String>, &'p [String])> {
    let (first, after) = path.split_first()?;
    match first.as_str() {
        "crate" => Some((Vec::new(), after)),
        "self" => Some((module.to_vec(), after)),
        "super" => {
            let mut at = module.to_vec();
            let mut rest = path;
            while let Some((_, after)) = rest.split_first().filter(|(first, _)| *first == "super") {
                at.pop()?;
                rest = after;
            }
            Some((at, rest))
        }
        child if source.files.get(module)?.children.contains(child) => Some((module.to_vec(), path)),
        _ => None,
    }
}

/// Where a name that is not defined in a file, but handed on by it, is defined.
fn handed_on(source: &Source, file: &File, module: &[String], name: &str, hops: usize) -> Option<Vec<String>> {
    let hops = hops.checked_sub(1)?;
    let import = file.imports.iter().find(|import| import.called == name)?;
    follow(source, module, &import.named.path, hops)
}
