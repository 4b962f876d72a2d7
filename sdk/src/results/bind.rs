//! The parameters of a query: they go to Postgres, and tell one cached result from another.

use super::tag::TagValue;
use std::any::Any;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use tokio_postgres::types::ToSql;

/// A parameter of whatever type.
pub(crate) trait Bound: ToSql + Send + Sync + Debug {
    fn is_same(&self, other: &dyn Bound) -> bool;
    fn hash_to(&self, state: &mut dyn Hasher);
    fn as_any(&self) -> &dyn Any;
    fn as_sql(&self) -> &(dyn ToSql + Sync);
    fn tag_values(&self) -> Option<Vec<TagValue>>;
}

impl<T: ToSql + Hash + Eq + Send + Sync + Debug + 'static> Bound for T {
    fn is_same(&self, other: &dyn Bound) -> bool {
        other.as_any().downcast_ref::<T>() == Some(self)
    }

    fn hash_to(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        self
    }

    fn tag_values(&self) -> Option<Vec<TagValue>> {
        tag_values(self)
    }
}

/// The value, or the values of a list, as those of tags; `None` for types of which that is not known here.
fn tag_values(value: &dyn Any) -> Option<Vec<TagValue>> {
    fn of<T: Clone + Into<TagValue> + 'static>(value: &dyn Any) -> Option<Vec<TagValue>> {
        let one = value.downcast_ref::<T>().map(|one| vec![one.clone().into()]);
        let optional = || value.downcast_ref::<Option<T>>().map(|one| vec![one.clone().into()]);
        let list = || value.downcast_ref::<Vec<T>>().map(|list| list.iter().cloned().map(Into::into).collect());
        one.or_else(optional).or_else(list)
    }
    let bytes = || value.downcast_ref::<Vec<u8>>().map(|bytes| vec![bytes.clone().into()]);
    let numbers = || of::<i32>(value).or_else(|| of::<i64>(value)).or_else(|| of::<i16>(value));
    let texts = || of::<String>(value).or_else(|| of::<&'static str>(value));
    numbers().or_else(texts).or_else(|| of::<uuid::Uuid>(value)).or_else(|| of::<bool>(value)).or_else(bytes)
}
