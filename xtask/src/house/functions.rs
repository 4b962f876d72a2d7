//! The functions of a file, with what each calls.

use cache_sync_kit::{Error, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::attributes::{of_item, only_in_tests};
use super::calls::{self, Call};
use super::tokens;

pub(crate) struct Function {
    /// The type or trait whose block it stands in.
    pub(crate) owner: Option<String>,
    /// The trait that the block implements.
    pub(crate) of_trait: Option<String>,
    pub(crate) name: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
    pub(crate) is_in_tests: bool,
    pub(crate) calls: Vec<Call>,
}

impl Function {
    pub(crate) fn full_name(&self) -> String {
        self.owner.iter().map(|owner| format!("{owner}::")).collect::<String>() + &self.name
    }
}

/// The functions in `text`, also those declared in what a macro is given.
///
/// # Errors
/// It is not Rust.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Function>> {
    let syntax =
        syn::parse_file(text).map_err(|error| Error::from(format!("{file}:{}: {error}", error.span().start().line)))?;
    let mut reader = Reader::default();
    reader.visit_file(&syntax);
    Ok(reader.found)
}

#[derive(Default)]
struct Reader {
    found: Vec<Function>,
    owner: Option<String>,
    of_trait: Option<String>,
    is_in_tests: bool,
}

impl Reader {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        self.found.push(Function {
            owner: self.owner.clone(),
            of_trait: self.of_trait.clone(),
            name: signature.ident.to_string(),
            first_line: signature.fn_token.span.start().line,
            last_line: block.brace_token.span.close().end().line,
            is_in_tests: self.is_in_tests,
            calls: calls::of_block(block),
        });
    }

    fn within(&mut self, owner: Option<String>, of_trait: Option<String>, read: impl FnOnce(&mut Reader)) {
        let before = (self.owner.take(), self.of_trait.take());
        (self.owner, self.of_trait) = (owner, of_trait);
        read(self);
        (self.owner, self.of_trait) = before;
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let before = self.is_in_tests;
        self.is_in_tests |= only_in_tests(of_item(item));
        visit::visit_item(self, item);
        self.is_in_tests = before;
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.within(None, None, |reader| {
            reader.add(&function.sig, &function.block);
            visit::visit_item_fn(reader, function);
        });
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        let owner = match &*block.self_ty {
            syn::Type::Path(path) => last_word(&path.path),
            _ => None,
        };
        let of_trait = block.trait_.as_ref().and_then(|(_, path, _)| last_word(path));
        self.within(owner, of_trait, |reader| visit::visit_item_impl(reader, block));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.within(Some(item.ident.to_string()), None, |reader| visit::visit_item_trait(reader, item));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut declared = Vec::new();
        tokens::functions(call.tokens.clone(), &mut declared);
        for function in declared {
            let body = TokenStream::from(TokenTree::Group(function.body.clone()));
            self.found.push(Function {
                owner: None,
                of_trait: None,
                name: function.name,
                first_line: function.first_line,
                last_line: function.body.span_close().end().line,
                is_in_tests: self.is_in_tests,
                calls: syn::parse2(body)
                    .map_or_else(|_| calls::of_tokens(function.body.stream()), |b| calls::of_block(&b)),
            });
        }
    }
}

fn last_word(path: &syn::Path) -> Option<String> {
    path.segments.last().map(|segment| segment.ident.to_string())
}
