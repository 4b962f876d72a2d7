//! Which column of which level it is.

use super::tree::{as_a, nth};
use pgrx::pg_sys;

/// A query and those around it.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Unlike any other's.
    pub(super) id: u32,
    pub(super) query: *mut pg_sys::Query,
    pub(super) around: Option<&'a Scope<'a>>,
}

/// An item of a FROM, or what a query around it calls one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) level: u32,
    pub(super) varno: u32,
}

/// A column of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) item: Item,
    pub(super) attnum: i16,
}

impl Item {
    pub(super) fn column(self, attnum: i16) -> Column {
        Column { item: self, attnum }
    }
}

impl<'a> Scope<'a> {
    /// The query so many levels up.
    pub(super) fn up(&self, levels: u32) -> Option<Scope<'a>> {
        let mut scope = *self;
        for _ in 0..levels {
            scope = *scope.around?;
        }
        Some(scope)
    }

    pub(super) fn item(&self, varno: u32) -> Item {
        Item { level: self.id, varno }
    }

    pub(super) fn entry(&self, varno: u32) -> Option<&'a pg_sys::RangeTblEntry> {
        // SAFETY: a query's range table is a list of such entries, which stay as they are.
        unsafe { nth::<pg_sys::RangeTblEntry>((*self.query).rtable, varno as usize).map(|entry| &*entry) }
    }

    /// The column that an expression is, with its type.
    ///
    /// # Safety
    /// It must be an expression of this query.
    pub(super) unsafe fn column(&self, node: *mut pg_sys::Node) -> Option<(Column, pg_sys::Oid)> {
        // SAFETY: the caller vouches for the node, and so for what it refers to.
        unsafe {
            let variable = as_a::<pg_sys::Var>(without_casts(node), pg_sys::NodeTag::T_Var)?;
            let scope = self.up(variable.varlevelsup)?;
            let varno = u32::try_from(variable.varno).ok()?;
            let entry = scope.entry(varno)?;
            let stands_for = match entry.rtekind {
                pg_sys::RTEKind::RTE_JOIN => Some(entry.joinaliasvars),
                #[cfg(feature = "pg18")]
                pg_sys::RTEKind::RTE_GROUP => Some(entry.groupexprs),
                _ => None,
            };
            let number = usize::try_from(variable.varattno).ok().filter(|number| *number > 0)?;
            match stands_for {
                Some(columns) => scope.column(nth(columns, number)?),
                None => Some((scope.item(varno).column(variable.varattno), variable.vartype)),
            }
        }
    }
}

/// Without casts to types of the same bytes, and of integers to wider ones, which make no unequal values equal, and without a
/// collation, which the comparison knows.
///
/// # Safety
/// It must be an expression of an analysed statement.
pub(super) unsafe fn without_casts(mut node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    /// `bigint(integer)`, `bigint(smallint)`, `integer(smallint)`
    const WIDENING: [u32; 3] = [481, 754, 313];
    loop {
        // SAFETY: the caller vouches for the node; a cast has what it is of.
        unsafe {
            node = if let Some(relabelled) = as_a::<pg_sys::RelabelType>(node, pg_sys::NodeTag::T_RelabelType) {
                relabelled.arg.cast()
            } else if let Some(collated) = as_a::<pg_sys::CollateExpr>(node, pg_sys::NodeTag::T_CollateExpr) {
                collated.arg.cast()
            } else if let Some(call) = as_a::<pg_sys::FuncExpr>(node, pg_sys::NodeTag::T_FuncExpr)
                && WIDENING.contains(&call.funcid.to_u32())
                && let Some(argument) = nth(call.args, 1)
            {
                argument
            } else {
                return node;
            };
        }
    }
}
