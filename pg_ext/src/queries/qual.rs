//! What a condition says of columns where it is true.

use super::answer::Value;
use super::constant::{are_alike, value, values};
use super::fact::{Fact, either};
use super::scope::{Column, Scope};
use super::tree::{as_a, list, nth};
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use serde_json::json;

/// What is so of every row of which this condition is true.
///
/// # Safety
/// It must be null, or a condition of the scope's query, or a list of conditions that must all be true.
pub(super) unsafe fn facts(node: *mut pg_sys::Node, scope: &Scope<'_>) -> Vec<Fact> {
    // SAFETY: the caller vouches for the node, and so for what is below it.
    unsafe {
        if let Some(all) = as_a::<pg_sys::List>(node, NodeTag::T_List) {
            return list((&raw const *all).cast_mut()).flat_map(|one| facts(one, scope)).collect();
        }
        if let Some(test) = as_a::<pg_sys::NullTest>(node, NodeTag::T_NullTest) {
            let is_null = test.nulltesttype == pg_sys::NullTestType::IS_NULL && !test.argisrow;
            let column = scope.column(test.arg.cast()).filter(|_| is_null);
            let values = vec![Value::Value(json!("null"))];
            return column.map(|(column, _)| Fact::In { column, values, strict: false }).into_iter().collect();
        }
        if let Some(test) = as_a::<pg_sys::BooleanTest>(node, NodeTag::T_BooleanTest) {
            return match test.booltesttype {
                pg_sys::BoolTestType::IS_TRUE => boolean(test.arg.cast(), true, scope),
                pg_sys::BoolTestType::IS_FALSE => boolean(test.arg.cast(), false, scope),
                _ => Vec::new(),
            };
        }
        let fact = if let Some(logic) = as_a::<pg_sys::BoolExpr>(node, NodeTag::T_BoolExpr) {
            return of_logic(logic, scope);
        } else if let Some(operation) = as_a::<pg_sys::OpExpr>(node, NodeTag::T_OpExpr) {
            equality(operation, true, scope)
        } else if let Some(any) = as_a::<pg_sys::ScalarArrayOpExpr>(node, NodeTag::T_ScalarArrayOpExpr) {
            membership(any, scope)
        } else {
            return boolean(node, true, scope);
        };
        fact.into_iter().collect()
    }
}

/// # Safety
/// As [`facts`].
unsafe fn of_logic(logic: &pg_sys::BoolExpr, scope: &Scope<'_>) -> Vec<Fact> {
    // SAFETY: the caller vouches for the node, and so for what is below it.
    unsafe {
        match logic.boolop {
            pg_sys::BoolExprType::AND_EXPR => list(logic.args).flat_map(|one| facts(one, scope)).collect(),
            pg_sys::BoolExprType::OR_EXPR => either(&list(logic.args).map(|one| facts(one, scope)).collect::<Vec<_>>()),
            _ => {
                let Some(not) = nth::<pg_sys::Node>(logic.args, 1) else { return Vec::new() };
                match as_a::<pg_sys::DistinctExpr>(not, NodeTag::T_DistinctExpr) {
                    Some(distinct) => equality(distinct, false, scope).into_iter().collect(),
                    None => boolean(not, false, scope),
                }
            }
        }
    }
}

/// A column of type boolean that is this.
///
/// # Safety
/// As [`facts`].
unsafe fn boolean(node: *mut pg_sys::Node, is: bool, scope: &Scope<'_>) -> Vec<Fact> {
    // SAFETY: the caller vouches for the node.
    let column = unsafe { scope.column(node) };
    let column = column.filter(|(_, type_oid)| are_alike(*type_oid, pg_sys::BOOLOID));
    let values = vec![Value::Value(json!({ "bool": is }))];
    column.map(|(column, _)| Fact::In { column, values, strict: true }).into_iter().collect()
}

/// A column that equals another one, a parameter or a constant. Where it is not `strict`, nulls are equal, too.
///
/// # Safety
/// As [`facts`].
unsafe fn equality(operation: &pg_sys::OpExpr, strict: bool, scope: &Scope<'_>) -> Option<Fact> {
    // SAFETY: the caller vouches for the node, and so for its two arguments.
    unsafe {
        let (left, right) = (nth(operation.args, 1)?, nth(operation.args, 2)?);
        let is_equality = |of: pg_sys::Oid| is_own_equality(operation.opno, operation.inputcollid, of);
        match (scope.column(left), scope.column(right)) {
            (Some((one, of_one)), Some((other, of_other))) => {
                (strict && is_equality(of_one) && are_alike(of_one, of_other)).then_some(Fact::Equal(one, other))
            }
            (Some((column, of)), None) => {
                is_equality(of).then(|| is_one_of(column, vec![value(right, of)?], strict))?
            }
            (None, Some((column, of))) => is_equality(of).then(|| is_one_of(column, vec![value(left, of)?], strict))?,
            (None, None) => None,
        }
    }
}

fn is_one_of(column: Column, values: Vec<Value>, strict: bool) -> Option<Fact> {
    Some(Fact::In { column, values, strict })
}

/// `column = ANY (array)`, which is what `IN (list)` becomes.
///
/// # Safety
/// As [`facts`].
unsafe fn membership(any: &pg_sys::ScalarArrayOpExpr, scope: &Scope<'_>) -> Option<Fact> {
    // SAFETY: the caller vouches for the node, and so for its two arguments.
    unsafe {
        let (left, right) = (nth(any.args, 1)?, nth(any.args, 2)?);
        let (column, of) = scope.column(left)?;
        let is_equality = any.useOr && is_own_equality(any.opno, any.inputcollid, of);
        // An empty array pins nothing that could be named.
        let values = values(right, of).filter(|values| is_equality && !values.is_empty())?;
        is_one_of(column, values, true)
    }
}

/// Whether it is the equality by which an index of a column of this type finds values that are the same to the byte.
fn is_own_equality(operator: pg_sys::Oid, collation: pg_sys::Oid, of: pg_sys::Oid) -> bool {
    // SAFETY: looks types, operators and collations up in the system catalogs.
    unsafe {
        let known = pg_sys::lookup_type_cache(pg_sys::getBaseType(of), pg_sys::TYPECACHE_BTREE_OPFAMILY as i32);
        let family = (*known).btree_opf;
        family != pg_sys::InvalidOid
            && pg_sys::get_op_opfamily_strategy(operator, family) == pg_sys::BTEqualStrategyNumber as i32
            && (collation == pg_sys::InvalidOid || pg_sys::get_collation_isdeterministic(collation))
    }
}
