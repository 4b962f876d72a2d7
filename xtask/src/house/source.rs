//! A crate's files, with what they declare, import and name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cache_sync_kit::{Error, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A crate without its tests.
pub(super) struct Source {
    /// The folder that it lies in.
    pub(super) name: String,
    /// The text of its `lib.rs`.
    pub(super) lib: String,
    /// By their module's path, `lib.rs` by the empty one.
    pub(super) files: BTreeMap<Vec<String>, File>,
}

/// One file.
#[derive(Default)]
pub(super) struct File {
    /// From the repository's root.
    pub(super) path: String,
    pub(super) children: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Paths in code, from the file's own module unless they begin with `crate`.
    pub(super) paths: Vec<Named>,
    /// Every name that code begins a path with, macros' tokens included.
    pub(super) begun_with: BTreeSet<String>,
}

/// A name that a `use` brings.
pub(super) struct Import {
    pub(super) named: Named,
    /// What it is called here.
    pub(super) called: String,
    /// Others see it too.
    pub(super) is_handed_on: bool,
}

/// A path as it is written, and where.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

impl Source {
    /// Reads the crate in the folder `name` of the repository.
    pub(super) fn read(root: &Path, name: &str) -> Result<Source> {
        let mut source = Source { name: name.to_owned(), lib: String::new(), files: BTreeMap::new() };
        source.lib = text(&root.join(name).join("src/lib.rs"))?;
        source.read_module(root, Vec::new())?;
        Ok(source)
    }

    fn read_module(&mut self, root: &Path, module: Vec<String>) -> Result<()> {
        let relative = match module.is_empty() {
            true => format!("{}/src/lib.rs", self.name),
            false => format!("{}/src/{}.rs", self.name, module.join("/")),
        };
        let text = text(&root.join(&relative))?;
        let file = File::parse(&relative, &text)?;
        let children = file.children.clone();
        self.files.insert(module.clone(), file);
        for child in children {
            let module = module.iter().cloned().chain([child]).collect();
            self.read_module(root, module)?;
        }
        Ok(())
    }
}

impl File {
    /// Takes a file apart.
    pub(super) fn parse(path: &str, text: &str) -> Result<File> {
        let syntax = syn::parse_file(text).map_err(|error| {
            let line = error.span().start().line;
            Error::from(format!("{path}:{line}: {error}"))
        })?;
        let mut reader = Reader { file: File { path: path.to_owned(), ..File::default() }, inside: Vec::new() };
        reader.visit_file(&syntax);
        Ok(reader.file)
    }
}

fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|error| Error::from(format!("{}: {error}", file.display())))
}

struct Reader {
    file: File,
    /// The modules within the file that stand around what is being read.
    inside: Vec<String>,
}

impl Reader {
    fn path(&mut self, path: Vec<String>, line: usize) {
        if let Some(first) = path.first() {
            self.file.begun_with.insert(first.clone());
        }
        self.file.paths.push(Named { path: self.seen_from_file(path), line });
    }

    /// A path as seen from the file's own module, not from one within the file.
    fn seen_from_file(&self, mut path: Vec<String>) -> Vec<String> {
        let mut depth = self.inside.len();
        while depth > 0 && path.first().is_some_and(|first| first == "super") {
            path.remove(0);
            depth -= 1;
            if path.first().is_none_or(|first| first != "super") {
                path.insert(0, "self".to_owned());
            }
        }
        path
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String], is_handed_on: bool) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        let (path, called, line) = match tree {
            syn::UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), is_handed_on),
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before, is_handed_on));
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                (before.to_vec(), before.last().cloned().unwrap_or_default(), name.span().start().line)
            }
            syn::UseTree::Name(name) => (with(&name.ident), name.ident.to_string(), name.span().start().line),
            syn::UseTree::Rename(rename) => {
                (with(&rename.ident), rename.rename.to_string(), rename.span().start().line)
            }
            syn::UseTree::Glob(glob) => (before.to_vec(), "*".to_owned(), glob.span().start().line),
        };
        let named = Named { path: self.seen_from_file(path), line };
        self.file.imports.push(Import { named, called, is_handed_on });
    }

    /// What a macro is given is no syntax to us; paths from the crate's root are found in it all the same.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (place, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    self.file.begun_with.insert(ident.to_string());
                    if ident == "crate" {
                        let path = path_from(&tokens[place..]);
                        self.path(path, ident.span().start().line);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The path that these tokens begin with.
fn path_from(tokens: &[TokenTree]) -> Vec<String> {
    let mut path = Vec::new();
    let mut rest = tokens.iter();
    while let Some(TokenTree::Ident(ident)) = rest.next() {
        path.push(ident.to_string());
        let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(it)) if it.as_char() == ':');
        if !(is_colon(rest.next()) && is_colon(rest.next())) {
            break;
        }
    }
    path
}

/// Whether the item is only there for tests.
pub(super) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        meta => meta.path().is_ident("test"),
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_none() {
            self.file.children.insert(item.ident.to_string());
            return;
        }
        self.inside.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inside.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_handed_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &[], is_handed_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invoked: &'ast syn::Macro) {
        self.tokens(invoked.tokens.clone());
        visit::visit_macro(self, invoked);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}
