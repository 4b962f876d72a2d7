//! What imports what: arrows from file to file, with the place of each.

use std::collections::BTreeSet;

use super::crates::Crate;
use super::mention::{Mention, Use};
use super::resolve::{Target, resolve};

/// A file needs something of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Not just the name of a module, whose contents may come from elsewhere.
    pub(crate) needs_text: bool,
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// The arrows of a crate, and what could not be followed.
pub(crate) fn read(all: &Crate) -> (Vec<Arrow>, Vec<String>) {
    let mut reader = Reader { all, arrows: BTreeSet::new(), unread: all.unread.clone() };
    for module in 0..all.modules.len() {
        all.modules[module].uses.iter().for_each(|import| reader.read_use(module, import));
        all.modules[module].mentions.iter().for_each(|mention| reader.read_mention(module, mention));
    }
    let mut arrows: Vec<Arrow> = reader.arrows.into_iter().collect();
    // One place suffices for each thing that one file needs of another.
    arrows.dedup_by(|next, kept| {
        let same = (next.from, next.to, next.needs_text) == (kept.from, kept.to, kept.needs_text);
        same && last_word(&next.path) == last_word(&kept.path)
    });
    (arrows, reader.unread)
}

fn last_word(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

struct Reader<'a> {
    all: &'a Crate,
    arrows: BTreeSet<Arrow>,
    unread: Vec<String>,
}

impl Reader<'_> {
    fn read_use(&mut self, module: usize, import: &Use) {
        let target = resolve(self.all, module, &import.path);
        let (Target::Item(to) | Target::Module(to)) = target else {
            return self.note_missing(module, target, import.line, &import.path);
        };
        // Whoever hands on what stands below it does not need it for that.
        if import.handed_on && (self.is_below(to, module) || self.is_of_child(module, import)) {
            return;
        }
        let needs_text = matches!(target, Target::Item(_)) || import.name.is_none();
        self.add(module, to, needs_text, import.line, &import.path);
    }

    fn read_mention(&mut self, module: usize, mention: &Mention) {
        match resolve(self.all, module, &mention.path) {
            Target::Item(_) if self.is_imported(module, mention) => {}
            Target::Item(to) => self.add(module, to, true, mention.line, &mention.path),
            // A module that is mentioned in whole words: `crate::key` in a macro, say.
            Target::Module(to) if mention.path.len() > 1 => {
                self.add(module, to, false, mention.line, &mention.path);
            }
            Target::Module(_) => {}
            Target::Outside if mention.calls_macro && mention.path.len() == 1 => {
                let name = &mention.path[0];
                let defines = |module: &usize| self.all.modules[*module].macros.contains(name);
                if let Some(to) = (0..self.all.modules.len()).find(defines) {
                    self.add(module, to, true, mention.line, &mention.path);
                }
            }
            target => self.note_missing(module, target, mention.line, &mention.path),
        }
    }

    /// The `use` that brought the name here is an arrow already.
    fn is_imported(&self, module: usize, mention: &Mention) -> bool {
        let of_name = |import: &&Use| import.name.as_ref() == mention.path.first() && !import.handed_on;
        let mut imports = self.all.modules[module].uses.iter().filter(of_name);
        imports.any(|import| matches!(resolve(self.all, module, &import.path), Target::Item(_)))
    }

    /// What a child hands on is the child's to answer for.
    fn is_of_child(&self, module: usize, import: &Use) -> bool {
        let before = &import.path[..import.path.len() - 1];
        matches!(resolve(self.all, module, before), Target::Module(from) if self.is_below(from, module))
    }

    fn is_below(&self, module: usize, above: usize) -> bool {
        let parent = |&module: &usize| self.all.modules[module].parent;
        std::iter::successors(parent(&module), parent).any(|parent| parent == above)
    }

    fn add(&mut self, from: usize, to: usize, needs_text: bool, line: usize, path: &[String]) {
        let (from, to) = (self.all.modules[from].file, self.all.modules[to].file);
        if from != to {
            self.arrows.insert(Arrow { from, to, needs_text, line, path: path.join("::") });
        }
    }

    fn note_missing(&mut self, module: usize, target: Target, line: usize, path: &[String]) {
        if let Target::Missing(at) = target {
            let file = &self.all.files[self.all.modules[module].file].path;
            let place = &self.all.files[self.all.modules[at].file].path;
            self.unread.push(format!("{file}:{line}: {} is not to be found in {place}", path.join("::")));
        }
    }
}
