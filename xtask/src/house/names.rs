//! The names that one file defines, uses and mentions.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use syn::visit::{self, Visit};

use super::attributes::{of_impl_item, of_item, only_in_tests};
use super::mention::{Mention, Use};
use super::tokens;

/// What a module's text holds.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) children: Vec<Child>,
    pub(crate) items: BTreeSet<String>,
    pub(crate) macros: BTreeSet<String>,
    pub(crate) macro_words: BTreeSet<String>,
    pub(crate) uses: Vec<Use>,
    pub(crate) mentions: Vec<Mention>,
    /// Lines that could not be read, and why.
    pub(crate) unread: Vec<(usize, String)>,
}

/// A module in a module: with a body, or in a file of its own.
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) inline: Option<Found>,
}

/// What stands in a file.
pub(crate) fn read(file: &syn::File) -> Found {
    let mut reader = Reader::default();
    reader.visit_file(file);
    reader.found
}

#[derive(Default)]
struct Reader {
    found: Found,
    /// What the function at hand calls its own values.
    locals: BTreeSet<String>,
}

impl Reader {
    fn mention(&mut self, path: &syn::Path, calls_macro: bool) {
        if path.leading_colon.is_none() {
            let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
            let path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.found.mentions.push(Mention { path, line, calls_macro });
        }
    }

    /// Goes through a function, whose variables may be called like something elsewhere.
    fn within(&mut self, function: impl FnOnce(&mut Locals), visit: impl FnOnce(&mut Reader)) {
        let mut locals = Locals { names: self.locals.clone() };
        function(&mut locals);
        let before = std::mem::replace(&mut self.locals, locals.names);
        visit(self);
        self.locals = before;
    }

    fn read_tokens(&mut self, stream: TokenStream) {
        let mut said = tokens::Said::default();
        tokens::read(stream, &mut said);
        self.found.mentions.extend(said.paths);
        for (line, text) in said.uses {
            match syn::parse_str::<syn::ItemUse>(&text) {
                Ok(item) => self.read_use(&item, line),
                Err(_) => self.found.unread.push((line, format!("a macro's `{text}`"))),
            }
        }
    }

    fn read_use(&mut self, item: &syn::ItemUse, line: usize) {
        if item.leading_colon.is_none() {
            let handed_on = !matches!(item.vis, syn::Visibility::Inherited);
            let mut tree = UseTree { handed_on, line, found: &mut self.found.uses };
            tree.read(&item.tree, &mut Vec::new());
        }
    }

    fn define(&mut self, ident: &syn::Ident) {
        self.found.items.insert(ident.to_string());
    }

    fn read_mod(&mut self, item: &syn::ItemMod) {
        let line = item.ident.span().start().line;
        if item.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
            self.found.unread.push((line, format!("mod {} with a #[path]", item.ident)));
            return;
        }
        let inline = item.content.as_ref().map(|(_, items)| {
            let mut inner = Reader::default();
            items.iter().for_each(|item| inner.visit_item(item));
            self.found.unread.append(&mut inner.found.unread);
            inner.found
        });
        self.found.children.push(Child { name: item.ident.to_string(), line, inline });
    }

    fn read_item_macro(&mut self, item: &syn::ItemMacro) {
        match &item.ident {
            Some(name) => {
                self.define(name);
                self.found.macros.insert(name.to_string());
            }
            None => tokens::words(item.mac.tokens.clone(), &mut self.found.macro_words),
        }
        visit::visit_item_macro(self, item);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item;
        if only_in_tests(of_item(item)) {
            return;
        }
        match item {
            Item::Const(item) => self.define(&item.ident),
            Item::Enum(item) => self.define(&item.ident),
            Item::Fn(item) => self.define(&item.sig.ident),
            Item::Static(item) => self.define(&item.ident),
            Item::Struct(item) => self.define(&item.ident),
            Item::Trait(item) => self.define(&item.ident),
            Item::TraitAlias(item) => self.define(&item.ident),
            Item::Type(item) => self.define(&item.ident),
            Item::Union(item) => self.define(&item.ident),
            Item::Mod(item) => return self.read_mod(item),
            Item::Use(item) => return self.read_use(item, item.use_token.span.start().line),
            Item::Macro(item) => return self.read_item_macro(item),
            _ => {}
        }
        self.within(|locals| locals.visit_item(item), |reader| visit::visit_item(reader, item));
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        if !only_in_tests(of_impl_item(item)) {
            self.within(|locals| locals.visit_impl_item(item), |reader| visit::visit_impl_item(reader, item));
        }
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        self.within(|locals| locals.visit_trait_item(item), |reader| visit::visit_trait_item(reader, item));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !only_in_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !only_in_tests(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        // `let key = key(row)` calls the function.
        if let syn::Expr::Path(function) = &*call.func {
            self.mention(&function.path, false);
        }
        visit::visit_expr_call(self, call);
    }

    /// A constant in a pattern looks like a variable.
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        if !is_variable(&pattern.ident) {
            self.mention(&pattern.ident.clone().into(), false);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if !path.get_ident().is_some_and(|name| self.locals.contains(&name.to_string())) {
            self.mention(path, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.mention(&call.path, true);
        let parser = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        match call.parse_body_with(parser) {
            Ok(expressions) => expressions.iter().for_each(|expression| {
                let mut inner = Reader { locals: self.locals.clone(), ..Reader::default() };
                inner.visit_expr(expression);
                self.found.mentions.append(&mut inner.found.mentions);
                self.found.uses.append(&mut inner.found.uses);
                self.found.unread.append(&mut inner.found.unread);
            }),
            Err(_) => self.read_tokens(call.tokens.clone()),
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.read_tokens(list.tokens.clone());
        }
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// The variables of a function.
struct Locals {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Locals {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        if is_variable(&pattern.ident) {
            self.names.insert(pattern.ident.to_string());
        }
        visit::visit_pat_ident(self, pattern);
    }

    /// A module's functions have variables of their own.
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    fn visit_item_impl(&mut self, _: &'ast syn::ItemImpl) {}
}

fn is_variable(ident: &syn::Ident) -> bool {
    !ident.to_string().starts_with(char::is_uppercase)
}

/// Takes a `use` apart.
struct UseTree<'a> {
    handed_on: bool,
    /// Where it starts, for names without a line of their own.
    line: usize,
    found: &'a mut Vec<Use>,
}

impl UseTree<'_> {
    fn read(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.read(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Name(name) => self.add(before, &name.ident, &name.ident),
            syn::UseTree::Rename(rename) => self.add(before, &rename.ident, &rename.rename),
            syn::UseTree::Glob(_) => self.push(None, before.clone(), self.line),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.read(tree, before)),
        }
    }

    fn add(&mut self, before: &[String], ident: &syn::Ident, bound: &syn::Ident) {
        let mut path = before.to_vec();
        let mut name = bound.to_string();
        if ident == "self" {
            if bound == "self" {
                name = before.last().cloned().unwrap_or_default();
            }
        } else {
            path.push(ident.to_string());
        }
        // What was put together from a macro's words has lines of its own, which count from 1.
        let line = self.line.max(ident.span().start().line);
        self.push(Some(name), path, line);
    }

    fn push(&mut self, name: Option<String>, path: Vec<String>, line: usize) {
        self.found.push(Use { name, path, line, handed_on: self.handed_on });
    }
}
