//! Where a path leads: to the module that defines the name, whoever hands it on.

use super::crates::{Crate, Module};

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Something that this module defines.
    Item(usize),
    Module(usize),
    /// Another crate, or a name of the function's own.
    Outside,
    /// Nothing that could be found in this module, where it should be.
    Missing(usize),
}

/// How many names lead on to names: more is a circle.
const STEPS_MAX: usize = 32;

/// Follows `path` as written in `module`.
pub(crate) fn resolve(all: &Crate, module: usize, path: &[String]) -> Target {
    Resolver { all, steps: STEPS_MAX }.resolve(module, path)
}

struct Resolver<'a> {
    all: &'a Crate,
    steps: usize,
}

impl Resolver<'_> {
    fn resolve(&mut self, module: usize, path: &[String]) -> Target {
        let Some((first, mut rest)) = path.split_first() else { return Target::Module(module) };
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => self.parent(module),
            name => self.look_up(module, name, !rest.is_empty()).unwrap_or(Target::Outside),
        };
        while let (Target::Module(at), Some((name, after))) = (target, rest.split_first()) {
            target = match name.as_str() {
                "super" => self.parent(at),
                "self" => Target::Module(at),
                name => self.look_up(at, name, !after.is_empty()).unwrap_or(Target::Missing(at)),
            };
            rest = after;
        }
        target
    }

    fn parent(&self, module: usize) -> Target {
        self.all.modules[module].parent.map_or(Target::Missing(module), Target::Module)
    }

    /// The name in `module`; a function may be called like a module: only the latter leads on.
    fn look_up(&mut self, module: usize, name: &str, leads_on: bool) -> Option<Target> {
        if self.steps == 0 {
            return None;
        }
        self.steps -= 1;
        let at = &self.all.modules[module];
        let item = at.items.contains(name).then_some(Target::Item(module));
        let child = at.children.get(name).map(|&child| Target::Module(child));
        let found = match leads_on {
            true => child.or(item).or_else(|| self.look_up_use(at, module, name)),
            false => item.or_else(|| self.look_up_use(at, module, name)).or(child),
        };
        let found = found.or_else(|| self.look_up_glob(at, module, name));
        found.or_else(|| at.macro_words.contains(name).then_some(Target::Item(module)))
    }

    fn look_up_use(&mut self, at: &Module, module: usize, name: &str) -> Option<Target> {
        let found = at.uses.iter().find(|import| import.name.as_deref() == Some(name))?;
        // `use libc;` and `use libc::libc;` name a crate, not themselves.
        if found.path.first().is_some_and(|first| first == name && !at.children.contains_key(name)) {
            return Some(Target::Outside);
        }
        Some(self.resolve(module, &found.path))
    }

    fn look_up_glob(&mut self, at: &Module, module: usize, name: &str) -> Option<Target> {
        at.uses.iter().filter(|import| import.name.is_none()).find_map(|glob| match self.resolve(module, &glob.path) {
            Target::Module(from) => self.look_up(from, name, false),
            _ => None,
        })
    }
}
