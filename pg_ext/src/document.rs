//! The functions over documents that compiled statements call, for every row: what a patch makes of a document, and of the
//! stamps of its paths.
//!
//! A statement asks several times about the same row and patch: whether anything changes, for the value, for the clock.
//! What was merged last is kept with what it was made of.

use crate::answer;
use crate::backend::OfBackend;
use crate::clock::{self, DECIDED, bytes, int2, int8, note_of, plain_bytes};
use crate::failure::{Failure, sql_functions};
use crate::jsonb::{self, Object};
use cache_sync_core::document::{self, Way};
use cache_sync_core::merge;
use cache_sync_core::number::{FieldId, Stamp, Version};
use cache_sync_core::paths::Paths;
use cache_sync_core::rule::{DocumentRule, Rule};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// So many levels merge at most; as core's.
const LEVELS_MAX: u32 = 100;
/// How many rules and documents are kept.
const KEPT_MAX: usize = 64;

/// What became of a document.
struct Merged {
    field: FieldId,
    /// The arguments that it was made of.
    made_of: Vec<u8>,
    value: Option<Value>,
    paths: Paths,
    is_applied: bool,
    is_lost: bool,
}

/// A document.
enum Value {
    Text(String),
    /// A jsonb, after a word that is not its own.
    Bytes(Vec<u8>),
}

impl Default for Merged {
    fn default() -> Merged {
        let paths = Paths::all(Stamp(0));
        Merged { field: FieldId(0), made_of: Vec::new(), value: None, paths, is_applied: false, is_lost: false }
    }
}

/// A rule with the text that it was read from.
type Known = (Vec<u8>, Rc<DocumentRule>);

static RULES: OfBackend<RefCell<Vec<Known>>> = OfBackend::new(RefCell::new(Vec::new()));
static LAST: OfBackend<RefCell<Vec<Rc<Merged>>>> = OfBackend::new(RefCell::new(Vec::new()));

/// Keeps what was merged last through what a user's code may do in the middle of a statement of ours; restored when
/// dropped.
pub(crate) struct LastDocuments(Vec<Rc<Merged>>);

impl LastDocuments {
    /// Keeps it.
    pub(crate) fn keep() -> LastDocuments {
        LastDocuments(LAST.borrow().clone())
    }
}

impl Drop for LastDocuments {
    fn drop(&mut self) {
        LAST.replace(std::mem::take(&mut self.0));
    }
}

/// The rule that a text spells.
pub(crate) fn rule(text: &[u8]) -> Result<Rc<DocumentRule>, Failure> {
    if let Some((_, rule)) = RULES.borrow().iter().find(|(known, _)| known == text) {
        return Ok(Rc::clone(rule));
    }
    let Ok(Rule::Json(rule)) = serde_json::from_slice(text) else {
        return Err(Failure::new(b"22023", "this is no rule for documents"));
    };
    let rule = Rc::new((*rule).clone());
    let mut rules = RULES.borrow_mut();
    if rules.len() >= KEPT_MAX {
        rules.clear();
    }
    rules.push((text.to_vec(), Rc::clone(&rule)));
    Ok(rule)
}

/// Merges, unless that was done last for this field. The arguments from `first` on are `(rule text, is_edit boolean,
/// is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea, version bigint, field smallint)`.
///
/// # Safety
/// `fcinfo` must be of a function with these arguments.
unsafe fn merged(fcinfo: pg_sys::FunctionCallInfo, first: usize) -> Result<Rc<Merged>, Failure> {
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        let rule_text = bytes(fcinfo, first).ok_or_else(|| answer::null("rule"))?;
        let [is_edit, is_each] =
            [1, 2].map(|place| answer::datum(fcinfo, first + place).is_some_and(|flag| flag.value() != 0));
        let [current, incoming] = [3, 4].map(|place| answer::datum(fcinfo, first + place));
        let (stamp, version) = (Stamp(int8(fcinfo, first + 5).0), int8(fcinfo, first + 7));
        let (stored, field) = (bytes(fcinfo, first + 6), int2(fcinfo, first + 8));
        let made_of = key(&[
            Some(rule_text),
            Some(&[u8::from(is_edit), u8::from(is_each)]),
            current.map(|datum| plain_bytes(datum)),
            incoming.map(|datum| plain_bytes(datum)),
            stored,
            Some(&[stamp.0.to_be_bytes(), version.0.to_be_bytes()].concat()),
        ]);
        if let Some(last) = LAST.borrow().iter().find(|last| last.field == field && last.made_of == made_of) {
            return Ok(Rc::clone(last));
        }
        let rule = rule(rule_text)?;
        let clock = clock::read(stored, version);
        let paths = clock.paths(field).map(clock::believed);
        let way = if is_edit { Way::Edit } else { Way::Put };
        let values = [current, incoming];
        let made = match overlaid(&rule, values, is_each, stamp, &paths) {
            Some(made) => made,
            None => by_texts(&rule, values, (way, is_each, stamp), paths)?,
        };
        let result = Merged { field, made_of, ..made };
        let result = Rc::new(result);
        let mut last = LAST.borrow_mut();
        last.retain(|last| last.field != field);
        // A statement asks about all fields of a row, of which no table has more.
        if last.len() >= pg_sys::MaxHeapAttributeNumber as usize {
            last.clear();
        }
        last.push(Rc::clone(&result));
        Ok(result)
    }
}

/// A patch that is newer than all that is there, merged in the form that Postgres keeps documents in: nothing has to be
/// compared then, and no text made and read.
///
/// # Safety
/// Both values must be jsonb.
unsafe fn overlaid(
    rule: &DocumentRule,
    [current, incoming]: [Option<pg_sys::Datum>; 2],
    is_each: bool,
    stamp: Stamp,
    paths: &Paths,
) -> Option<Merged> {
    if is_each || !rule.members.is_empty() || stamp <= paths.newest() {
        return None;
    }
    // SAFETY: the caller vouches for the values.
    let patch = Object::of(unsafe { plain_bytes(incoming?) })?;
    // SAFETY: as above.
    let object = current.map_or(Some(jsonb::EMPTY), |current| Object::of(unsafe { plain_bytes(current) }))?;
    let levels = rule.depth.map_or(LEVELS_MAX, |depth| depth.min(LEVELS_MAX));
    let merged = object.merged(&patch, levels)?;
    let mut paths = paths.clone();
    paths.overlay(stamp, merged.covers, &merged.leaves);
    Some(Merged { value: Some(Value::Bytes(merged.bytes)), paths, is_applied: true, ..Merged::default() })
}

/// Merges documents as texts.
///
/// # Safety
/// Both values must be jsonb.
unsafe fn by_texts(
    rule: &DocumentRule,
    [current, incoming]: [Option<pg_sys::Datum>; 2],
    (way, is_each, stamp): (Way, bool, Stamp),
    mut paths: Paths,
) -> Result<Merged, Failure> {
    // SAFETY: the caller vouches for the values.
    let [current, incoming] =
        [current, incoming].map(|datum| unsafe { datum.map(|datum| answer::text_of_jsonb(datum)) });
    let incoming = incoming.unwrap_or("null");
    let mut text = current.map(str::to_owned);
    let mut made = Merged::default();
    let parts = if is_each { merge::dated_list(incoming) } else { Some(vec![(stamp, incoming)]) };
    for (of, patch) in parts.ok_or_else(|| Failure::new(b"22023", "a document is no list of stamps and patches"))? {
        let merged = document::merge(rule, text.as_deref(), patch, way, of.min(stamp), &mut paths)
            .map_err(|refused| Failure::new(b"22023", refused.to_string()))?;
        text = merged.text;
        made.is_applied |= merged.is_applied;
        made.is_lost |= merged.is_lost;
    }
    Ok(Merged { value: text.map(Value::Text), paths, ..made })
}

/// The parts as one, told apart by their lengths.
fn key(parts: &[Option<&[u8]>]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().flatten().map(|part| part.len() + 8).sum());
    for part in parts {
        key.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        key.extend_from_slice(part.unwrap_or_default());
    }
    key
}

sql_functions! {
    /// `document_changes(rule, is_edit, is_each, current, incoming, stamp, clock, version, field) -> boolean`: whether
    /// the patch changes a value or a stamp.
    fn document_changes / pg_finfo_document_changes(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe { merged(fcinfo, 0).map(|merged| pg_sys::Datum::from(merged.is_applied)) }
    }

    /// `document_value(...) -> jsonb`: the document after the patch.
    fn document_value / pg_finfo_document_value(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let merged = merged(fcinfo, 0)?;
            let value = match &merged.value {
                Some(Value::Bytes(bytes)) => Some(answer::bytes(&bytes[size_of::<u32>()..])),
                Some(Value::Text(text)) => Some(answer::jsonb(text)?),
                None => None,
            };
            Ok(answer::nullable(fcinfo, value))
        }
    }

    /// `document_loses(...) -> boolean`: whether something in the patch is beaten by a later write.
    fn document_loses / pg_finfo_document_loses(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe { merged(fcinfo, 0).map(|merged| pg_sys::Datum::from(merged.is_lost)) }
    }

    /// `document_lost(field smallint) -> boolean`: for RETURNING, whether something in the patch that this UPDATE applied
    /// was beaten: the row's own triggers have run, but no other row was looked at.
    fn document_lost / pg_finfo_document_lost(fcinfo) {
        // SAFETY: the install script declares this argument.
        let field = unsafe { int2(fcinfo, 0) };
        let is_lost = LAST.borrow().iter().any(|last| last.field == field && last.is_lost);
        Ok(pg_sys::Datum::from(is_lost))
    }

    /// `document_clock(marked bytea, ...) -> bytea`: a marked clock with the document's stamps after the patch.
    fn document_clock / pg_finfo_document_clock(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let marked = bytes(fcinfo, 0).ok_or_else(|| answer::null("marked"))?;
            let merged = merged(fcinfo, 1)?;
            let mut clock = clock::read(Some(marked), Version::NONE);
            clock.set_paths(merged.field, merged.paths.clone());
            clock.set(note_of(merged.field), DECIDED);
            Ok(answer::bytes(&clock.encode()))
        }
    }

    /// `document_fresh(rule text, incoming jsonb, is_each boolean) -> jsonb`: the document that a patch makes where there
    /// is none.
    fn document_fresh / pg_finfo_document_fresh(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let rule = rule(bytes(fcinfo, 0).ok_or_else(|| answer::null("rule"))?)?;
            let Some(incoming) = answer::datum(fcinfo, 1) else { return Ok(answer::nullable(fcinfo, None)) };
            let incoming = answer::text_of_jsonb(incoming);
            let is_each = answer::datum(fcinfo, 2).is_some_and(|flag| flag.value() != 0);
            let parts = if is_each { merge::dated_list(incoming).unwrap_or_default() } else { vec![(Stamp(0), incoming)] };
            let mut text = None;
            for (place, (stamp, patch)) in parts.into_iter().enumerate() {
                text = if place == 0 {
                    document::fresh(&rule, patch)
                } else {
                    let mut paths = Paths::all(Stamp(0));
                    document::merge(&rule, text.as_deref(), patch, Way::Put, stamp, &mut paths)
                        .map_err(|refused| Failure::new(b"22023", refused.to_string()))?
                        .text
                };
            }
            Ok(answer::nullable(fcinfo, text.as_deref().map(answer::jsonb).transpose()?))
        }
    }
}

/// The document's stamps after somebody changed it in another way than by a patch.
///
/// # Safety
/// Both values must be jsonb.
pub(crate) unsafe fn note_change(
    rule: &DocumentRule,
    [before, after]: [Option<pg_sys::Datum>; 2],
    stamp: Stamp,
    paths: &mut Paths,
) {
    // SAFETY: the caller vouches for the values.
    let [before, after] = [before, after].map(|datum| unsafe { datum.map(|datum| answer::text_of_jsonb(datum)) });
    document::note_change(rule, before, after, stamp, paths);
}
