//! The functions of a file, and what each of them calls.

use std::collections::{BTreeMap, BTreeSet};

use cache_sync_kit::{Error, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};

/// The functions of a file by their names: `function`, or `Type::method`.
#[derive(Default)]
pub(super) struct Functions {
    bodies: BTreeMap<String, Body>,
    /// The type whose methods are being read.
    of: Option<String>,
}

/// What a function's body calls, by name.
#[derive(Clone, Default)]
pub(super) struct Body(BTreeSet<String>);

impl Body {
    pub(super) fn calls(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn of(tokens: TokenStream) -> Body {
        let mut body = Body::default();
        body.read(tokens);
        body
    }

    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (place, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => self.read(group.stream()),
                // With its arguments, with its type (`::<T>(...)`), or as a value (`Type::method`).
                TokenTree::Ident(ident) => {
                    let is_punct =
                        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
                    let is_called = is_parenthesis(tokens.get(place + 1)) || is_punct(place + 1);
                    let is_named = place > 0 && is_punct(place - 1);
                    if is_called || is_named {
                        self.0.insert(ident.to_string());
                    }
                }
                _ => {}
            }
        }
    }
}

fn is_parenthesis(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
}

impl Functions {
    /// Reads a file.
    pub(super) fn of(name: &str, text: &str) -> Result<Functions> {
        let syntax = syn::parse_file(text).map_err(|error| Error::from(format!("{name}: {error}")))?;
        let mut functions = Functions::default();
        functions.visit_file(&syntax);
        Ok(functions)
    }

    /// The body of a function.
    pub(super) fn body_of(&self, function: &str) -> Option<Body> {
        self.bodies.get(function).cloned()
    }

    fn add(&mut self, name: &syn::Ident, body: TokenStream) {
        let name = match &self.of {
            Some(of) => format!("{of}::{name}"),
            None => name.to_string(),
        };
        self.bodies.insert(name, Body::of(body));
    }

    /// Functions that a macro declares: `fn name ... { body }`.
    fn declared(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let (TokenTree::Ident(word), Some(TokenTree::Ident(name))) = (&token, tokens.peek().cloned()) else {
                continue;
            };
            if word != "fn" {
                continue;
            }
            let body = tokens.find_map(|token| match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
                _ => None,
            });
            self.add(&name, body.unwrap_or_default());
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let before = std::mem::replace(&mut self.of, of);
        visit::visit_item_impl(self, item);
        self.of = before;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig.ident, item.block.to_token_stream());
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig.ident, item.block.to_token_stream());
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        self.declared(item.mac.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_wherever_they_stand() {
        let text =
            "impl<K> A<K> { async fn f(self) { g(1).h::<i64>(); if x { rows.map(B::of) } m!(n(2)); let o = p; } }";
        let body = Functions::of("a.rs", text).unwrap().body_of("A::f").unwrap();
        for called in ["g", "h", "map", "of", "n"] {
            assert!(body.calls(called), "{called}");
        }
        assert!(!body.calls("p") && !body.calls("x"));
    }

    #[test]
    fn functions_that_a_macro_declares_are_functions() {
        let functions =
            Functions::of("a.rs", "functions! { /// One.\n fn one / other(x) { two() } fn three / four(y) {} }")
                .unwrap();
        assert!(functions.body_of("one").unwrap().calls("two"));
        assert!(functions.body_of("three").is_some());
    }
}
