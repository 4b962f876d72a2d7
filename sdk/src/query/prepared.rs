//! A query that is asked again and again.

use super::run::{self, QueryRead, QueryReads, check, explain};
use crate::client::Shared;
use crate::error::Error;
use crate::results::{Asked, Bound, Question, Statement, Terms};
use bytes::BytesMut;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use tokio_postgres::types::{IsNull, ToSql, Type};

/// A query that is asked again and again with other parameters. Made with [`Client::prepare_query`](crate::Client::prepare_query) or
/// [`Query::prepare`](crate::Query::prepare); clones are cheap. Its results are the same as those of a [`Query`](crate::Query) with the same
/// text, type and dependencies.
pub struct PreparedQuery<T> {
    shared: Arc<Shared>,
    statement: Arc<Statement>,
    terms: Terms,
    rows: PhantomData<fn() -> T>,
}

impl<T> Clone for PreparedQuery<T> {
    fn clone(&self) -> PreparedQuery<T> {
        let (shared, statement) = (self.shared.clone(), self.statement.clone());
        PreparedQuery { shared, statement, terms: self.terms, rows: PhantomData }
    }
}

impl<T> std::fmt::Debug for PreparedQuery<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedQuery").field("sql", &self.statement.sql).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> PreparedQuery<T> {
    pub(super) fn new(shared: Arc<Shared>, statement: Statement, terms: Terms) -> PreparedQuery<T> {
        PreparedQuery { shared, statement: Arc::new(statement), terms, rows: PhantomData }
    }

    /// What the server says that the query reads. Nothing is run.
    ///
    /// # Errors
    /// As [`Query::explain`](crate::Query::explain).
    pub async fn explain(&self) -> Result<QueryReads, Error> {
        explain(&self.shared, &self.statement).await
    }

    /// The rows for these values of `$1`, `$2`, ...: a tuple, as `(7_i64,)`.
    ///
    /// # Errors
    /// As [`Query::fetch`](crate::Query::fetch).
    pub async fn fetch(&self, parameters: impl Parameters) -> Result<Arc<Vec<T>>, Error> {
        self.read(parameters).await.map(|read| read.rows)
    }

    /// As [`PreparedQuery::fetch`], and says how old the rows are, and whether they could be confirmed.
    ///
    /// # Errors
    /// As [`Query::fetch`](crate::Query::fetch).
    pub async fn read(&self, parameters: impl Parameters) -> Result<QueryRead<T>, Error> {
        check(&self.shared, &self.statement)?;
        let hit = parameters.borrowed(|Borrowed(parameters)| {
            run::hit(&self.shared, &Asked { statement: &self.statement, parameters }, self.terms)
        });
        if let Some(read) = hit {
            return read;
        }
        let Owned(parameters) = parameters.owned();
        let question = Question { statement: self.statement.clone(), parameters };
        Box::pin(run::miss(self.shared.clone(), Arc::new(question), self.terms)).await
    }
}

/// The values of a prepared query's parameters: tuples of up to eight. Values that are equal must be equal to Postgres, too: they get the
/// same result.
pub trait Parameters: private::Sealed {
    /// Shows them.
    #[doc(hidden)]
    fn borrowed<R>(&self, show: impl FnOnce(Borrowed<'_>) -> R) -> R;

    /// Hands them over.
    #[doc(hidden)]
    fn owned(self) -> Owned;
}

/// Parameters that are only shown.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Borrowed<'a>(pub(crate) &'a [&'a dyn Bound]);

/// Parameters that are kept.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees it")]
pub struct Owned(pub(crate) Vec<Box<dyn Bound>>);

mod private {
    #[expect(unnameable_types, reason = "only we implement it")]
    pub trait Sealed {}
}

macro_rules! parameters {
    ($($name:ident)*) => {
        impl<$($name: ToSql + Hash + Eq + Send + Sync + Debug + 'static),*> private::Sealed for ($($name,)*) {}

        impl<$($name: ToSql + Hash + Eq + Send + Sync + Debug + 'static),*> Parameters for ($($name,)*) {
            #[expect(non_snake_case, reason = "values are called as their types are")]
            fn borrowed<Shown>(&self, show: impl FnOnce(Borrowed<'_>) -> Shown) -> Shown {
                let ($($name,)*) = self;
                show(Borrowed(&[$($name as &dyn Bound),*]))
            }

            #[expect(non_snake_case, reason = "values are called as their types are")]
            fn owned(self) -> Owned {
                let ($($name,)*) = self;
                Owned(vec![$(Box::new($name) as Box<dyn Bound>),*])
            }
        }
    };
}

parameters!(A);
parameters!(A B);
parameters!(A B C);
parameters!(A B C D);
parameters!(A B C D E);
parameters!(A B C D E F);
parameters!(A B C D E F G);
parameters!(A B C D E F G H);

impl private::Sealed for () {}

impl Parameters for () {
    fn borrowed<R>(&self, show: impl FnOnce(Borrowed<'_>) -> R) -> R {
        show(Borrowed(&[]))
    }

    fn owned(self) -> Owned {
        Owned(Vec::new())
    }
}

/// A `double precision` as a query's parameter. Two are the same if all of their bits are, so zeros of both signs get results of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Float(pub f64);

impl PartialEq for Float {
    fn eq(&self, other: &Float) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl ToSql for Float {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <f64 as ToSql>::accepts(ty)
    }

    postgres_types::to_sql_checked!();
}
