//! Who imports whom.

use std::collections::{BTreeMap, BTreeSet};

use super::names::definer;
use super::source::{File, Named, Source};

/// A file takes something from another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    /// The module that imports.
    pub(super) from: Vec<String>,
    /// The module that defines what is imported.
    pub(super) to: Vec<String>,
    /// Where it is written, and what.
    pub(super) place: String,
}

impl Arrow {
    /// The rooms at both ends; `lib` for what `lib.rs` itself defines.
    pub(super) fn rooms(&self) -> (&str, &str) {
        (room(&self.from), room(&self.to))
    }
}

/// The room that a module is in.
pub(super) fn room(module: &[String]) -> &str {
    module.first().map_or("lib", String::as_str)
}

/// The arrows of a crate, without those of `lib.rs`, which stands above all.
pub(super) fn of(source: &Source) -> Vec<Arrow> {
    let mut arrows = BTreeSet::new();
    for (module, file) in source.files.iter().filter(|(module, _)| !module.is_empty()) {
        let mut add = |named: &Named| {
            if let Some(to) = definer(source, module, named).filter(|to| to != module) {
                let place = format!("{}:{}: {}", file.path, named.line, named.path.join("::"));
                arrows.insert(Arrow { from: module.clone(), to, place });
            }
        };
        file.paths.iter().for_each(&mut add);
        let takes = |named: &Named| definer(source, module, named).is_some_and(|to| to.starts_with(module));
        for import in &file.imports {
            // A face that hands on what its own folder defines takes nothing of it, unless it uses the name itself.
            let is_only_handed_on = import.is_handed_on && takes(&import.named) && !uses(file, &import.called);
            if !is_only_handed_on {
                add(&import.named);
            }
        }
    }
    arrows.into_iter().collect()
}

fn uses(file: &File, name: &str) -> bool {
    file.begun_with.contains(name)
}

/// Which room imports which other ones.
pub(super) fn between_rooms(arrows: &[Arrow]) -> BTreeMap<String, BTreeSet<String>> {
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in arrows.iter().map(Arrow::rooms).filter(|(from, to)| from != to) {
        rooms.entry(from.to_owned()).or_default().insert(to.to_owned());
    }
    rooms
}
