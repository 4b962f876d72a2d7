//! A query and its FROM, and those inside it, each with what is known there of the rows that matter.

use super::answer::Answer;
use super::calls;
use super::fact::{Fact, strict};
use super::qual;
use super::relation::Tables;
use super::scope::{Item, Scope};
use super::tree::{as_a, children, expressions, list};
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use std::ffi::CStr;

/// The way through a statement.
pub(super) struct Walk<'t> {
    text: &'t CStr,
    tables: Tables,
    levels: u32,
    /// Queries of WITH that have been visited.
    visited: Vec<*mut pg_sys::Node>,
    pub(super) answer: Answer,
}

impl<'t> Walk<'t> {
    pub(super) fn new(text: &'t CStr) -> Walk<'t> {
        Walk { text, tables: Tables::new(), levels: 0, visited: Vec::new(), answer: Answer::default() }
    }

    /// Visits a query. `facts` are those of the queries around it that are so wherever its rows matter, and of `output`, which is
    /// what its rows are called there.
    ///
    /// # Safety
    /// It must be a query of the statement, analysed and rewritten, inside those of `around`.
    pub(super) unsafe fn query(
        &mut self,
        query: *mut pg_sys::Query,
        around: Option<&Scope<'_>>,
        facts: &[Fact],
        output: Option<Item>,
    ) {
        // SAFETY: the caller vouches for the query, and so for all that is in it.
        unsafe {
            pg_sys::check_stack_depth();
            self.levels += 1;
            let scope = Scope { id: self.levels, query, around };
            self.check(query);
            let mut facts = strict(facts);
            let links = output.map(|output| self.links(&scope, output)).unwrap_or_default();
            if let Some(operation) = (*query).setOperations.as_mut() {
                self.branches(operation, &scope, &facts, output.filter(|_| !is_limited(query)));
            }
            facts.extend(links);
            self.from((*query).jointree.cast(), &scope, &facts);
            facts.extend(strict(&qual::facts((*(*query).jointree).quals, &scope)));
            for node in expressions(query) {
                self.expression(node, &scope, &facts);
            }
            // From the last, since each may use those before it.
            let all: Vec<_> = list::<pg_sys::CommonTableExpr>((*query).cteList).collect();
            for with in all.into_iter().rev() {
                if !self.visited.contains(&(*with).ctequery) {
                    self.with(&*with, &scope, &facts, None);
                }
            }
        }
    }

    /// Checks what concerns the query as a whole: the caller's rights as Postgres would before running it, too.
    ///
    /// # Safety
    /// As [`Walk::query`].
    unsafe fn check(&mut self, query: *mut pg_sys::Query) {
        // SAFETY: the caller vouches for the query.
        unsafe {
            #[cfg(feature = "pg15")]
            pg_sys::ExecCheckRTPerms((*query).rtable, true);
            #[cfg(not(feature = "pg15"))]
            pg_sys::ExecCheckPermissions((*query).rtable, (*query).rteperminfos, true);
            if (*query).commandType != pg_sys::CmdType::CMD_SELECT {
                self.answer.refuse("a statement that changes something", "a cached query is one SELECT");
            }
            if !(*query).rowMarks.is_null() {
                self.answer.refuse("FOR UPDATE or the like", "whoever gets the result from memory would lock nothing");
            }
        }
    }

    /// What the columns of a query's rows are: a row that does not matter outside because of one of them is not needed inside. That is
    /// so unless it may take the place of another one, in a LIMIT, a DISTINCT ON, or a window.
    ///
    /// # Safety
    /// As [`Walk::query`].
    unsafe fn links(&self, scope: &Scope<'_>, output: Item) -> Vec<Fact> {
        // SAFETY: the caller vouches for the query.
        unsafe {
            let query = scope.query;
            if is_limited(query) || !(*query).setOperations.is_null() {
                return Vec::new();
            }
            let is_in = |clauses: *mut pg_sys::List, target: &pg_sys::TargetEntry| {
                let mut clauses = list::<pg_sys::SortGroupClause>(clauses);
                target.ressortgroupref != 0 && clauses.any(|clause| (*clause).tleSortGroupRef == target.ressortgroupref)
            };
            let is_common = |target: &pg_sys::TargetEntry| {
                ((*query).distinctClause.is_null() || is_in((*query).distinctClause, target))
                    && list::<pg_sys::WindowClause>((*query).windowClause)
                        .all(|window| is_in((*window).partitionClause, target))
            };
            let targets = list::<pg_sys::TargetEntry>((*query).targetList).map(|target| &*target);
            let link = |target: &pg_sys::TargetEntry| {
                let (column, _) = scope.column(target.expr.cast())?;
                Some(Fact::Equal(output.column(target.resno), column))
            };
            targets.filter(|target| !target.resjunk && is_common(target)).filter_map(link).collect()
        }
    }

    /// The branches of UNION, INTERSECT and EXCEPT: rows go through them, or keep each other out, only with all columns equal.
    ///
    /// # Safety
    /// It must be a part of the scope's query's set operations.
    unsafe fn branches(&mut self, node: *mut pg_sys::Node, scope: &Scope<'_>, facts: &[Fact], output: Option<Item>) {
        // SAFETY: the caller vouches for the node; each branch is a query in the range table.
        unsafe {
            if let Some(operation) = as_a::<pg_sys::SetOperationStmt>(node, NodeTag::T_SetOperationStmt) {
                self.branches(operation.larg, scope, facts, output);
                return self.branches(operation.rarg, scope, facts, output);
            }
            let Some(branch) = as_a::<pg_sys::RangeTblRef>(node, NodeTag::T_RangeTblRef) else { return };
            let item = scope.item(branch.rtindex as u32);
            let Some(entry) = scope.entry(item.varno) else { return };
            let mut facts = facts.to_vec();
            for target in list::<pg_sys::TargetEntry>((*entry.subquery).targetList) {
                if let Some(output) = output.filter(|_| !(*target).resjunk) {
                    facts.push(Fact::Equal(output.column((*target).resno), item.column((*target).resno)));
                }
            }
            self.query(entry.subquery, Some(scope), &facts, Some(item));
        }
    }

    /// Visits a part of a FROM. `facts` are so of every row of it that may matter.
    ///
    /// # Safety
    /// It must be a part of the scope's query's FROM.
    unsafe fn from(&mut self, node: *mut pg_sys::Node, scope: &Scope<'_>, facts: &[Fact]) {
        // SAFETY: the caller vouches for the node, and so for what is below it.
        unsafe {
            let with = |facts: &[Fact], quals| [facts, &qual::facts(quals, scope)].concat();
            if let Some(all) = as_a::<pg_sys::FromExpr>(node, NodeTag::T_FromExpr) {
                let facts = with(facts, all.quals);
                list(all.fromlist).for_each(|item| self.from(item, scope, &facts));
            } else if let Some(join) = as_a::<pg_sys::JoinExpr>(node, NodeTag::T_JoinExpr) {
                // A condition of an outer join says nothing of the side whose rows all stay; the other side's may be nulls above it.
                let (left, right) = match join.jointype {
                    pg_sys::JoinType::JOIN_INNER => (with(facts, join.quals), with(facts, join.quals)),
                    pg_sys::JoinType::JOIN_LEFT => (facts.to_vec(), with(&strict(facts), join.quals)),
                    pg_sys::JoinType::JOIN_RIGHT => (with(&strict(facts), join.quals), facts.to_vec()),
                    _ => (strict(facts), strict(facts)),
                };
                self.from(join.larg, scope, &left);
                self.from(join.rarg, scope, &right);
            } else if let Some(item) = as_a::<pg_sys::RangeTblRef>(node, NodeTag::T_RangeTblRef) {
                self.item(scope.item(item.rtindex as u32), scope, facts);
            }
        }
    }

    /// # Safety
    /// It must be an item of the scope's query's FROM.
    unsafe fn item(&mut self, item: Item, scope: &Scope<'_>, facts: &[Fact]) {
        let Some(entry) = scope.entry(item.varno) else { return };
        // SAFETY: the caller vouches for the item, and so for what belongs to it. What policies ask of its rows is so of all.
        unsafe {
            let facts = [facts, &qual::facts(entry.securityQuals.cast(), scope)].concat();
            match entry.rtekind {
                pg_sys::RTEKind::RTE_RELATION => self.tables.read(entry, item, &facts, &mut self.answer),
                pg_sys::RTEKind::RTE_SUBQUERY => self.query(entry.subquery, Some(scope), &facts, Some(item)),
                pg_sys::RTEKind::RTE_CTE => {
                    let Some(home) = scope.up(entry.ctelevelsup) else { return };
                    let name = CStr::from_ptr(entry.ctename);
                    let mut all = list::<pg_sys::CommonTableExpr>((*home.query).cteList);
                    let with = all.find(|with| CStr::from_ptr((**with).ctename) == name);
                    // One that is named twice is visited once, for both, where it stands.
                    if let Some(with) = with.map(|with| &*with)
                        && with.cterefcount == 1
                        && !with.cterecursive
                        && !self.visited.contains(&with.ctequery)
                    {
                        self.with(with, &home, &facts, Some(item));
                    }
                }
                _ => {}
            }
        }
    }

    /// # Safety
    /// It must be of the WITH of the scope's query.
    unsafe fn with(&mut self, with: &pg_sys::CommonTableExpr, scope: &Scope<'_>, facts: &[Fact], output: Option<Item>) {
        self.visited.push(with.ctequery);
        // SAFETY: the caller vouches for it; what an analysed WITH has is a query.
        unsafe { self.query(with.ctequery.cast(), Some(scope), facts, output) };
    }

    /// Visits an expression, and the queries in it: those matter only for rows of this query that do.
    ///
    /// # Safety
    /// It must be an expression of the scope's query.
    unsafe fn expression(&mut self, node: *mut pg_sys::Node, scope: &Scope<'_>, facts: &[Fact]) {
        // SAFETY: the caller vouches for the node, and so for what is below it.
        unsafe {
            pg_sys::check_stack_depth();
            if let Some(query) = as_a::<pg_sys::Query>(node, NodeTag::T_Query) {
                return self.query((&raw const *query).cast_mut(), Some(scope), facts, None);
            }
            calls::check(node, self.text, &mut self.answer);
            if let Some(variable) = as_a::<pg_sys::Var>(node, NodeTag::T_Var) {
                self.check_variable(variable, scope);
            }
            for child in children(node) {
                self.expression(child, scope, facts);
            }
        }
    }

    /// # Safety
    /// It must be of the scope's query.
    unsafe fn check_variable(&mut self, variable: &pg_sys::Var, scope: &Scope<'_>) {
        let is_stored = variable.varattno < 0 && i32::from(variable.varattno) != pg_sys::TableOidAttributeNumber;
        let entry = scope.up(variable.varlevelsup).and_then(|scope| scope.entry(variable.varno as u32));
        if is_stored && entry.is_some_and(|entry| entry.rtekind == pg_sys::RTEKind::RTE_RELATION) {
            self.answer.refuse("ctid, xmin or the like", "they change with VACUUM, of which nobody tells");
        }
    }
}

/// # Safety
/// It must be a query.
unsafe fn is_limited(query: *mut pg_sys::Query) -> bool {
    // SAFETY: the caller vouches for it.
    unsafe { !(*query).limitCount.is_null() || !(*query).limitOffset.is_null() }
}
