//! Values by field, as JSON texts in one piece of memory.

use smallvec::SmallVec;
use std::fmt;

/// The place of a field in its table's list of fields.
pub type FieldIndex = u16;

/// So many fields need no memory of their own beside their texts.
const INLINE: usize = 8;

/// Values by field, as JSON texts, in the order of the fields.
///
/// A write makes one of these and the flusher frees it on another thread, so it is one allocation, not one per field.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    text: String,
    /// Each field with the end of its text; it begins where the one before ends.
    ends: SmallVec<[(FieldIndex, u32); INLINE]>,
}

impl Fields {
    /// No fields.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// No fields yet, with room for so many bytes of text.
    pub fn with_capacity(bytes: usize) -> Fields {
        Fields { text: String::with_capacity(bytes), ends: SmallVec::new() }
    }

    /// Sets a field's text; says whether it had one before. Cheap when fields come in their order.
    ///
    /// # Panics
    /// When all texts together pass 4 GiB, four times what Postgres takes of anything.
    pub fn insert(&mut self, field: FieldIndex, text: &str) -> bool {
        if self.ends.last().is_none_or(|(last, _)| *last < field) {
            self.text.push_str(text);
            self.ends.push((field, offset(self.text.len())));
            return false;
        }
        let (place, was_there) = match self.place(field) {
            Ok(place) => (place, true),
            Err(place) => (place, false),
        };
        let start = self.start(place);
        let end = if was_there { self.ends[place].1 } else { offset(start) };
        if !was_there {
            self.ends.insert(place, (field, end));
        }
        self.text.replace_range(start..end as usize, text);
        let grown = offset(self.text.len());
        let before = grown - offset(text.len()) + (end - offset(start));
        self.ends[place..].iter_mut().for_each(|(_, later)| *later = grown - (before - *later));
        was_there
    }

    /// The field's text.
    pub fn get(&self, field: FieldIndex) -> Option<&str> {
        self.place(field).ok().map(|place| self.at(place).1)
    }

    /// All fields with their texts, in the order of the fields.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (FieldIndex, &str)> {
        (0..self.ends.len()).map(|place| self.at(place))
    }

    /// The fields that are here.
    pub fn indexes(&self) -> impl ExactSizeIterator<Item = FieldIndex> {
        self.ends.iter().map(|(field, _)| *field)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many bytes the texts have.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// How many bytes are taken for texts.
    pub fn text_capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Gives back memory that was taken for texts that did not come, if it is much.
    pub fn shrink(&mut self) {
        const LITTLE: usize = 256;
        if self.text.capacity() - self.text.len() > LITTLE {
            self.text.shrink_to_fit();
        }
    }

    /// Every field of these or of others, in order, with its text in each.
    pub fn zip<'a>(
        &'a self,
        others: &'a Fields,
    ) -> impl Iterator<Item = (FieldIndex, Option<&'a str>, Option<&'a str>)> {
        let (mut ours, mut theirs) = (self.iter().peekable(), others.iter().peekable());
        std::iter::from_fn(move || {
            let index = |next: Option<&(FieldIndex, &str)>| next.map(|(field, _)| *field);
            let (our, their) = (index(ours.peek()), index(theirs.peek()));
            let field = our.into_iter().chain(their).min()?;
            let ours = ours.next_if(|(next, _)| *next == field);
            let theirs = theirs.next_if(|(next, _)| *next == field);
            Some((field, ours.map(|(_, text)| text), theirs.map(|(_, text)| text)))
        })
    }

    /// Only the fields that `keep` says; the same memory where that is all of them.
    #[must_use]
    pub fn filter(self, keep: impl Fn(FieldIndex) -> bool) -> Fields {
        if self.indexes().all(&keep) {
            return self;
        }
        let mut kept = Fields::with_capacity(self.text.len());
        for (field, text) in self.iter().filter(|(field, _)| keep(*field)) {
            kept.insert(field, text);
        }
        kept
    }

    fn place(&self, field: FieldIndex) -> Result<usize, usize> {
        self.ends.binary_search_by_key(&field, |(field, _)| *field)
    }

    fn start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.ends[before].1 as usize)
    }

    fn at(&self, place: usize) -> (FieldIndex, &str) {
        let (field, end) = self.ends[place];
        (field, &self.text[self.start(place)..end as usize])
    }
}

fn offset(length: usize) -> u32 {
    u32::try_from(length).expect("nobody writes 4 GiB")
}

impl<T: AsRef<str>> FromIterator<(FieldIndex, T)> for Fields {
    fn from_iter<I: IntoIterator<Item = (FieldIndex, T)>>(fields: I) -> Fields {
        let mut all = Fields::new();
        for (field, text) in fields {
            all.insert(field, text.as_ref());
        }
        all
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn they_are_a_map(inserts in proptest::collection::vec((0u16..8, "[a-z]{0,3}"), 0..20), kept in 0u16..8) {
            let (mut fields, mut map) = (Fields::new(), BTreeMap::new());
            for (field, text) in &inserts {
                prop_assert_eq!(fields.insert(*field, text), map.insert(*field, text.as_str()).is_some());
            }
            let of_map: Vec<_> = map.iter().map(|(field, text)| (*field, *text)).collect();
            prop_assert_eq!(fields.iter().collect::<Vec<_>>(), of_map);
            for field in 0..8 {
                prop_assert_eq!(fields.get(field), map.get(&field).copied());
            }
            prop_assert_eq!(fields.text_len(), map.values().map(|text| text.len()).sum::<usize>());
            let other: Fields = [(2, "x"), (5, "y")].into_iter().collect();
            let mut all: Vec<_> = map.keys().copied().chain([2, 5]).collect();
            all.sort_unstable();
            all.dedup();
            let zipped: Vec<_> = all.iter().map(|field| (*field, map.get(field).copied(), other.get(*field))).collect();
            prop_assert_eq!(fields.zip(&other).collect::<Vec<_>>(), zipped);
            map.retain(|field, _| *field < kept);
            let kept = fields.filter(|field| field < kept);
            prop_assert_eq!(kept.iter().collect::<Vec<_>>(), map.into_iter().collect::<Vec<_>>());
        }
    }
}
