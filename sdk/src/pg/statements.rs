//! What the connections of a pool keep prepared: for each, the statements that it has used last. The server keeps a plan of each of
//! them, and an application may make up texts without end.

use crate::common::lock::lock;
use deadpool_postgres::StatementCache;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

/// Statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 128;
/// How long their texts may be together, in bytes: a plan is the larger, the longer its text is.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// What the connections of a pool keep prepared.
#[derive(Default)]
pub(super) struct Statements(Mutex<HashMap<usize, Kept>>);

/// What one connection keeps prepared.
struct Kept {
    /// Gone with the connection, whose address another one may have then.
    cache: Weak<StatementCache>,
    recent: Recent,
}

impl Statements {
    /// A connection, which has these statements, has used one. Those that it has not used for longest are closed, if they are too many.
    pub(super) fn note(&self, cache: &Arc<StatementCache>, text: &str) {
        let mut connections = lock(&self.0);
        let address = Arc::as_ptr(cache) as usize;
        if connections.get(&address).is_none_or(|kept| kept.cache.strong_count() == 0) {
            connections.retain(|_, kept| kept.cache.strong_count() > 0);
            connections.insert(address, Kept { cache: Arc::downgrade(cache), recent: Recent::default() });
        }
        let Some(kept) = connections.get_mut(&address) else { return };
        kept.recent.note(text, |unused| drop(cache.remove(unused, &[])));
    }
}

/// Texts, the one that was used last at the back.
#[derive(Default)]
struct Recent {
    texts: VecDeque<Box<str>>,
    bytes: usize,
}

impl Recent {
    fn note(&mut self, text: &str, mut let_go: impl FnMut(&str)) {
        match self.texts.iter().rposition(|known| **known == *text) {
            Some(place) if place + 1 == self.texts.len() => {}
            Some(place) => {
                let known = self.texts.remove(place);
                self.texts.extend(known);
            }
            None => {
                self.bytes += text.len();
                self.texts.push_back(text.into());
            }
        }
        while self.texts.len() > 1 && (self.texts.len() > STATEMENTS_MAX || self.bytes > TEXT_BYTES_MAX) {
            let Some(unused) = self.texts.pop_front() else { return };
            self.bytes -= unused.len();
            let_go(&unused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn let_go(recent: &mut Recent, text: &str) -> Vec<String> {
        let mut gone = Vec::new();
        recent.note(text, |text| gone.push(text.to_owned()));
        gone
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut recent = Recent::default();
        for text in 0..STATEMENTS_MAX {
            assert!(let_go(&mut recent, &text.to_string()).is_empty());
        }
        assert!(let_go(&mut recent, "0").is_empty());
        assert_eq!(let_go(&mut recent, "new"), ["1"]);
        assert_eq!(let_go(&mut recent, "newer"), ["2"]);
        assert!(let_go(&mut recent, "new").is_empty(), "it is there");
    }

    #[test]
    fn long_texts_are_fewer() {
        let mut recent = Recent::default();
        let long = |of: &str| of.repeat(TEXT_BYTES_MAX / 2);
        assert!(let_go(&mut recent, "short").is_empty() && let_go(&mut recent, &long("a")).is_empty());
        assert_eq!(let_go(&mut recent, &long("b")), ["short"]);
        assert_eq!(let_go(&mut recent, &long("cc")), [long("a"), long("b")], "the one in use stays");
    }
}
