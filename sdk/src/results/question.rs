//! Which result it is.

use super::bind::Bound;
use super::tag::TagValue;
use std::any::TypeId;
use std::borrow::Borrow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a result depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// A question without its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// What the caller says; without it, what the server does.
    pub(crate) depends_on: Vec<Dependency>,
    /// Whether the caller answers for it.
    pub(crate) is_complete: bool,
    /// Of what type the rows are.
    pub(crate) rows: TypeId,
}

impl Statement {
    /// By what the log knows it: the same text has the same one.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.sql.hash(&mut hasher);
        hasher.finish()
    }
}

/// Which result it is.
pub(crate) struct Question {
    pub(crate) statement: Arc<Statement>,
    pub(crate) parameters: Vec<Box<dyn Bound>>,
}

impl Question {
    /// About how many bytes of memory it takes, with what is needed to hold its result. Parameters are taken to be short.
    pub(super) fn size(&self) -> usize {
        const HELD: usize = 512;
        const PARAMETER: usize = 64;
        let Statement { sql, depends_on, .. } = &*self.statement;
        let tags: usize = depends_on.iter().map(|on| on.table.len() + 2 * PARAMETER).sum();
        HELD + sql.len() + PARAMETER * self.parameters.len() + tags
    }
}

/// Whatever says which result it is. Questions are found by those that only borrow what they are made of.
pub(crate) trait Ask {
    fn statement(&self) -> &Statement;
    /// `None` past the last one.
    fn parameter(&self, place: usize) -> Option<&dyn Bound>;
}

impl Ask for Question {
    fn statement(&self) -> &Statement {
        &self.statement
    }

    fn parameter(&self, place: usize) -> Option<&dyn Bound> {
        self.parameters.get(place).map(|parameter| &**parameter)
    }
}

/// A question that is only asked, not kept.
pub(crate) struct Asked<'a> {
    pub(crate) statement: &'a Statement,
    pub(crate) parameters: &'a [&'a dyn Bound],
}

impl Ask for Asked<'_> {
    fn statement(&self) -> &Statement {
        self.statement
    }

    fn parameter(&self, place: usize) -> Option<&dyn Bound> {
        self.parameters.get(place).copied()
    }
}

impl<'a> Borrow<dyn Ask + 'a> for Arc<Question> {
    fn borrow(&self) -> &(dyn Ask + 'a) {
        &**self
    }
}

fn parameters<'a>(ask: &'a (dyn Ask + '_)) -> impl Iterator<Item = &'a dyn Bound> {
    (0..).map_while(|place| ask.parameter(place))
}

fn is_same(one: &dyn Ask, other: &dyn Ask) -> bool {
    let is_same = |one: &dyn Bound, other: &dyn Bound| one.is_same(other);
    one.statement() == other.statement()
        && parameters(one).count() == parameters(other).count()
        && parameters(one).zip(parameters(other)).all(|(one, other)| is_same(one, other))
}

fn hash<H: Hasher>(ask: &dyn Ask, state: &mut H) {
    ask.statement().hash(state);
    parameters(ask).for_each(|parameter| parameter.hash_to(state));
}

impl PartialEq for dyn Ask + '_ {
    fn eq(&self, other: &(dyn Ask + '_)) -> bool {
        is_same(self, other)
    }
}

impl Eq for dyn Ask + '_ {}

impl Hash for dyn Ask + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self, state);
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Question) -> bool {
        is_same(self, other)
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self, state);
    }
}
