//! Paths, functions and calls in what macros are given, which is only a row of tokens.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::mention::Mention;

/// What some tokens mention.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) paths: Vec<Mention>,
    /// Lines and texts of `use ...;`.
    pub(crate) uses: Vec<(usize, String)>,
}

/// Reads paths and imports.
pub(crate) fn read(stream: TokenStream, said: &mut Said) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => read(group.stream(), said),
            TokenTree::Ident(ident) if ident == "use" => {
                let end = (at..tokens.len()).find(|&end| is_punct(&tokens, end, ';')).unwrap_or(tokens.len() - 1);
                let text: TokenStream = tokens[at..=end].iter().cloned().collect();
                let text = text.to_string();
                // The macro's own `$crate` is the crate that we read.
                said.uses
                    .push((ident.span().start().line, text.replace("$ crate", "crate").replace("$crate", "crate")));
                at = end;
            }
            TokenTree::Ident(ident) => {
                let path = path_from(&tokens, at);
                let end = at + 3 * (path.len() - 1);
                let calls_macro = is_punct(&tokens, end + 1, '!') && group_at(&tokens, end + 2).is_some();
                // A small word alone is a variable or a member's name, unless it is called.
                let is_called = group_at(&tokens, end + 1).is_some_and(|g| g.delimiter() == Delimiter::Parenthesis);
                let is_name = path.len() > 1 || path[0].starts_with(char::is_uppercase) || is_called || calls_macro;
                if is_name && starts_path(&tokens, at) {
                    said.paths.push(Mention { path, line: ident.span().start().line, calls_macro });
                }
                at = end;
            }
            TokenTree::Literal(literal) => read_literal(&literal.to_string(), literal.span().start().line, said),
            TokenTree::Punct(_) => {}
        }
        at += 1;
    }
}

/// Attributes carry paths in quotes: `#[serde(with = "crate::hex")]`.
fn read_literal(literal: &str, line: usize, said: &mut Said) {
    let text = literal.trim_matches('"');
    if text.starts_with("crate::") || text.starts_with("super::") {
        let path: Vec<String> = text.split("::").map(str::to_owned).collect();
        if path.iter().all(|word| syn::parse_str::<syn::Ident>(word).is_ok() || word == "crate" || word == "super") {
            said.paths.push(Mention { path, line, calls_macro: false });
        }
    }
}

/// The words of a path that starts at `at`.
fn path_from(tokens: &[TokenTree], at: usize) -> Vec<String> {
    let mut path = vec![tokens[at].to_string()];
    let mut end = at;
    while is_punct(tokens, end + 1, ':') && is_punct(tokens, end + 2, ':') {
        let Some(TokenTree::Ident(word)) = tokens.get(end + 3) else { break };
        path.push(word.to_string());
        end += 3;
    }
    path
}

/// Neither a member (`.name`), nor the rest of a path (`<T>::name`), nor a macro's variable (`$name`).
fn starts_path(tokens: &[TokenTree], at: usize) -> bool {
    let before = |back: usize, mark: char| at >= back && is_punct(tokens, at - back, mark);
    let is_member = before(1, '.') && !before(2, '.');
    let is_rest = before(1, ':') && before(2, ':');
    let is_variable = before(1, '$') && tokens[at].to_string() != "crate";
    !is_member && !is_rest && !is_variable && !before(1, '\'')
}

/// Every word.
pub(crate) fn words(stream: TokenStream, words_found: &mut BTreeSet<String>) {
    for token in stream {
        match token {
            TokenTree::Ident(ident) => {
                words_found.insert(ident.to_string());
            }
            TokenTree::Group(group) => words(group.stream(), words_found),
            _ => {}
        }
    }
}

/// A function declared in what a macro is given.
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) first_line: usize,
    pub(crate) body: Group,
}

/// The functions, `fn name ... { ... }`, also those in groups.
pub(crate) fn functions(stream: TokenStream, found: &mut Vec<Declared>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => functions(group.stream(), found),
            TokenTree::Ident(word) if word == "fn" => {
                if let Some((name, body)) = function_at(&tokens, at) {
                    found.push(Declared { name, first_line: word.span().start().line, body: body.clone() });
                }
            }
            _ => {}
        }
    }
}

fn function_at(tokens: &[TokenTree], at: usize) -> Option<(String, &Group)> {
    let is_variable = is_punct(tokens, at + 1, '$');
    let Some(TokenTree::Ident(name)) = tokens.get(at + 1 + usize::from(is_variable)) else { return None };
    for token in &tokens[at + 1..] {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return Some((name.to_string(), group)),
            TokenTree::Punct(mark) if mark.as_char() == ';' => return None,
            TokenTree::Ident(word) if word == "fn" => return None,
            _ => {}
        }
    }
    None
}

pub(crate) fn is_punct(tokens: &[TokenTree], at: usize, mark: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

pub(crate) fn group_at(tokens: &[TokenTree], at: usize) -> Option<&Group> {
    match tokens.get(at) {
        Some(TokenTree::Group(group)) => Some(group),
        _ => None,
    }
}
