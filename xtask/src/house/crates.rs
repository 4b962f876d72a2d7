//! A crate as its files say: modules, the names each has, the paths each mentions. What only tests see is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cache_sync_kit::{Error, Result};

use super::mention::{Mention, Use};
use super::names::{self, Found};

/// A crate's modules; the first is its root.
pub(crate) struct Crate {
    pub(crate) files: Vec<File>,
    pub(crate) modules: Vec<Module>,
    /// What could not be read.
    pub(crate) unread: Vec<String>,
}

pub(crate) struct File {
    /// From the workspace's directory on.
    pub(crate) path: String,
    /// The top-level module it belongs to; the root has none, it stands above all.
    pub(crate) room: Option<String>,
}

#[derive(Default)]
pub(crate) struct Module {
    pub(crate) parent: Option<usize>,
    pub(crate) file: usize,
    pub(crate) children: BTreeMap<String, usize>,
    /// The names defined here.
    pub(crate) items: BTreeSet<String>,
    /// Macros that are seen wherever their text has gone before.
    pub(crate) macros: BTreeSet<String>,
    /// Words handed to macros that stand among the items: some of them define names.
    pub(crate) macro_words: BTreeSet<String>,
    pub(crate) uses: Vec<Use>,
    pub(crate) mentions: Vec<Mention>,
}

/// The crates of the workspace at `root`: the directories with a root file.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn names(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if root_file(root, &name).is_some() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The file that a crate starts with, from the workspace's directory on.
pub(crate) fn root_file(root: &Path, name: &str) -> Option<String> {
    ["lib", "main"].map(|stem| format!("{name}/src/{stem}.rs")).into_iter().find(|file| root.join(file).is_file())
}

/// Reads the crate `name` of the workspace at `root`.
///
/// # Errors
/// It has no root file, or one of its files is not Rust.
pub(crate) fn read(root: &Path, name: &str) -> Result<Crate> {
    let file = root_file(root, name).ok_or_else(|| Error::from(format!("{name} is no crate")))?;
    let mut all = Crate { files: Vec::new(), modules: Vec::new(), unread: Vec::new() };
    all.modules.push(Module::default());
    let dir = format!("{name}/src");
    all.add_file(root, 0, Place { file, dir, room: None })?;
    Ok(all)
}

/// Where a module's text is, and where its children's are.
struct Place {
    file: String,
    dir: String,
    room: Option<String>,
}

impl Crate {
    fn add_file(&mut self, root: &Path, module: usize, place: Place) -> Result<()> {
        let text = fs::read_to_string(root.join(&place.file))
            .map_err(|error| Error::from(format!("{}: {error}", place.file)))?;
        let syntax = syn::parse_file(&text)
            .map_err(|error| Error::from(format!("{}:{}: {error}", place.file, error.span().start().line)))?;
        let found = names::read(&syntax);
        self.unread.extend(found.unread.iter().map(|(line, what)| format!("{}:{line}: {what}", place.file)));
        self.files.push(File { path: place.file.clone(), room: place.room.clone() });
        self.modules[module].file = self.files.len() - 1;
        self.add_names(root, module, found, &place)
    }

    /// Takes in what `found` has in `module`, and goes on with its children.
    fn add_names(&mut self, root: &Path, module: usize, found: Found, place: &Place) -> Result<()> {
        let file = self.modules[module].file;
        let at = &mut self.modules[module];
        (at.items, at.macros, at.macro_words) = (found.items, found.macros, found.macro_words);
        (at.uses, at.mentions) = (found.uses, found.mentions);
        for child in found.children {
            self.modules.push(Module { parent: Some(module), file, ..Module::default() });
            let index = self.modules.len() - 1;
            self.modules[module].children.insert(child.name.clone(), index);
            let dir = format!("{}/{}", place.dir, child.name);
            if let Some(inner) = child.inline {
                let inner_place = Place { file: place.file.clone(), dir, room: place.room.clone() };
                self.add_names(root, index, inner, &inner_place)?;
                continue;
            }
            let room = place.room.clone().or_else(|| Some(child.name.clone()));
            match [format!("{dir}.rs"), format!("{dir}/mod.rs")].into_iter().find(|file| root.join(file).is_file()) {
                Some(file) => self.add_file(root, index, Place { file, dir, room })?,
                None => self.unread.push(format!("{}:{}: no file for mod {}", place.file, child.line, child.name)),
            }
        }
        Ok(())
    }

    /// The top-level modules that have a file of their own.
    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        self.files.iter().filter_map(|file| file.room.as_deref()).collect()
    }
}
