//! Which result it is.

use super::bind::Bound;
use super::tag::TagValue;
use std::any::TypeId;
use std::hash::{Hash, Hasher};

/// What a result depends on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dependency {
    /// The table, as the caller calls it.
    pub(crate) table: String,
    /// Which of its rows.
    pub(crate) rows: Rows,
}

/// Which rows of a table matter to a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rows {
    All,
    /// Those that have or had this value in a tag.
    Tag(TagIs),
    /// That with this key, by the columns of the primary key.
    Key(Vec<TagValue>),
}

/// A tag, and the value that rows have or had in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TagIs {
    pub(crate) name: String,
    pub(crate) value: TagValue,
}

/// Which result it is.
pub(crate) struct Question {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Box<dyn Bound>>,
    /// What the caller says; without it, what the server does.
    pub(crate) depends_on: Vec<Dependency>,
    /// Whether the caller answers for it.
    pub(crate) is_complete: bool,
    /// Of what type the rows are.
    pub(crate) rows: TypeId,
}

impl Question {
    /// About how many bytes of memory it takes, with what is needed to hold its result. Parameters are taken to be short.
    pub(super) fn size(&self) -> usize {
        const HELD: usize = 512;
        const PARAMETER: usize = 64;
        let tags: usize = self.depends_on.iter().map(|on| on.table.len() + 2 * PARAMETER).sum();
        HELD + self.sql.len() + PARAMETER * self.parameters.len() + tags
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Question) -> bool {
        self.rows == other.rows
            && self.sql == other.sql
            && (&self.depends_on, self.is_complete) == (&other.depends_on, other.is_complete)
            && self.parameters.len() == other.parameters.len()
            && self.parameters.iter().zip(&other.parameters).all(|(one, other)| one.is_same(&**other))
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sql.hash(state);
        self.parameters.iter().for_each(|parameter| parameter.hash_to(state));
        self.depends_on.hash(state);
    }
}
