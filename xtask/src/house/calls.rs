//! The calls in a function's body, by name.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::tokens::{group_at, is_punct};

pub(crate) struct Call {
    pub(crate) name: String,
    /// `Type` of `Type::name()`, `module` of `module::name()`.
    pub(crate) qualifier: Option<String>,
    /// `value.name()`.
    pub(crate) is_method: bool,
    /// Line and column.
    pub(crate) place: (usize, usize),
}

/// What `block` calls, in the order of the text.
pub(crate) fn of_block(block: &syn::Block) -> Vec<Call> {
    let mut reader = Reader { found: Vec::new() };
    reader.visit_block(block);
    reader.found.sort_by_key(|call| call.place);
    reader.found
}

/// The same for a text that is no block.
pub(crate) fn of_tokens(stream: TokenStream) -> Vec<Call> {
    let mut reader = Reader { found: Vec::new() };
    reader.read_tokens(stream);
    reader.found
}

struct Reader {
    found: Vec<Call>,
}

impl Reader {
    fn add(&mut self, name: String, qualifier: Option<String>, is_method: bool, span: Span) {
        let start = span.start();
        self.found.push(Call { name, qualifier, is_method, place: (start.line, start.column) });
    }

    fn add_path(&mut self, path: &syn::Path) {
        let mut words = path.segments.iter().rev();
        if let Some(last) = words.next() {
            let qualifier = words.next().map(|segment| segment.ident.to_string());
            self.add(last.ident.to_string(), qualifier, false, last.ident.span());
        }
    }

    fn read_tokens(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => self.read_tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    let called = group_at(&tokens, at + 1).is_some_and(|g| g.delimiter() == Delimiter::Parenthesis);
                    let declared = at > 0 && matches!(&tokens[at - 1], TokenTree::Ident(word) if word == "fn");
                    if called && !declared {
                        let is_method = at > 0 && is_punct(&tokens, at - 1, '.');
                        let is_path = at > 2 && is_punct(&tokens, at - 1, ':') && is_punct(&tokens, at - 2, ':');
                        let qualifier = is_path.then(|| tokens[at - 3].to_string());
                        self.add(ident.to_string(), qualifier, is_method, ident.span());
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.add(call.method.to_string(), None, true, call.method.span());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        match &*call.func {
            syn::Expr::Path(function) => self.add_path(&function.path),
            other => self.visit_expr(other),
        }
        call.args.iter().for_each(|argument| self.visit_expr(argument));
    }

    /// `map(Type::name)` has it called, too; a single word might be any variable.
    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if path.path.segments.len() > 1 {
            self.add_path(&path.path);
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let parser = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        match call.parse_body_with(parser) {
            Ok(expressions) => expressions.iter().for_each(|inner| Visit::visit_expr(self, inner)),
            Err(_) => self.read_tokens(call.tokens.clone()),
        }
    }
}
