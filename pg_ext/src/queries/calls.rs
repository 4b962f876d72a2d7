//! Functions and values that read what nobody tells of.

use super::answer::Answer;
use super::tree::as_a;
use pgrx::pg_sys::NodeTag;
use pgrx::{pg_guard, pg_sys};
use std::ffi::{CStr, c_char, c_void};

/// What Postgres calls STABLE of its own that reads neither tables nor the clock, but settings, which a client's connections share.
const HARMLESS: &str = "anytextcat array_in array_out array_to_json array_to_string cash_in cash_out concat concat_ws convert \
    convert_from convert_to current_database current_schema current_schemas current_setting current_user date \
    date_cmp_timestamptz date_eq_timestamptz date_ge_timestamptz date_gt_timestamptz date_in date_le_timestamptz \
    date_lt_timestamptz date_ne_timestamptz date_out date_part date_trunc domain_in enum_first enum_in enum_last enum_out \
    enum_range extract format generate_series get_current_ts_config getdatabaseencoding getpgusername in_range interval_in \
    interval_out interval_pl_timestamptz json_agg json_agg_strict json_build_array json_build_object json_object_agg \
    json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict json_populate_record json_populate_recordset \
    json_to_record json_to_recordset json_to_tsvector jsonb_agg jsonb_agg_strict jsonb_build_array jsonb_build_object \
    jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict jsonb_path_exists_tz \
    jsonb_path_match_tz jsonb_path_query_array_tz jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record \
    jsonb_populate_recordset jsonb_to_record jsonb_to_recordset jsonb_to_tsvector length make_timestamptz money multirange_in \
    multirange_out numeric overlaps pg_collation_for pg_typeof phraseto_tsquery plainto_tsquery quote_literal quote_nullable \
    range_in range_out record_in record_out row_to_json session_user textanycat time time_in timestamp \
    timestamp_cmp_timestamptz timestamp_eq_timestamptz timestamp_ge_timestamptz timestamp_gt_timestamptz timestamp_in \
    timestamp_le_timestamptz timestamp_lt_timestamptz timestamp_ne_timestamptz timestamp_out timestamptz timestamptz_cmp_date \
    timestamptz_cmp_timestamp timestamptz_eq_date timestamptz_eq_timestamp timestamptz_ge_date timestamptz_ge_timestamp \
    timestamptz_gt_date timestamptz_gt_timestamp timestamptz_in timestamptz_le_date timestamptz_le_timestamp \
    timestamptz_lt_date timestamptz_lt_timestamp timestamptz_mi_interval timestamptz_ne_date timestamptz_ne_timestamp \
    timestamptz_out timestamptz_pl_interval timetz_out to_char to_date to_json to_jsonb to_number to_timestamp to_tsquery \
    to_tsvector ts_headline ts_match_tq ts_match_tt version websearch_to_tsquery xml xml_in xml_is_well_formed";

/// Those that read the clock.
const OF_THE_CLOCK: [&str; 6] = ["age", "now", "statement_timestamp", "timetz", "timezone", "transaction_timestamp"];

const BIND_THE_TIME: &str = "bind the time as a parameter: a value by itself changes nothing when time passes";
const SAY_WHAT: &str = "say what it reads, if it reads tables, and take the responsibility for that";

/// Notes the functions that a node itself calls, if they read anything, and what else at it does.
///
/// # Safety
/// It must be a node of a statement with that text, analysed and rewritten.
pub(super) unsafe fn check(node: *mut pg_sys::Node, text: &CStr, answer: &mut Answer) {
    // SAFETY: the caller vouches for the node. `check_functions_in_node` calls `collect` with each function's oid and the context.
    unsafe {
        let mut functions: Vec<pg_sys::Oid> = Vec::new();
        pg_sys::check_functions_in_node(node, Some(collect), (&raw mut functions).cast());
        functions.into_iter().for_each(|function| check_function(function, answer));
        if let Some(value) = as_a::<pg_sys::SQLValueFunction>(node, NodeTag::T_SQLValueFunction) {
            if value.op <= pg_sys::SQLValueFunctionOp::SVFOP_LOCALTIMESTAMP_N {
                answer.refuse("the clock", BIND_THE_TIME);
            }
        } else if let Some(constant) = as_a::<pg_sys::Const>(node, NodeTag::T_Const) {
            if has_time_in_words(constant, text) {
                answer.refuse("a time that is said in words", BIND_THE_TIME);
            }
        } else if (*node).type_ == NodeTag::T_NextValueExpr {
            answer.refuse("a sequence", "a query that changes something is not cached");
        } else if (*node).type_ == NodeTag::T_TableSampleClause {
            answer.refuse("TABLESAMPLE", "which rows it takes depends on how they are stored");
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn collect(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: the context that `check` gives.
    unsafe { (*context.cast::<Vec<pg_sys::Oid>>()).push(function) };
    false
}

fn check_function(function: pg_sys::Oid, answer: &mut Answer) {
    // SAFETY: all look a function up in the system catalogs; its name is a new string.
    let (volatility, name, is_builtin, is_aggregate) = unsafe {
        let name = pg_sys::get_func_name(function);
        let name = if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() };
        let is_builtin = pg_sys::get_func_namespace(function) == pg_sys::Oid::from(pg_sys::PG_CATALOG_NAMESPACE);
        let kind = pg_sys::get_func_prokind(function) as u8;
        (pg_sys::func_volatile(function) as u8, name, is_builtin, kind == pg_sys::PROKIND_AGGREGATE)
    };
    match volatility {
        pg_sys::PROVOLATILE_IMMUTABLE if is_aggregate && !is_builtin => {
            parts_of(function).into_iter().for_each(|part| check_function(part, answer));
        }
        pg_sys::PROVOLATILE_IMMUTABLE => {}
        pg_sys::PROVOLATILE_VOLATILE => answer.refuse(
            format!("{name}(), which is volatile"),
            "what may say something else each time cannot be cached; declare it otherwise if it does not",
        ),
        _ if is_builtin && HARMLESS.split_ascii_whitespace().any(|harmless| harmless == name) => {}
        _ if is_builtin && OF_THE_CLOCK.contains(&&*name) => {
            answer.refuse(format!("{name}(), which reads the clock"), BIND_THE_TIME);
        }
        _ if is_builtin => {
            answer.refuse(format!("{name}(), which reads the server's state"), "nobody tells when that changes")
        }
        _ => answer.refuse(format!("{name}(), which is stable and so may read tables or the clock"), SAY_WHAT),
    }
}

/// The functions that an aggregate calls: it is said to be immutable whatever they are.
fn parts_of(aggregate: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    /// `aggtransfn`, `aggfinalfn`, `aggmtransfn`, `aggminvtransfn`, `aggmfinalfn`
    const FUNCTIONS: [i16; 5] = [4, 5, 9, 10, 11];
    let cache = pg_sys::SysCacheIdentifier::AGGFNOID as i32;
    // SAFETY: looked up in the system catalogs; the row stays pinned until it is released. These columns are oids.
    unsafe {
        let row = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(aggregate));
        if row.is_null() {
            return Vec::new();
        }
        let mut is_null = false;
        let part = |number| pg_sys::SysCacheGetAttr(cache, row, number, &mut is_null).value() as u32;
        let parts = FUNCTIONS.map(part);
        pg_sys::ReleaseSysCache(row);
        parts.into_iter().filter(|part| *part != 0).map(pg_sys::Oid::from).collect()
    }
}

/// Whether it was made from a literal such as `'today'`, which means another time each day, or from one in which such a word is.
/// What a view or a policy has was made when that was.
fn has_time_in_words(constant: &pg_sys::Const, text: &CStr) -> bool {
    const WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
    let (mut category, mut is_preferred) = (0 as c_char, false);
    // SAFETY: looks types up in the system catalogs.
    unsafe {
        let element = pg_sys::get_base_element_type(constant.consttype);
        let of = if element == pg_sys::InvalidOid { constant.consttype } else { element };
        pg_sys::get_type_category_preferred(pg_sys::getBaseType(of), &mut category, &mut is_preferred);
    }
    let may_have = matches!(
        category as u8,
        pg_sys::TYPCATEGORY_DATETIME | pg_sys::TYPCATEGORY_RANGE | pg_sys::TYPCATEGORY_COMPOSITE
    );
    let Some(literal) = usize::try_from(constant.location).ok().and_then(|at| text.to_bytes().get(at..)) else {
        return false;
    };
    may_have
        && literal_at(literal)
            .split(|byte| !byte.is_ascii_alphabetic())
            .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())))
}

/// The literal with which a text begins; all of the text if it is one of the rarer forms.
fn literal_at(text: &[u8]) -> &[u8] {
    let Some(body) = text.strip_prefix(b"'") else { return text };
    let is_end = |at: &usize| body[*at] == b'\'' && body.get(at + 1) != Some(&b'\'') && !is_doubled(&body[..*at]);
    (0..body.len()).find(is_end).map_or(text, |end| &body[..end])
}

/// Whether a quote after this would be the second of two that stand for one.
fn is_doubled(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\'').count() % 2 == 1
}
