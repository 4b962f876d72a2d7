//! The parameters of a query: they go to Postgres, and tell one cached result from another.

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
}
